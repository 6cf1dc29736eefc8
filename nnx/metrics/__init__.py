"""What is measured beside the loss: over a whole epoch, whatever the sizes of its batches.

accuracy = nnx.metrics.Accuracy()
for x, target in batches:
    accuracy.update(model(x), target)
print(accuracy.show(accuracy.compute()))        # 97.78%
"""

from .classification import Accuracy, BinaryAccuracy, TopK
from .metric import Deferred, Mean, Metric
from .registry import get
from .regression import MAE, MSE, R2

__all__ = [
    "MAE",
    "MSE",
    "R2",
    "Accuracy",
    "BinaryAccuracy",
    "Deferred",
    "Mean",
    "Metric",
    "TopK",
    "get",
]
