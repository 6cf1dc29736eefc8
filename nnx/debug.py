"""Finding what is slow or wrong without being seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

import numpy as np

from .backends import Backend, active_backend
from .backends.forks import renew_in_child
from .backends.portable.indices import values_unseen
from .tensor import Tensor

__all__ = ["HiddenTransfer", "no_transfers"]

# What makes the host wait for the device: reading values out of an array.
_READING = (
    "__bool__",
    "__float__",
    "__int__",
    "__index__",
    "__complex__",
    "__array__",
    "item",
    "get",
    "tolist",
    "tobytes",
)
_TENSOR_READING = ("__bool__", "__float__", "__int__", "__array__", "item", "numpy", "tolist")


class HiddenTransfer(RuntimeError):
    """Values were read from the device inside `no_transfers`; the message says by which method."""


@contextmanager
def no_transfers(backend: str | Backend | None = None) -> Iterator[None]:
    """Raise where values are read back from the device inside a `with` block.

    A GPU runs behind the host; `loss.item()`, `if (x > 0).any():` or `float(x)` makes the host
    wait until it has caught up, and a training step that does so once per layer is slow for no
    visible reason.  Inside this block each of them raises `HiddenTransfer`, on a CPU as well, so
    that a training loop can be checked before it meets a GPU:

        with nnx.debug.no_transfers():
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        print(loss.item())

    What only a CPU does because it costs nothing there, such as checking that class indices are
    in range, is left out inside the block, as on a GPU.

    Tensors are watched on every backend, plain arrays where their class can be (CuPy and
    array_api_strict; NumPy's is sealed).  Other threads may read meanwhile.

    Args:
        backend: whose arrays to watch; the active one by default.
    """
    from .backends import get_backend

    home = get_backend(backend) if isinstance(backend, str) else backend or active_backend()
    array_class = type(home.from_numpy(np.zeros(1, np.float32)))
    with ExitStack() as stack:
        stack.enter_context(values_unseen(True))
        for owner, names in ((Tensor, _TENSOR_READING), (array_class, _READING)):
            for name in names:
                if hasattr(owner, name):
                    stack.enter_context(_forbidden(owner, name))
        yield


_lock = Lock()


def _in_child() -> None:
    """A forked child cannot wait for a thread it does not have."""
    global _lock
    _lock = Lock()


renew_in_child(_in_child)
_replaced: dict[tuple[type, str], tuple[int, Any]] = {}  # how many blocks forbid it; what it was


@contextmanager
def _forbidden(owner: type, name: str) -> Iterator[None]:
    """Replace a method by one that raises in `no_transfers`; a sealed class is left as it is."""
    key: tuple[type, str] | None = (owner, name)
    with _lock:
        blocks, own = _replaced.get((owner, name), (0, vars(owner).get(name)))
        if not blocks:
            try:
                setattr(owner, name, _guarded(owner, name, getattr(owner, name)))
            except TypeError:  # a built-in class
                key = None
        if key is not None:
            _replaced[key] = blocks + 1, own
    try:
        yield
    finally:
        if key is not None:
            with _lock:
                blocks, own = _replaced.pop(key)
                if blocks > 1:
                    _replaced[key] = blocks - 1, own
                elif own is None:
                    delattr(owner, name)
                else:
                    setattr(owner, name, own)


def _guarded(owner: type, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not values_unseen.get():
            return method(self, *args, **kwargs)
        raise HiddenTransfer(
            f"{owner.__name__}.{name} reads values from the device and makes the host wait for it "
            f"(array of shape {tuple(self.shape)}); inside no_transfers() nothing may"
        )

    return guarded
