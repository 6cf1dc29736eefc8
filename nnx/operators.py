"""What a tensor computes: its operators, `x + y`, and its methods, `x.sum()`.

Operations live above this file, in `nnx.ops`, one family a file.  The methods below are thin and
call them through `ops`, which `nnx.ops` fills in when it is imported, so that imports point down
and a reader (and a type checker) still finds every method in a class.
"""

# mypy: disable-error-code="arg-type"
# Nothing but `Tensor` derives from the class below, so that `self` is one.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from .in_place import InPlace
from .names import names_ours

if TYPE_CHECKING:
    from . import ops as ops
    from .tensor import Tensor

Axis = int | tuple[int, ...] | None


class Operators(InPlace):
    """The part of `Tensor` that computes."""

    __slots__ = ()
    __array_priority__ = 1000  # np.float32(2) * tensor asks the tensor

    # ---- indexing ----

    def __getitem__(self, key: Any) -> Tensor:
        return ops.getitem(self, key)

    # ---- operators ----

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.divide(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    # Comparisons give tensors of bool, which have no gradient.

    __hash__ = object.__hash__  # which __eq__ would take away

    def __eq__(self, other: Any) -> Any:
        return ops.equal(self, other)

    def __ne__(self, other: Any) -> Any:
        return ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.greater_equal(self, other)

    # Those on bits, and a boolean is one bit, have none either.

    def __invert__(self) -> Tensor:
        return ops.bitwise_invert(self)

    def __and__(self, other: Any) -> Tensor:
        return ops.bitwise_and(self, other)

    def __rand__(self, other: Any) -> Tensor:
        return ops.bitwise_and(other, self)

    def __or__(self, other: Any) -> Tensor:
        return ops.bitwise_or(self, other)

    def __ror__(self, other: Any) -> Tensor:
        return ops.bitwise_or(other, self)

    def __xor__(self, other: Any) -> Tensor:
        return ops.bitwise_xor(self, other)

    def __rxor__(self, other: Any) -> Tensor:
        return ops.bitwise_xor(other, self)

    def __lshift__(self, other: Any) -> Tensor:
        return ops.bitwise_left_shift(self, other)

    def __rlshift__(self, other: Any) -> Tensor:
        return ops.bitwise_left_shift(other, self)

    def __rshift__(self, other: Any) -> Tensor:
        return ops.bitwise_right_shift(self, other)

    def __rrshift__(self, other: Any) -> Tensor:
        return ops.bitwise_right_shift(other, self)

    # ---- the operations people write as methods ----

    @names_ours
    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum along `axis` (one or several; None: all); keepdims keeps axes of length 1.

        Raises:
            ValueError: there is no such axis, or one is named twice.
        """
        return ops.sum(self, axis=axis, keepdims=keepdims)

    @names_ours
    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The mean along `axis` (one or several; None: all); keepdims keeps axes of length 1.

        Raises:
            ValueError: there is no such axis, or one is named twice.
        """
        return ops.mean(self, axis=axis, keepdims=keepdims)

    @names_ours
    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest along `axis` (one or several; None: all); keepdims keeps axes of length 1.

        Raises:
            ValueError: there is no such axis, one is named twice, or there is nothing along it.
        """
        return ops.max(self, axis=axis, keepdims=keepdims)

    @names_ours
    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The smallest along `axis` (one or several; None: all); keepdims keeps axes of length 1.

        Raises:
            ValueError: there is no such axis, one is named twice, or there is nothing along it.
        """
        return ops.min(self, axis=axis, keepdims=keepdims)

    @names_ours
    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The product along `axis` (one or several; None: all); keepdims keeps axes of length 1.

        Raises:
            ValueError: there is no such axis, or one is named twice.
        """
        return ops.prod(self, axis=axis, keepdims=keepdims)

    @names_ours
    def var(self, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
        """The variance Σ (x - mean)² / (n - correction) along `axis`; keepdims as in `sum`.

        correction is 0, as in NumPy and the array API, where PyTorch has 1 for the unbiased one.

        Raises:
            ValueError: there is no such axis, or there are not more numbers than `correction`.
        """
        return ops.var(self, axis=axis, correction=correction, keepdims=keepdims)

    @names_ours
    def std(self, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
        """The square root of `var` along `axis`, with its correction (0) and keepdims.

        Raises:
            ValueError: as `var`.
        """
        return ops.std(self, axis=axis, correction=correction, keepdims=keepdims)

    @names_ours
    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether any number is not 0, along `axis` (None: of all); keepdims as in `sum`; no
        gradient.

        Raises:
            ValueError: there is no such axis.
        """
        return ops.any(self, axis=axis, keepdims=keepdims)

    @names_ours
    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether no number is 0, along `axis` (None: of all); keepdims as in `sum`; no gradient.

        Raises:
            ValueError: there is no such axis.
        """
        return ops.all(self, axis=axis, keepdims=keepdims)

    @names_ours
    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The index of the (first) largest value along `axis`, int64; no gradient.

        With axis None it counts through all elements, row by row.  keepdims keeps axes of length 1.

        Raises:
            ValueError: there is no such axis, or nothing along it.
        """
        return ops.argmax(self, axis=axis, keepdims=keepdims)

    @names_ours
    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The index of the (first) smallest value along `axis`, int64; no gradient.

        With axis None it counts through all elements, row by row.  keepdims keeps axes of length 1.

        Raises:
            ValueError: there is no such axis, or nothing along it.
        """
        return ops.argmin(self, axis=axis, keepdims=keepdims)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Each element held between min and max, elementwise; None is no bound.

        Raises:
            ValueError: bounds that are tensors and cannot be broadcast.
        """
        return ops.clip(self, min, max)

    @names_ours
    def squeeze(self, axis: Axis = None) -> Tensor:
        """Without the axes of length 1 named by `axis` (an axis or several; None: all of them).

        Raises:
            ValueError: there is no such axis, or it is longer than 1.
        """
        return ops.squeeze(self, axis)

    @names_ours
    def expand_dims(self, axis: Axis = 0) -> Tensor:
        """With new axes of length 1, where `axis` (one or several) says in the result.

        Raises:
            ValueError: the result has no such axis.
        """
        return ops.expand_dims(self, axis)

    def reshape(self, *shape: Any) -> Tensor:
        """The elements, row by row, in another shape: `t.reshape(2, -1)` or `t.reshape((2, -1))`.

        One length may be -1, for what the others leave.

        Raises:
            ValueError: another number of elements.
        """
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def permute_dims(self, *axes: Any) -> Tensor:
        """The axes in another order: `t.permute_dims(1, 0)`, or all axes in a tuple.

        Raises:
            ValueError: not each axis once.
        """
        return ops.permute_dims(self, axes[0] if len(axes) == 1 else axes)

    def astype(self, dtype: Any) -> Tensor:
        """The values in another dtype and the same shape; gradients are cast back."""
        return ops.astype(self, dtype)

    @property
    def T(self) -> Tensor:
        """The transpose (n, m) of a matrix (m, n).

        Raises:
            ValueError: the tensor is no matrix.
        """
        if self.data.ndim != 2:
            raise ValueError(
                f"T: the tensor must be a matrix; shape {tuple(self.data.shape)}; see .mT"
            )
        return ops.permute_dims(self, (1, 0))

    @property
    def mT(self) -> Tensor:
        """The transpose of each matrix of a stack: (..., m, n) -> (..., n, m).

        Raises:
            ValueError: it has less than two axes.
        """
        return ops.matrix_transpose(self)

    def exp(self) -> Tensor:
        """e to the power of each element, elementwise."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm, elementwise."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """The square root, elementwise."""
        return ops.sqrt(self)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent, elementwise."""
        return ops.tanh(self)
