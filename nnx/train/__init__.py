"""Training: the Trainer, its callbacks, its history."""

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
