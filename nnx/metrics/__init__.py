"""What is measured beside the loss: over a whole epoch, whatever the sizes of its batches.

accuracy = nnx.metrics.Accuracy()
for x, target in batches:
    accuracy.update(model(x), target)
print(accuracy.show(accuracy.compute()))        # 97.78%
"""

from .auc import AUC
from .classification import Accuracy, BinaryAccuracy, TopK
from .confusion import F1, ConfusionMatrix, Precision, Recall
from .metric import Deferred, Mean, Metric
from .registry import get
from .regression import MAE, MSE, R2

__all__ = [
    "AUC",
    "F1",
    "MAE",
    "MSE",
    "R2",
    "Accuracy",
    "BinaryAccuracy",
    "ConfusionMatrix",
    "Deferred",
    "Mean",
    "Metric",
    "Precision",
    "Recall",
    "TopK",
    "get",
]
