"""Layers that slide a window over sequences, images and volumes."""
