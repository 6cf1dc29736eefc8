"""Layers that look at whole sequences at once: attention, and what Transformers are made of."""
