"""What records: `Node`, an array with its place on the tape, and `Function`, the tape's entry.

`Function.__call__` runs once per operation, and small networks spend most of their time in it and
in the walk back; hence the few plain loops here where two shorter functions would also do.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends import (
    Array,
    Backend,
    _by_type,
    active_backend,
    backend_of,
    dtype_name,
    reconciled,
)
from .calls import computed, watches
from .mode import blocks, is_grad_enabled

_calls = itertools.count(1)
next_call = _calls.__next__
_new = object.__new__
UNRECORDED = -1  # `slot` of what was computed in `no_grad` from what requires a gradient


def calls_made() -> int:
    """How many calls were recorded since the process began, all threads together."""
    return int(repr(_calls).removeprefix("count(").removesuffix(")")) - 1


class Node:
    """An array and its place on the tape; `nnx.Tensor` adds names and operators to it.

    Args:
        data: the array; it is not copied.
        requires_grad: whether `backward` shall compute its gradient.
    """

    __slots__ = ("__weakref__", "creator", "data", "grad", "needs_grad", "slot")

    data: Array
    grad: Array | None
    needs_grad: bool  # `requires_grad`, as the operations read and write it
    creator: Function | None
    slot: int  # which of the creator's outputs this is, or UNRECORDED; of a leaf, see `writes`

    order = 0  # a leaf comes before every function (see Function.order)

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = data
        self.grad = None
        self.needs_grad = False
        self.creator = None
        self.slot = 0
        if requires_grad:
            self.requires_grad = True

    @property
    def requires_grad(self) -> bool:
        """Whether `backward` computes its gradient; what is computed from others takes it from
        them, and does not forget it.

        Raises:
            RuntimeError: when it is set to False for what was computed: the tape would be cut.
            TypeError: when it is set to True for integers or booleans.
        """
        return self.needs_grad

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        if self.creator is not None and not requires_grad:
            raise RuntimeError(
                "requires_grad: only a leaf can be changed, and this tensor of shape "
                f"{tuple(self.data.shape)} was made by {type(self.creator).__name__}; use detach()"
            )
        if requires_grad and not dtype_name(self.data.dtype).startswith(("float", "bfloat")):
            raise TypeError(
                "only floating-point tensors can require a gradient; dtype "
                f"{dtype_name(self.data.dtype)}"
            )
        self.needs_grad = bool(requires_grad)

    def retain_grad(self) -> None:
        """Keep the `.grad` of this tensor though it is computed from others."""
        maker = self.creator
        if maker is not None:
            maker.retained = (*maker.retained, weakref.ref(self))


class Function:
    """One differentiable operation, and, once called, its entry on the tape.

    A subclass takes hyper-parameters in `__init__` and arrays in `forward`, and keeps on `self`
    what `backward` will need.  `backward` takes one gradient per output and returns one per
    input, None where there is none.  Neither sees a Tensor; an input that was given as a plain
    Python number reaches `forward` as that number.  While both run:

        self.backend             the backend of the arrays, `self.backend.xp` its namespace
        self.needs_input_grad    per input, whether its gradient is wanted: else keep nothing
    """

    backend: Backend
    needs_input_grad: tuple[bool, ...]

    # The tape entry, written by __call__ where a gradient is wanted.
    order = -1  # the number of the call; -1: not on the tape, or walked and freed
    sources: Sequence[Any]  # per input: the Function that made it, or itself if a leaf, or None
    slots: Sequence[int]  # per input: which of its maker's outputs it is
    outputs: tuple[tuple[Any, Any], ...]  # per output: (shape, dtype)

    # Outputs whose gradient somebody wants to see, and `hooks.TensorHook`s.
    retained: tuple[Any, ...] = ()
    takes_none = False  # whether `backward` takes None, not zeros, for outputs that nobody used

    tensor_type: type[Node] = Node  # what outputs are wrapped in: `nnx.tensor` sets it to Tensor

    def forward(self, *arrays: Any) -> Any:
        """The outputs of the operation: an array, or a tuple of them.

        Args:
            arrays: the inputs; a plain number comes as it was given.
        """
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, *gradients: Any) -> Any:
        """The gradient of the loss by each input, in the inputs' shapes; None where there is none.

        Args:
            gradients: that by each output, in its shape; zeros for an output that nobody used, or
                None with `takes_none`.
        """
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def multiply_adds(self, *arrays: Any) -> tuple[int, int]:
        """How many products of two numbers a forward and a backward add to something.

        None, unless an operation says otherwise: those that multiply matrices, convolve or
        normalise do.  `nnx.summary` asks after the forward, when `needs_input_grad` is known.

        Args:
            arrays: the inputs, as `forward` was given them.
        """
        return 0, 0

    def of_product(self, n: int, *operands: int) -> tuple[int, int]:
        """`multiply_adds` of a product of two inputs: dL/da and dL/db are products like it.

        Args:
            n: the multiply-adds of the forward.
            operands: which inputs are multiplied; the first two if none is named.
        """
        needs = self.needs_input_grad
        return n, n * sum([needs[k] for k in operands or (0, 1)])

    def __call__(self, *inputs: Any) -> Any:
        kind: type | None = None
        backend: Backend | None = None
        arrays: list[Any] = []
        needs: list[bool] = []
        wanted = False  # by any input, whether it is recorded or not
        recording = not blocks or is_grad_enabled()
        for x in inputs:
            if isinstance(x, Node):
                data = x.data
                if type(data) is not kind:
                    home = _by_type.get(type(data)) or backend_of(data)
                    if backend is None:
                        backend, kind = home, type(data)
                    elif home is not backend:
                        return self(*reconciled(backend, home, inputs))
                arrays.append(data)
                if x.needs_grad:
                    wanted = True
                    needs.append(recording)
                else:
                    needs.append(False)
            else:
                arrays.append(x)
                needs.append(False)
        if backend is None:
            raise TypeError(f"{type(self).__name__} needs at least one Tensor, got {inputs!r}")
        self.backend = backend
        self.needs_input_grad = tuple(needs)
        y = computed(self, arrays) if watches else self.forward(*arrays)

        several = type(y) is tuple
        if several:
            y = tuple([part if type(part) is kind else backend.xp.asarray(part) for part in y])
        elif type(y) is not kind:
            y = backend.xp.asarray(y)  # NumPy's sum() is no array
        if not (wanted and recording):
            slot = UNRECORDED if wanted else 0
            if several:
                return tuple([self._output(part, None, slot) for part in y])
            return self._output(y, None, slot)
        if self.order != -1:
            raise self._called_twice()
        self.order = next(_calls)
        self.sources = sources = []
        self.slots = slots = []
        for x, need in zip(inputs, needs):  # noqa: B905 (slow)
            sources.append((x.creator or x) if need else None)
            slots.append(x.slot if need else 0)
        if several:
            self.outputs = tuple([(part.shape, part.dtype) for part in y])
            return tuple([self._output(part, self, slot) for slot, part in enumerate(y)])
        self.outputs = ((y.shape, y.dtype),)
        return self._output(y, self)

    def _output(self, y: Array, creator: Any = None, slot: int = 0) -> Any:
        """A tensor of array y: the creator's output number `slot`, or off the tape."""
        out = _new(self.tensor_type)
        out.data = y
        out.grad = None
        out.needs_grad = creator is not None
        out.creator = creator
        out.slot = slot
        return out

    def _called_twice(self) -> RuntimeError:
        name = type(self).__name__
        return RuntimeError(
            f"this {name} is on the tape already, and a second call would overwrite what it keeps "
            f"for backward: make one instance for each call, {name}(...)(x)"
        )

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        """`gradient` as `backward` returned it, in the shape and dtype of the input.

        Called where they differ, which is a mistake unless the operation broadcasts.

        Raises:
            RuntimeError: this operation does not.
        """
        raise RuntimeError(
            f"{type(self).__name__}.backward returned a gradient of {gradient.dtype} "
            f"{tuple(gradient.shape)} for an input of {dtype} {tuple(shape)}"
        )

    def release(self) -> None:
        """Forget everything that was kept for backward."""
        self.__dict__.clear()


def as_tensor(name: str, x: Any, like: Node | None = None) -> Any:
    """`x` where the operation `name` wants a tensor: itself, or one made of an array or of lists.

    `nnx.ops._operands` has the rule.  Lists become an array beside `like`, or where new arrays are
    made.

    Raises:
        TypeError: x is neither a tensor nor an array nor lists of numbers.
    """
    if isinstance(x, Node):
        return x
    if isinstance(x, list | tuple):
        x = _from_lists(name, x, like)
    elif not (hasattr(x, "shape") and hasattr(x, "dtype")):
        raise TypeError(f"{name} needs a Tensor, got {type(x).__name__}: {x!r}")
    backend_of(x)  # an error that says more, where no library computes on it
    return Function.tensor_type(x)


def _from_lists(name: str, lists: Any, like: Node | None) -> Array:
    try:
        host = np.asarray(lists)
    except ValueError as error:  # rows of different lengths
        raise TypeError(f"{name} needs a Tensor, and these lists make none: {error}") from None
    if host.dtype.kind not in "biuf":
        raise TypeError(f"{name} needs a Tensor, or lists of numbers, got {lists!r}")
    if like is None:
        return active_backend().asarray(lists)
    home = backend_of(like.data)
    return home.xp.asarray(home.asarray(lists), device=like.data.device)


class Unary(Function):
    """A Function of one tensor with one output: `Function.__call__` with its loops undone."""

    floats_only = False  # True: an integer tensor is an error, not a silent float64
    name = ""  # of the public function, for messages; "": the class's in lower case

    def __call__(self, x: Any) -> Any:
        if not isinstance(x, Node):
            x = as_tensor(type(self).__name__, x)
        data = x.data
        kind = type(data)
        self.backend = backend = _by_type.get(kind) or backend_of(data)
        on_tape = x.needs_grad and (not blocks or is_grad_enabled())
        if self.floats_only and not on_tape and not backend.is_float(data.dtype):
            name = self.name or type(self).__name__.lower()
            raise TypeError(
                f"{name}: the tensor must be of a floating-point dtype, not "
                f'{dtype_name(data.dtype)}; use {name}(x.astype("float32"))'
            )
        self.needs_input_grad = (on_tape,)
        y = computed(self, (data,)) if watches else self.forward(data)
        if type(y) is not kind:
            y = backend.xp.asarray(y)
        out = _new(self.tensor_type)
        out.data = y
        out.grad = None
        out.needs_grad = on_tape
        out.creator = None
        out.slot = 0
        if not on_tape:
            if x.needs_grad:
                out.slot = UNRECORDED
            return out
        if self.order != -1:
            raise self._called_twice()
        self.order = next(_calls)
        self.sources = (x.creator or x,)
        self.slots = (x.slot,)
        self.outputs = ((y.shape, y.dtype),)
        out.creator = self
        return out


class Binary(Function):
    """A Function of two operands with one output, where either may be a number.

    `Function.__call__` with its loops undone, and one addition: operands whose dtypes are not the
    same are first passed through `align`.
    """

    def __call__(self, a: Any, b: Any) -> Any:
        need_a = need_b = unrecorded = False
        if isinstance(a, Node):
            x = first = a.data
            need_a = a.needs_grad
            if isinstance(b, Node):
                y = b.data
                need_b = b.needs_grad
                alike = type(x) is type(y) and x.dtype is y.dtype
            else:
                y = b
                alike = type(y) is int or (type(y) is float and need_a)
        elif isinstance(b, Node):
            x = a
            y = first = b.data
            need_b = b.needs_grad
            alike = type(x) is int or (type(x) is float and need_b)
        else:
            return self._of_arrays(a, b)
        kind = type(first)
        self.backend = backend = _by_type.get(kind) or backend_of(first)
        if blocks and (need_a or need_b) and not is_grad_enabled():
            need_a = need_b = False
            unrecorded = True
        self.needs_input_grad = (need_a, need_b)
        if not alike:
            if hasattr(x, "dtype") and hasattr(y, "dtype") and type(x) is not type(y):
                home, other = backend_of(x), backend_of(y)
                if home.lifts is not other.lifts:
                    return self(*reconciled(home, other, (a, b)))
            x, y = self.align(x, y)
        try:
            z = computed(self, (x, y)) if watches else self.forward(x, y)
        except (RuntimeError, TypeError, ValueError):
            self.explain(x, y)
            raise
        if type(z) is not kind:
            z = backend.xp.asarray(z)
        out = _new(self.tensor_type)
        out.data = z
        out.grad = None
        out.needs_grad = need_a or need_b
        out.creator = None
        out.slot = 0
        if not (need_a or need_b):
            if unrecorded:
                out.slot = UNRECORDED
            return out
        if self.order != -1:
            raise self._called_twice()
        self.order = next(_calls)
        if need_a and need_b:
            self.sources = (a.creator or a, b.creator or b)
            self.slots = (a.slot, b.slot)
        elif need_a:
            self.sources = (a.creator or a, None)
            self.slots = (a.slot, 0)
        else:
            self.sources = (None, b.creator or b)
            self.slots = (0, b.slot)
        self.outputs = ((z.shape, z.dtype),)
        out.creator = self
        return out

    def _of_arrays(self, a: Any, b: Any) -> Any:
        """The call where neither operand is a tensor: arrays or lists, or one of them a number."""
        if isinstance(a, int | float) and isinstance(b, int | float):
            raise TypeError(f"{type(self).__name__} needs a Tensor, got {a!r} and {b!r}")
        if isinstance(a, int | float):
            return self(a, as_tensor(type(self).__name__, b))
        return self(as_tensor(type(self).__name__, a), b)

    def align(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Operands a and b as `forward` shall see them: of two dtypes, or an array and a number."""
        return a, b

    def explain(self, a: Any, b: Any) -> None:
        """Raise an error about a and b that says more than the library's, where there is one."""
