"""Pictures, where matplotlib is installed (the extra `plot`).

Arrays, tensors and rows of numbers in, a figure out, which a notebook shows; with `path`, a file
too.  Each draws on axes of yours where it is given them (`ax`, or `axes` where it needs several).
No window, and no global state of matplotlib: pyplot is not used.
"""

from .answers import predictions
from .canvas import COLOURS, available, figure, logarithmic, save_figure
from .charts import histograms, lines, network, scatter
from .curves import compare_curves, learning_curves
from .images import filters, mosaic, sheet
from .layers import activation_histograms, gradient_histograms
from .maps import attention
from .mistakes import confusion_matrix, errors
from .planes import boundaries, points_and_plane, routes
from .times import layer_times

__all__ = [
    "COLOURS",
    "activation_histograms",
    "attention",
    "available",
    "boundaries",
    "compare_curves",
    "confusion_matrix",
    "errors",
    "figure",
    "filters",
    "gradient_histograms",
    "histograms",
    "layer_times",
    "learning_curves",
    "lines",
    "logarithmic",
    "mosaic",
    "network",
    "points_and_plane",
    "predictions",
    "routes",
    "save_figure",
    "scatter",
    "sheet",
]
