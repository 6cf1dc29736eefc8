"""Normalisation: over the batch, over a sample or a part of it, over neighbouring channels."""
