"""An explanation: its steps, whether they hold, and how it shows itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from .rendering import html_of, markdown_of, text_of
from .steps import Equality, Step, Verdict


@dataclass
class Explanation:
    """What `nnx.explain` returns: print it, or look at it in a notebook.

    Attributes:
        title: what is explained.
        language: "en" or "zh".
        steps: headings, sentences, formulas, arrays, equalities and verdicts, in order.
    """

    title: str
    language: str
    steps: list[Step] = field(default_factory=list)

    @property
    def equalities(self) -> list[Equality]:
        """The numbers that are derived, one after another."""
        return [step for step in self.steps if isinstance(step, Equality)]

    @property
    def faults(self) -> list[Equality | Verdict]:
        """Lines that do not hold: the layer computes something else than the formula says."""
        return [s for s in self.steps if isinstance(s, Equality | Verdict) and not s.holds]

    @property
    def holds(self) -> bool:
        """Whether all lines do."""
        return not self.faults

    @property
    def lines(self) -> list[str]:
        """The explanation as text, at most 80 columns wide, line by line."""
        return text_of(self.steps, self.language)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        return html_of(self.steps, self.language)

    def to_markdown(self) -> str:
        """The explanation as Markdown: headings, sentences, and formulas as blocks of code."""
        return markdown_of(self.steps, self.language)
