"""The numbers of Xu's textbook that can be cited: its equations, sections and tables.

Taken from the printed text: the last equation of each chapter (they are numbered without gaps), and
every heading.
"""

EQUATIONS = {1: 12, 2: 26, 3: 14, 4: 27, 5: 22, 6: 23, 7: 21, 8: 32, 9: 33}

SECTIONS = frozenset(
    """
    1.1 1.2 1.3 1.3.1 1.3.2 1.3.3 1.4 1.4.1 1.4.2 1.4.3 1.5
    2.1 2.1.1 2.1.2 2.2 2.3 2.4 2.5 2.6 2.6.1 2.6.2 2.7 2.8 2.9 2.10 2.10.1 2.10.2 2.10.3 2.11
    3.1 3.2 3.3 3.4 3.4.1 3.4.2 3.4.3 3.5 3.6 3.7 3.8 3.8.1 3.8.2 3.8.3 3.9
    4.1 4.2 4.2.1 4.2.2 4.2.3 4.3 4.3.1 4.3.2 4.3.3 4.4 4.4.1 4.4.2 4.5
    5.1 5.2 5.2.1 5.2.2 5.2.3 5.3 5.3.1 5.3.2 5.4 5.5 5.6 5.6.1 5.6.2 5.6.3 5.6.4 5.6.5 5.6.6 5.6.7
    5.7 5.8 5.9
    6.1 6.2 6.2.1 6.2.2 6.2.3 6.3 6.3.1 6.3.2 6.3.3 6.3.4 6.4 6.4.1 6.4.2 6.4.3 6.5 6.6 6.7 6.7.1
    6.7.2 6.7.3 6.8 6.8.1 6.8.2 6.8.3 6.9 6.10
    7.1 7.2 7.2.1 7.2.2 7.2.3 7.3 7.4 7.4.1 7.4.2 7.5 7.6 7.7 7.8 7.8.1 7.8.2 7.8.3 7.9
    8.1 8.2 8.3 8.4 8.5 8.5.1 8.5.2 8.6 8.6.1 8.6.2 8.6.3 8.6.4 8.7 8.7.1 8.7.2 8.7.3 8.8
    9.1 9.2 9.3 9.4 9.5 9.6 9.7 9.7.1 9.7.2 9.8 9.8.1 9.8.2 9.9 9.10 9.11 9.11.1 9.11.2 9.11.3
    9.12 9.13 9.14 9.15 9.16
    """.split()
)

# What an equation is about, for those that were once cited for something else.
ABOUT = {
    "nnx/ops/activation.py": ("ReLU", "3.12"),  # its derivative; 3.3 is the L2 penalty
    "nnx/ops/softmax.py": ("exp(x) / sum of exp(x)", "2.2-2.3"),  # 2.17 is a step of its gradient
    "nnx/ops/dropout.py": ("keep", "9.26-9.29"),  # 9.6 is the output of the GRU
    "nnx/nn/dropout.py": ("keep", "9.26-9.29"),
    "nnx/ops/recurrent/gru.py": ("dL/db_ih", "9.22-9.23, 9.25"),  # 9.24 is the recurrent weights'
}
