"""Philox-4x32-10: random words from a key and a counter, and what is made of them exactly.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).  There is no
state that moves: block b of a stream is a function of a 64-bit key and a 128-bit counter, so any
thread may compute any part, and every library computes the same.

The words are laid out as simply as can be, since CUDA must match them bit for bit:

    word i of a draw = lane i % 4 of the block whose counter is `counter` + i // 4

where only the low 64 bits of the counter count (and wrap); the high 64 stay as they are, so that
draws of two streams never meet.  A counter is four words (c0, c1, c2, c3), lowest first, and a
key two, (k0, k1).  One block is ten rounds of

    hi, lo   = M0 c0 (64 bits, cut in two)           M0 = D2511F53
    hi', lo' = M1 c2                                 M1 = CD9E8D57
    (c0, c1, c2, c3) = (hi' ^ c1 ^ k0,  lo',  hi ^ c3 ^ k1,  lo)
    (k0, k1) = (k0 + 9E3779B9, k1 + BB67AE85)        for the next round

and its lanes are (c0, c1, c2, c3) after the last.
"""

from __future__ import annotations

from typing import Any

from ...typing import Array

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, as fractions of 2^32
ROUNDS = 10
MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF


def round_keys(key: tuple[int, int]) -> list[tuple[int, int]]:
    """The key of each round."""
    return [
        ((key[0] + r * KEY_STEPS[0]) & MASK32, (key[1] + r * KEY_STEPS[1]) & MASK32)
        for r in range(ROUNDS)
    ]


class RandomKernels:
    """Draws of n numbers that start at block `counter` and use whole blocks.

    Arrays are made on `device`, or where the backend makes new ones.
    """

    xp: Any
    device: Any

    def philox(self, key: tuple[int, int], counter: int, n: int, device: Any = None) -> Array:
        """n words of Philox 4x32-10 (Salmon et al. 2011), uint32 (n,).

        Args:
            key: two words.
            counter: the first block's number, 128 bits; a block has four words.
            n: how many words.
            device: where; None: where the backend makes new arrays.

        Raises:
            RuntimeError: the library has no integers of 64 bits.
        """
        return self.xp.astype(self._philox_words(key, counter, n, device), self.xp.uint32)

    def random_uniform(
        self, key: tuple[int, int], counter: int, n: int, dtype: str, device: Any = None
    ) -> Array:
        """n floats (n,) in [0, 1), on an even grid, none of them rounded.

        Args:
            key, counter, device: as in `philox`.
            n: how many floats.
            dtype: "float32", of one word w each, (w >> 8) / 2^24; or "float64", of two words v, w
                each, ((v >> 5) 2^26 + (w >> 6)) / 2^53.

        Raises:
            RuntimeError: the library has no integers of 64 bits.
        """
        xp = self.xp
        if dtype == "float32":
            words = self._philox_words(key, counter, n, device)
            return xp.astype(words >> 8, xp.float32) * 2.0**-24
        words = xp.reshape(self._philox_words(key, counter, 2 * n, device), (n, 2))
        grid = (words[:, 0] >> 5) * 2**26 + (words[:, 1] >> 6)
        return xp.astype(grid, xp.float64) * 2.0**-53

    def random_mask(
        self, key: tuple[int, int], counter: int, n: int, threshold: int, device: Any = None
    ) -> Array:
        """bool (n,), true where a word is below `threshold`: with probability threshold / 2^32.

        key, counter and device are those of `philox`.

        Raises:
            RuntimeError: the library has no integers of 64 bits.
        """
        return self._philox_words(key, counter, n, device) < threshold

    def dropout(
        self, x: Array, key: tuple[int, int], counter: int, threshold: int, scale: float
    ) -> Array:
        """x times `scale` where element i's word is below `threshold`, 0 elsewhere: x's shape.

        The words are those of `philox(key, counter, ...)`; elements count in row-major order.  The
        gradient is the same function of the output's gradient, so the mask is drawn again and not
        kept.
        """
        xp = self.xp
        n = 1
        for length in x.shape:
            n *= length
        mask = xp.reshape(self.random_mask(key, counter, n, threshold, x.device), x.shape)
        return xp.where(mask, x * scale, xp.zeros_like(x))

    def _philox_words(self, key: tuple[int, int], counter: int, n: int, device: Any) -> Array:
        """The words as int64 (n,), which every library has; no step leaves 0 .. 2^63."""
        xp = self.xp
        device = self.device if device is None else device
        start = xp.arange(-(-n // 4), dtype=xp.int64, device=device)
        if start.dtype != xp.int64:
            raise RuntimeError(
                "random numbers are made of 64-bit integers, and this library gives "
                f"{start.dtype} for int64; with JAX, set JAX_ENABLE_X64=1"
            )
        start = start + (counter & MASK32)
        c0 = start & MASK32  # (blocks,)
        c1 = ((start >> 32) + ((counter >> 32) & MASK32)) & MASK32
        c2 = xp.full_like(c0, (counter >> 64) & MASK32)
        c3 = xp.full_like(c0, (counter >> 96) & MASK32)
        for k0, k1 in round_keys(key):
            high0, low0 = _multiply(c0, MULTIPLIERS[0])
            high1, low1 = _multiply(c2, MULTIPLIERS[1])
            c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        words = xp.stack([c0, c1, c2, c3], axis=1)  # (blocks, 4)
        return xp.reshape(words, (-1,))[:n]


def _multiply(x: Array, m: int) -> tuple[Array, Array]:
    """The high and low word of x m, both below 2^32, without a product of more than 48 bits."""
    low = x * (m & 0xFFFF)
    high = x * (m >> 16) + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)
