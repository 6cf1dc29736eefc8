"""matplotlib's Figure, as a notebook shows it.  Imported where a figure is made, and only there."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib.figure import Figure as Base

FINE = 144  # dots per inch, of which a screen shows 96: sharp on fine screens too


class Figure(Base):
    """A Figure that the last line of a notebook's cell shows, without pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]] | None:
        if not self.axes:
            return None
        file = BytesIO()
        self.savefig(file, format="png", dpi=FINE)
        width, height = self.get_size_inches()
        return file.getvalue(), {"width": round(96 * width), "height": round(96 * height)}
