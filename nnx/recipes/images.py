"""What experiments on pictures share: predicting from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..backends import backend_of
from .pictures import Picture, fit, read_pictures
from .recipe import Data, Options, Prediction, Recipe

if TYPE_CHECKING:
    from .run import Run


class ImageRecipe(Recipe):
    """A classification of grey pictures.

    Attributes:
        size: of the pictures that the model takes.
        box: how much of that the figure fills; see `pictures.fit`.
        classes: their names, in the order of the model's outputs.
    """

    size: ClassVar[tuple[int, int]]
    box: ClassVar[tuple[int, int]]
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def to_input(self, x: Any) -> Any:
        """Pictures (N, H, W) from 0 to 1 as the model takes them."""
        return x

    def predict_files(self, run: Run, paths: Sequence[Path]) -> Prediction:
        """The class of every picture in the files, with its probability and the next best."""
        rows: list[tuple[str, ...]] = []
        said: list[int] = []
        model = run.model()
        for some in batched((fit(p, self.size, self.box) for p in self._read(paths)), 1024):
            x = np.stack([picture.pixels for picture in some])  # (N, H, W)
            logits = run.predict(self.to_input(x), model=model).data
            z = backend_of(logits).to_numpy(logits).astype(np.float64)  # (N, C)
            if not np.isfinite(z).all():
                raise ValueError(f"{run.weights()}: the network's answers are not finite numbers")
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            best, second = np.argsort(-p, axis=1, kind="stable")[:, :2].T  # (N,) each
            said += best.tolist()
            rows += [
                (
                    picture.name,
                    self.classes[best[k]],
                    f"{p[k, best[k]]:.1%}",
                    f"{self.classes[second[k]]} ({p[k, second[k]]:.1%})",
                    "; ".join(picture.done) or "as it is",
                )
                for k, picture in enumerate(some)
            ]
        columns = ["image", "class", "probability", "next best", "how it was read"]
        return Prediction(columns, rows, self._notes(said))

    def _read(self, paths: Sequence[Path]) -> Iterator[Picture]:
        for path in paths:
            yield from read_pictures(path)

    def _notes(self, said: Sequence[int]) -> list[str]:
        if len(said) < 2:
            return []
        counts = np.bincount(said, minlength=len(self.classes))
        shares = [f"{name}: {n}" for name, n in zip(self.classes, counts, strict=True) if n]
        return [f"{len(said)} images; per class {', '.join(shares)}"]


def batched(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    """Lists of up to `size` pictures."""
    left = iter(pictures)
    while some := list(islice(left, size)):
        yield some


class OneChannel(ImageRecipe):
    """For convolutions: the pictures get an axis for their one channel, (N, H, W) -> (N, 1, H, W).

    Stands before the recipe whose data it takes: `class MnistCNN(OneChannel, MnistRecipe)`.
    """

    def data(self, o: Options) -> Data:
        d = super().data(o)
        assert d.validation is not None
        parts = [(self.to_input(x), t) for x, t in (d.train, d.validation, d.test)]
        return Data(train=parts[0], validation=parts[1], test=parts[2])

    def to_input(self, x: Any) -> Any:
        return x[:, None]
