"""What experiments on pictures share: predicting from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..backends import backend_of
from ..io import CorruptFile
from .figures import NoFigure
from .pictures import Picture, lay_out, read_pictures
from .recipe import Data, Options, Prediction, Recipe, Trained

SEEN = 64  # pictures that are kept to be shown


class ImageRecipe(Recipe):
    """A classification of grey pictures.

    Attributes:
        size: of the pictures that the model takes.
        box: how much of that the figure fills; see `pictures.lay_out`.
        middle: where the centre of mass of such pictures is, in pixels from 0; None: the middle.
    """

    size: ClassVar[tuple[int, int]]
    box: ClassVar[tuple[int, int]]
    middle: ClassVar[tuple[float, float] | None] = None
    classes = tuple("0123456789")

    def to_input(self, x: Any) -> Any:
        """Pictures (N, H, W) from 0 to 1 as the model takes them."""
        return x

    def predict_files(self, run: Trained, paths: Sequence[Path]) -> Prediction:
        """The class of every picture in the files, with its probability and the next best.

        A file that cannot be read, and a picture without one clear figure, are told of in
        `Prediction.failed`; the others have their answers all the same.
        """
        rows: list[tuple[str, ...]] = []
        said: list[int] = []
        failed: list[OSError | ValueError] = []
        seen: list[tuple[str, Any]] = []
        model = run.model()
        for some in batched(self._read(paths, failed), 1024):
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
            for picture, k in zip(some[: SEEN - len(seen)], best, strict=False):
                seen.append((f"{picture.name}: {self.classes[k]}", picture.pixels))
        columns = ["image", "class", "probability", "next best", "how it was read"]
        return Prediction(columns, rows, self._notes(said), failed, seen)

    def _read(self, paths: Sequence[Path], failed: list[OSError | ValueError]) -> Iterator[Picture]:
        """The pictures in the files, in the model's size; what fails is put into `failed`."""
        for path in paths:
            try:
                for picture in read_pictures(path, self.size):
                    try:
                        laid = lay_out(picture, self.size, self.box, self.middle)
                    except NoFigure as error:
                        failed.append(error)
                    else:
                        yield laid
            except (OSError, CorruptFile) as error:  # another one would be a fault of ours
                failed.append(error)

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
