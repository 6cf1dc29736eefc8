"""Recurrent layers over whole sequences, and their cells."""
