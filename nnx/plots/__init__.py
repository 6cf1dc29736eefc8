"""Pictures, where matplotlib is installed (the extra `plot`).

Arrays and rows of numbers in, a PNG file out; no window, and no global state of matplotlib.
"""

from .canvas import available, figure, save_figure
from .curves import compare_curves, learning_curves
from .images import errors, filters, sheet
from .times import layer_times

__all__ = [
    "available",
    "compare_curves",
    "errors",
    "figure",
    "filters",
    "layer_times",
    "learning_curves",
    "save_figure",
    "sheet",
]
