"""How fast nnx is: timing, and the steps from a definition to its kernels."""
