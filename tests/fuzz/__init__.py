"""A differential fuzz: random cases, computed by nnx and by an answer key, and compared.

    python -m tests.fuzz --seconds 600 --seed 1 --backend numpy

`draw` makes random choices, `families/` make cases of them, one family a file, each a small
generator with its reference; `engine` runs a case on nnx and on the answer key (PyTorch where it
is installed, else the portable kernels in float64) and compares values, shapes, dtypes, all
gradients, who refuses, and what was written to.  `test_fuzz` runs a bounded part of it.
"""
