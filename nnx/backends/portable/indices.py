"""Integers from users: counted from the front, and checked where looking costs no wait."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...scoped import Scoped
from ...typing import Array

values_unseen: Scoped[bool] = Scoped("nnx values unseen")  # blocks that may look at no value


class Indices:
    """Part of `Backend`; no kernels, so `NNX_KERNELS` does not concern them."""

    xp: Any
    values_at_hand = True  # False on a GPU: looking at a value would wait for the device
    values_known = True  # False where arrays only stand for values that come later

    @property
    def checks_values(self) -> bool:
        """Whether integers are checked by looking at them."""
        return self.values_at_hand and not (values_unseen.open and values_unseen.get())

    @property
    def index_dtype(self) -> Any:
        """The dtype that this library takes indices in; NumPy none wider than a pointer."""
        return np.dtype(np.intp) if self.xp is np else self.xp.int64

    def positions(self, integers: Array) -> Array:
        """The integers, of any dtype and shape, as indices: int64, as sums of positions overflow in
        fewer bits, or what is as wide as a pointer.

        Raises:
            IndexError: one does not fit into that, with a sign, if values are checked.
        """
        xp, wanted = self.xp, self.index_dtype
        if integers.dtype is wanted or integers.dtype == wanted:
            return integers
        if wanted != xp.int64:
            return self._narrowed(self._wide(integers), wanted)
        return self._wide(integers)

    def _wide(self, integers: Array) -> Array:
        xp = self.xp
        if integers.dtype == xp.int64:
            return integers
        wide = xp.astype(integers, xp.int64)
        if integers.dtype == xp.uint64 and self.checks_values and math.prod(integers.shape):
            low = int(xp.min(wide))  # negative where the highest bit was set
            if low < 0:
                raise IndexError(f"index {low + 2**64} is out of range: no axis is that long")
        return wide

    def _narrowed(self, wide: Array, dtype: Any) -> Array:
        """As NumPy wants them where a pointer has 32 bits."""
        xp = self.xp
        narrow = xp.astype(wide, dtype)
        if self.checks_values and bool(xp.any(narrow != wide)):
            lost = xp.reshape(wide, (-1,))[xp.reshape(narrow != wide, (-1,))]
            raise IndexError(f"index {int(lost[0])} is out of range: no axis is that long")
        return narrow

    def wrap_indices(self, indices: Array, length: int) -> Array:
        """The indices, in [-length, length) and of any shape, from the front, as `positions`.

        Raises:
            IndexError: one is outside, if values are checked.
        """
        xp, indices = self.xp, self.positions(indices)
        if math.prod(indices.shape) == 0:
            return indices
        if not self.checks_values:
            return xp.where(indices < 0, indices + length, indices)
        low, high = int(xp.min(indices)), int(xp.max(indices))
        if low < -length or high >= length:
            raise IndexError(
                f"index {low if low < -length else high} is out of range for an axis of length "
                f"{length}"
            )
        return xp.where(indices < 0, indices + length, indices) if low < 0 else indices

    def class_indices(
        self, targets: Array, classes: int, ignore_index: int | None
    ) -> tuple[Array, Array | None]:
        """The class indices of a loss: which is which, and which of them count.

        Args:
            targets: (M,), integers.
            classes: they are from 0 to classes - 1.
            ignore_index: or this, for a target that counts for nothing.

        Returns:
            The targets (M,) as `positions`, -1 for those to be ignored, and which count: bool (M,),
            or None if all do.

        Raises:
            IndexError: a target is neither a class nor `ignore_index`, if values are checked.
        """
        xp, targets = self.xp, self.positions(targets)
        if math.prod(targets.shape) == 0:
            return targets, None
        inside = (targets >= 0) & (targets < classes)
        counted = inside if ignore_index is None else inside & (targets != ignore_index)
        if self.checks_values:
            if bool(xp.all(counted)):
                return targets, None
            wrong = ~inside if ignore_index is None else ~inside & (targets != ignore_index)
            if bool(xp.any(wrong)):
                where = int(xp.argmax(xp.astype(wrong, xp.int8)))
                raise IndexError(
                    f"target {int(targets[where])} is not one of the {classes} classes, 0 to "
                    f"{classes - 1}"
                )
        return xp.where(counted, targets, xp.full_like(targets, -1)), counted
