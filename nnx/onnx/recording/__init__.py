"""A run of a model, written down: the arrays it computed with, and the ONNX operator of each."""
