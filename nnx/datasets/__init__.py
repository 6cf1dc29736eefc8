"""Data sets: digits ship with the package; the others are found, or downloaded, once.

    train, test = nnx.datasets.load_digits()
    train.images, train.labels          # NumPy arrays

Where files are looked for, and in which order, is told in `nnx.datasets.download`.
"""

from .books import load_alice
from .download import DataNotFoundError, cache_folder
from .idx import read_idx, write_idx
from .images import load_digits, load_mnist
from .reviews import load_imdb
from .series import curve, load_csi300, load_curve
from .types import DataError, Images, Texts, TradingDays, TrainTest, Windows

__all__ = [
    "DataError",
    "DataNotFoundError",
    "Images",
    "Texts",
    "TradingDays",
    "TrainTest",
    "Windows",
    "cache_folder",
    "curve",
    "load_alice",
    "load_csi300",
    "load_curve",
    "load_digits",
    "load_imdb",
    "load_mnist",
    "read_idx",
    "write_idx",
]
