"""What makes compiled code: numba's options and cache, a product in vector registers, elementary
functions, threads.  Nothing here knows of layers; each file can be used alone."""
