"""Normalisation: over the batch, over a sample's features, over groups of channels."""

from __future__ import annotations

from typing import Any

from ...typing import Array
from .residuals import Residuals


class NormKernels:
    """The derivations are in `nnx.ops.norm`, whose files are `batch` and `sample`.

    All have one shape: x̂ = (x - μ) / √(σ² + ε) with mean μ and biased variance σ² over some
    axes, y = γ x̂ + β, and the backward of `_normalized_backward`.
    """

    xp: Any
    sum_over: Any  # `ReduceKernels`'s
    mean_over: Any

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Residuals]:
        """Normalise every channel over the batch and all positions, eps added to the variance.

        x (N, C, ...), weight and bias (C,) or None -> y like x, mean (C,), biased variance (C,),
        and what `batch_norm_backward` needs.
        """
        axes = (0, *range(2, x.ndim))
        mean, variance, inverse, normal = self._normalized(x, axes, eps)
        y = self._affine(normal, weight, bias)
        channels = (x.shape[1],)
        return (
            y,
            self.xp.reshape(mean, channels),
            self.xp.reshape(variance, channels),
            Residuals((normal, inverse, weight)),
        )

    def track_moments_(
        self,
        running: tuple[Array, Array, Array],
        mean: Array,
        variance: Array,
        fresh: float,
        unbiased: float,
    ) -> tuple[Array, Array, Array]:
        """Move running statistics towards a batch's: those of `running` are a mean (C,), a variance
        (C,) and a count of batches ().

        running = (1 - fresh) running + fresh (mean, unbiased variance); the count rises by 1.
        """
        old_mean, old_variance, batches = running
        return (
            old_mean * (1 - fresh) + mean * fresh,
            old_variance * (1 - fresh) + variance * unbiased * fresh,
            self.xp.asarray(batches + 1),
        )

    def batch_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients of x (N, C, ...), weight (C,) and bias (C,) that are needed; None for the
        others.

        Args:
            gy: the gradient of y (N, C, ...).
            residuals: what `batch_norm` kept.
            needs: which of the three are wanted.
        """
        normal, inverse, weight = residuals
        axes = (0, *range(2, gy.ndim))
        gx = None
        if needs[0]:
            gx = self._normalized_backward(self._scaled(gy, weight), normal, inverse, axes)
        gw = self.sum_over(gy * normal, axes, False) if needs[1] else None
        gb = self.sum_over(gy, axes, False) if needs[2] else None
        return gx, gw, gb

    def batch_norm_inference(
        self,
        x: Array,
        mean: Array,
        variance: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
    ) -> tuple[Array, Array, Array]:
        """Normalise every channel with given statistics: y = γ (x - μ) / √(σ² + ε) + β.

        Args:
            x: (N, C, ...).
            mean, variance: μ and σ² (C,).
            weight, bias: γ and β (C,), or None.
            eps: ε.

        Returns:
            y like x, and what the gradients are made of: 1/√(σ² + ε) and γ/√(σ² + ε), (C,).
        """
        xp = self.xp
        channels = (-1, *[1] * (x.ndim - 2))
        inverse = 1 / xp.sqrt(variance + eps)
        scale = inverse if weight is None else inverse * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        y = x * xp.reshape(scale, channels) + xp.reshape(shift, channels)
        return y, inverse, scale

    def layer_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Residuals]:
        """Normalise every row, eps added to its variance.

        x (M, D), weight and bias (D,) or None -> y (M, D), and what `layer_norm_backward` needs.
        """
        _, _, inverse, normal = self._normalized(x, (1,), eps)
        y = normal if weight is None else normal * weight
        return y if bias is None else y + bias, Residuals((normal, inverse, weight))

    def layer_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients of x (M, D), weight (D,) and bias (D,) that are needed; None for the
        others.

        Args:
            gy: the gradient of y (M, D).
            residuals: what `layer_norm` kept.
            needs: which of the three are wanted.
        """
        normal, inverse, weight = residuals
        gx = None
        if needs[0]:
            scaled = gy if weight is None else gy * weight
            gx = self._normalized_backward(scaled, normal, inverse, (1,))
        gw = self.sum_over(gy * normal, (0,), False) if needs[1] else None
        gb = self.sum_over(gy, (0,), False) if needs[2] else None
        return gx, gw, gb

    def group_norm(
        self, x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float
    ) -> tuple[Array, Residuals]:
        """Normalise each sample's channels in groups, over the group and all positions.

        x (N, C, ...), weight and bias (C,) or None -> y like x, and what `group_norm_backward`
        needs; eps is added to the variance of each group.
        """
        xp = self.xp
        n, c = x.shape[:2]
        pixels = _product(x.shape[2:])
        grouped = xp.reshape(x, (n, groups, c // groups * pixels))
        _, _, inverse, normal = self._normalized(grouped, (2,), eps)
        y = self._affine(xp.reshape(normal, x.shape), weight, bias)
        return y, Residuals((normal, inverse, weight))

    def group_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients of x (N, C, ...), weight (C,) and bias (C,) that are needed; None for the
        others.

        Args:
            gy: the gradient of y (N, C, ...).
            residuals: what `group_norm` kept.
            needs: which of the three are wanted.
        """
        xp = self.xp
        normal, inverse, weight = residuals
        axes = (0, *range(2, gy.ndim))
        gx = None
        if needs[0]:
            grouped = xp.reshape(self._scaled(gy, weight), normal.shape)
            gx = xp.reshape(self._normalized_backward(grouped, normal, inverse, (2,)), gy.shape)
        gw = self.sum_over(gy * xp.reshape(normal, gy.shape), axes, False) if needs[1] else None
        gb = self.sum_over(gy, axes, False) if needs[2] else None
        return gx, gw, gb

    def _normalized(
        self, x: Array, axes: tuple[int, ...], eps: float
    ) -> tuple[Array, Array, Array, Array]:
        """Mean, biased variance, 1/√(variance + eps), all with kept axes, and x̂."""
        xp = self.xp
        mean = self.mean_over(x, axes, True)
        centred = x - mean
        variance = self.mean_over(centred * centred, axes, True)
        inverse = 1 / xp.sqrt(variance + eps)
        return mean, variance, inverse, centred * inverse

    def _normalized_backward(
        self, g: Array, normal: Array, inverse: Array, axes: tuple[int, ...]
    ) -> Array:
        """dL/dx from g = dL/dx̂: (g - mean(g) - x̂ mean(g x̂)) / √(σ² + ε)."""
        mean_g = self.mean_over(g, axes, True)
        mean_gn = self.mean_over(g * normal, axes, True)
        return (g - mean_g - normal * mean_gn) * inverse

    def _scaled(self, x: Array, weight: Array | None) -> Array:
        """x times its channel's weight."""
        if weight is None:
            return x
        return x * self.xp.reshape(weight, (-1, *[1] * (x.ndim - 2)))

    def _affine(self, x: Array, weight: Array | None, bias: Array | None) -> Array:
        """x times its channel's weight plus its channel's bias."""
        x = self._scaled(x, weight)
        return x if bias is None else x + self.xp.reshape(bias, (-1, *[1] * (x.ndim - 2)))


def _product(lengths: tuple[int, ...]) -> int:
    product = 1
    for length in lengths:
        product *= length
    return product
