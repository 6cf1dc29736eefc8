"""`Generator`: a key, a stream and a position; every draw is a function of the three."""

from __future__ import annotations

import operator
from hashlib import blake2b
from typing import Any

import numpy as np

from ..backends import Array, Backend, active_backend, backend_of, dtype_name, get_backend
from . import host

Shape = int | tuple[int, ...]


class Generator:
    """Random numbers that are the same on every backend, to the last bit.

    The words come from Philox-4x32-10 (`nnx.backends.portable.random`), where block b is a
    function of a 64-bit key, the seed, and a 128-bit counter: its high half numbers the stream,
    its low half the position in it.  A draw starts at the position and moves it on by the blocks
    (four words) it used, so key, stream and position are the whole state: three integers to put
    into a checkpoint.

    Words, uniforms and masks are made where the arrays live.  Integers, permutations and normals
    are drawn in host memory and moved, since they need sorting, rejection or the quantile.

    Args:
        seed: from 0 to 2^64 - 1.

    Arrays are made on the active backend; `like=array`, where a method has it, makes them beside
    that array instead: in its library, on its device.

    Raises:
        ValueError: the seed is out of its range.
    """

    def __init__(self, seed: int = 0) -> None:
        self._key = _in_64_bits("Generator: seed", seed)
        self._stream = 0
        self._position = 0

    def __repr__(self) -> str:
        return f"Generator(key={self._key}, stream={self._stream:#x}, position={self._position})"

    # ---- state ----

    def seed(self, seed: int) -> None:
        """Start again, as a new `Generator(seed)` does.

        Raises:
            ValueError: it is not from 0 to 2^64 - 1.
        """
        self._key = _in_64_bits("Generator.seed: seed", seed)
        self._stream = self._position = 0

    def state(self) -> dict[str, int]:
        """Everything the next draws depend on, as plain integers."""
        return {"key": self._key, "stream": self._stream, "position": self._position}

    def set_state(self, state: dict[str, int]) -> None:
        """Go on from where `state()` was taken.

        Raises:
            ValueError: the keys are not key, stream and position, or a value is out of range.
        """
        if set(state) != {"key", "stream", "position"}:
            raise ValueError(
                "Generator.set_state: expected the keys key, stream and position, got "
                f"{', '.join(map(str, state)) or 'none'}"
            )
        checked = {k: _in_64_bits(f"Generator.set_state: {k}", v) for k, v in state.items()}
        self._key, self._stream = checked["key"], checked["stream"]
        self._position = checked["position"]

    def fork(self, *names: str | int) -> Generator:
        """A generator of its own for a named purpose: `generator.fork("shuffle", epoch)`.

        It depends on the seed, on the stream it is forked from and on the names, but not on what
        was drawn before, and drawing from it does not move this generator.  The names choose the
        stream (64 bits of a BLAKE2b hash), and two streams have no counter in common; that two
        names hash to one stream has a chance of 1 in 2^64.
        """
        child = Generator(self._key)
        text = repr((self._stream, *names)).encode()
        child._stream = int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
        return child

    def reserve(self, words: int) -> tuple[tuple[int, int], int]:
        """Move on by `words` words; the key and the counter at which a kernel may draw them.

        For callers of `Backend.philox`, `random_uniform` and `random_mask`.
        """
        counter = (self._stream << 64) | self._position
        self._position = (self._position + -(-words // 4)) % 2**64
        return (self._key & 0xFFFFFFFF, self._key >> 32), counter

    # ---- drawn where the arrays live ----

    def random_bits(self, n: int) -> Array:
        """n random words, uint32 (n,).

        Raises:
            ValueError: n is negative.
        """
        count = _size("random_bits", n)
        return active_backend().philox(*self.reserve(count), count)

    def uniform(
        self,
        shape: Shape = (),
        low: float = 0.0,
        high: float = 1.0,
        dtype: Any = "float32",
        like: Array | None = None,
    ) -> Array:
        """Floats with low <= x < high.

        On an even grid of 2^24 points in float32 (one word each), 2^53 in float64 (two words
        each); for low = 0 and high = 1 none of them is rounded.

        Args:
            shape: of the result.
            low, high: the bounds.
            dtype: "float32" or "float64".
            like: an array beside which they are made; None: where the active backend makes them.

        Raises:
            ValueError: low >= high, they are too far apart, or dtype is neither of the two.
        """
        dtype = _float_dtype("uniform", dtype)
        with np.errstate(over="ignore"):
            # Bounds rounded once, here, so that every library multiplies by the same numbers.
            first, end = np.asarray([low, high], dtype)
            span = end - first
        if not (low < high and np.isfinite(span)):
            raise ValueError(
                f"uniform: low must be less than high, and both finite in {dtype}, as must be "
                f"their difference; low {low}, high {high}"
            )
        shape = _shape("uniform", shape)
        backend, device = _home(like)
        n = _product(shape)
        key, counter = self.reserve(n if dtype == "float32" else 2 * n)
        u = backend.random_uniform(key, counter, n, dtype, device)
        if span != 1:
            u = u * float(span)
        if first != 0:
            u = u + float(first)  # may round up to `high`
            below = backend.xp.full_like(u, float(np.nextafter(end, first)))
            u = backend.xp.minimum(u, below)
        return backend.xp.reshape(u, shape)

    def bernoulli(self, p: float, shape: Shape = (), like: Array | None = None) -> Array:
        """A mask (bool) of that shape, true with probability p: where a word is below p 2^32.

        It is made beside the array `like`, or by the active backend.

        Raises:
            ValueError: p is not between 0 and 1.
        """
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"bernoulli: p must be between 0 and 1, got {p}")
        shape = _shape("bernoulli", shape)
        backend, device = _home(like)
        n = _product(shape)
        mask = backend.random_mask(*self.reserve(n), n, round(p * 2**32), device)
        return backend.xp.reshape(mask, shape)

    # ---- drawn in host memory, and moved ----

    def normal(
        self, shape: Shape = (), mean: float = 0.0, std: float = 1.0, dtype: Any = "float32"
    ) -> Array:
        """Floats of that shape from the normal distribution about `mean`, of deviation `std`.

        They are computed in float64 and rounded to dtype.

        Raises:
            ValueError: std is negative, or dtype is neither float32 nor float64.
        """
        dtype = _float_dtype("normal", dtype)
        if not std >= 0.0:
            raise ValueError(f"normal: std must not be negative, got {std}")
        shape = _shape("normal", shape)
        z = host.normal(self._words, _product(shape))
        return _moved((mean + std * z).astype(dtype).reshape(shape))

    def truncated_normal(
        self,
        shape: Shape = (),
        mean: float = 0.0,
        std: float = 1.0,
        low: float = -2.0,
        high: float = 2.0,
        dtype: Any = "float32",
    ) -> Array:
        """Floats of that shape from the normal distribution, given that low <= x <= high.

        `mean` and `std` are those of the distribution before it was cut.  They are computed in
        float64 and rounded to dtype.

        Raises:
            ValueError: std <= 0, low >= high, [low, high] begins further than 37 std from the
                mean, or dtype is neither float32 nor float64.
        """
        dtype = _float_dtype("truncated_normal", dtype)
        if not std > 0.0:
            raise ValueError(f"truncated_normal: std must be positive, got {std}")
        if not low < high:
            raise ValueError(
                f"truncated_normal: low must be less than high; low {low}, high {high}"
            )
        a, b = (low - mean) / std, (high - mean) / std
        if a > 37.0 or b < -37.0:
            raise ValueError(
                f"truncated_normal: [{low}, {high}] lies more than 37 std from the mean; "
                f"mean {mean}, std {std}"
            )
        shape = _shape("truncated_normal", shape)
        z = host.truncated_normal(self._words, a, b, _product(shape))
        x = np.clip(mean + std * z, low, high).astype(dtype)  # (size,)
        return _moved(x.reshape(shape))

    def integers(self, low: int, high: int | None = None, shape: Shape = ()) -> Array:
        """Integers (int64) of that shape, low <= k < high, or 0 <= k < low where high is left out.

        Every integer is exactly as likely as any other; `host.integers` says how.

        Raises:
            ValueError: the range is empty, or does not fit into int64.
        """
        return _moved(self.host_integers(low, high, shape))

    def host_integers(self, low: int, high: int | None = None, shape: Shape = ()) -> np.ndarray:
        """`integers(low, high, shape)` as a NumPy array, whatever the active backend.

        Raises:
            ValueError: as there.
        """
        if high is None:
            low, high = 0, low
        low, high = operator.index(low), operator.index(high)
        if not low < high:
            raise ValueError(f"integers: low must be less than high; low {low}, high {high}")
        if low < -(2**63) or high > 2**63:
            raise ValueError(f"integers: the range must fit into int64; low {low}, high {high}")
        shape = _shape("integers", shape)
        drawn: np.ndarray = host.integers(self._words, low, high, _product(shape))
        return drawn.reshape(shape)

    def permutation(self, n: int) -> Array:
        """0 .. n-1 (int64) in random order, every order exactly as likely as any other.

        Raises:
            ValueError: n is negative.
        """
        return _moved(self.host_permutation(n))

    def host_permutation(self, n: int) -> np.ndarray:
        """`permutation(n)`, of shape (n,), as a NumPy array, whatever the active backend.

        Raises:
            ValueError: n is negative.
        """
        order: np.ndarray = host.permutation(self._words, _size("permutation", n))
        return order

    def choice(self, n: int, shape: Shape = (), replace: bool = True) -> Array:
        """Indices (int64) of that shape, drawn from 0 .. n-1; with `replace` one may come again.

        Raises:
            ValueError: n < 1, or more than n are asked for without replacement.
        """
        return _moved(self.host_choice(n, shape, replace))

    def host_choice(self, n: int, shape: Shape = (), replace: bool = True) -> np.ndarray:
        """`choice(n, shape, replace)` as a NumPy array, whatever the active backend.

        Raises:
            ValueError: as there.
        """
        n, shape = operator.index(n), _shape("choice", shape)
        if n < 1:
            raise ValueError(f"choice: there must be something to choose from, got n = {n}")
        if replace:
            drawn: np.ndarray = host.integers(self._words, 0, n, _product(shape))
            return drawn.reshape(shape)
        if _product(shape) > n:
            raise ValueError(
                f"choice: without replacement no more than n can be drawn; n {n}, shape {shape}"
            )
        drawn = host.permutation(self._words, n)[: _product(shape)]
        return drawn.reshape(shape)

    def _words(self, n: int) -> np.ndarray:
        """The next n words, in host memory."""
        words: np.ndarray = get_backend("numpy").philox(*self.reserve(n), n)
        return words


def _home(like: Array | None) -> tuple[Backend, Any]:
    """The backend to draw on and the device, None for the backend's own."""
    if like is None:
        return active_backend(), None
    return backend_of(like), like.device


def _moved(x: np.ndarray) -> Array:
    return active_backend().from_numpy(x)


def _in_64_bits(what: str, value: int) -> int:
    value = operator.index(value)
    if not 0 <= value < 2**64:
        raise ValueError(f"{what} must be between 0 and 2^64 - 1, got {value}")
    return value


def _size(operation: str, n: int) -> int:
    n = operator.index(n)
    if n < 0:
        raise ValueError(f"{operation}: the number of draws must not be negative, got {n}")
    return n


def _shape(operation: str, shape: Shape) -> tuple[int, ...]:
    if not isinstance(shape, tuple | list):
        shape = (shape,)
    shape = tuple(operator.index(length) for length in shape)
    if any(length < 0 for length in shape):
        raise ValueError(f"{operation}: the shape must not be negative, got {shape}")
    return shape


def _product(shape: tuple[int, ...]) -> int:
    n = 1
    for length in shape:
        n *= length
    return n


def _float_dtype(operation: str, dtype: Any) -> str:
    name = dtype_name(dtype)
    if name not in ("float32", "float64"):
        raise ValueError(f'{operation}: dtype must be "float32" or "float64", got {dtype!r}')
    return name
