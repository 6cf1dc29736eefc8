"""Metrics by their names."""

from __future__ import annotations

from .auc import AUC
from .classification import Accuracy, BinaryAccuracy, TopK
from .confusion import F1, Precision, Recall
from .metric import Metric
from .regression import MAE, MSE, R2

METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "precision": Precision,
    "recall": Recall,
    "f1": F1,
    "auc": AUC,
    "mse": MSE,
    "mae": MAE,
    "r2": R2,
}


def get(metric: str | Metric) -> Metric:
    """A metric by its name.

    Args:
        metric: accuracy, binary_accuracy, top<k> (top5), precision, recall, f1, auc, mse, mae or
            r2; or a metric, which is returned as it is.

    Raises:
        ValueError: there is none of this name; the message lists them.
        TypeError: it is something else, as a function or a class.
    """
    if isinstance(metric, Metric):
        return metric
    if not isinstance(metric, str):
        what = f"the class {metric.__name__}" if isinstance(metric, type) else repr(metric)
        raise TypeError(
            f"a metric must be a name or a nnx.metrics.Metric, got {what:.200}; one of your own is "
            "an instance of a subclass that adds up in `add` and answers in `compute`"
        )
    if metric in METRICS:
        return METRICS[metric]()
    if metric.startswith("top") and metric[3:].isdecimal():
        return TopK(int(metric[3:]))
    raise ValueError(f"there is no metric {metric!r}; there are {', '.join(METRICS)} and top<k>")
