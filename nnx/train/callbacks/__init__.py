"""Callbacks: what else happens while a Trainer trains."""

from .averaging import WeightAverage
from .base import Callback
from .files import Checkpoint, CSVLog, LearningCurve
from .monitor import EarlyStopping
from .progress import Progress
from .steps import ClipGradNorm, Schedule
from .tensorboard import TensorBoard

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "ClipGradNorm",
    "EarlyStopping",
    "LearningCurve",
    "Progress",
    "Schedule",
    "TensorBoard",
    "WeightAverage",
]
