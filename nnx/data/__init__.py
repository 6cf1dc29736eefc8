"""Data sets, loaders and what prepares data for them.

train, test = nnx.datasets.load_digits()
loader = nnx.data.DataLoader((train.scaled(), train.labels), batch_size=32, shuffle=True)
for images, labels in loader:
    ...
"""

from typing import TYPE_CHECKING

from ..names import answers
from .dataset import ArrayDataset, Dataset, Subset, random_split, train_test_split
from .encode import class_weights, one_hot, pad_sequences
from .loader import DataLoader, Shard
from .sampler import RandomSampler, Sampler, SequentialSampler
from .scaling import Scaling, minmax, standardize

__all__ = [
    "ArrayDataset",
    "DataLoader",
    "Dataset",
    "RandomSampler",
    "Sampler",
    "Scaling",
    "SequentialSampler",
    "Shard",
    "Subset",
    "class_weights",
    "minmax",
    "one_hot",
    "pad_sequences",
    "random_split",
    "standardize",
    "train_test_split",
]

if not TYPE_CHECKING:  # a type checker would take every name for one that is here
    __getattr__ = answers(__name__)
