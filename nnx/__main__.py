"""`python -m nnx` is the command `nnx`."""

from .cli import main

if __name__ == "__main__":
    main()
