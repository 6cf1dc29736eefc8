"""The command `nnx`: train, reproduce, predict, plot, bench, info, doctor.

    nnx train                    a network on handwritten digits, in a few seconds
    nnx train --list             the experiments there are
    nnx reproduce liu            the experiments of a text, beside what it prints
    nnx predict RUN images...    what a trained run says of some files
    nnx bench conv               how much faster each way to convolve is

Exit codes: 0, done; 1, it could not be done, and one line says why; 2, the command was not
understood; 130, Ctrl-C.
"""

from .main import cli, main

__all__ = ["cli", "main"]
