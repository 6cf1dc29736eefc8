"""Training: the Trainer, its callbacks, its history."""

from typing import TYPE_CHECKING

from ..names import answers
from .callbacks import (
    Callback,
    Checkpoint,
    ClipGradNorm,
    CSVLog,
    EarlyStopping,
    LearningCurve,
    Progress,
    Schedule,
    TensorBoard,
    WeightAverage,
)
from .history import History
from .losses import Losses
from .nonfinite import NonFinite
from .penalty import Penalty
from .rate_finder import RateCurve, find_lr
from .trainer import Trainer

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "ClipGradNorm",
    "EarlyStopping",
    "History",
    "LearningCurve",
    "Losses",
    "NonFinite",
    "Penalty",
    "Progress",
    "RateCurve",
    "Schedule",
    "TensorBoard",
    "Trainer",
    "WeightAverage",
    "find_lr",
]

if not TYPE_CHECKING:  # a type checker would take every name for one that is here
    __getattr__ = answers(__name__)
