"""Pictures, where matplotlib is installed (the extra `plot`).

Arrays and rows of numbers in, a PNG file out; no window, and no global state of matplotlib.
"""

from .canvas import COLOURS, available, figure, save_figure
from .charts import histograms, lines, logarithmic, network, scatter
from .curves import compare_curves, learning_curves
from .images import errors, filters, mosaic, sheet
from .planes import boundaries, points_and_plane, routes
from .times import layer_times

__all__ = [
    "COLOURS",
    "available",
    "boundaries",
    "compare_curves",
    "errors",
    "figure",
    "filters",
    "histograms",
    "layer_times",
    "learning_curves",
    "lines",
    "logarithmic",
    "mosaic",
    "network",
    "points_and_plane",
    "routes",
    "save_figure",
    "scatter",
    "sheet",
]
