"""Files of ONNX as modules: reading them, and an operation of nnx for each operator."""
