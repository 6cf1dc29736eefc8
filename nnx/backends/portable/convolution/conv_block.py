"""Convolution with what usually follows it: batch norm, ReLU, max-pooling."""

from __future__ import annotations

from ....typing import Array
from ..linear import LinearKernels
from ..norm import NormKernels
from ..pool import PoolKernels
from ..residuals import Residuals
from ..window import Window
from .conv import ConvKernels

Norm = tuple[Array | None, Array | None, float]  # weight, bias, eps


class ConvBlockKernels(ConvKernels, LinearKernels, NormKernels, PoolKernels):
    """One kernel for layers that stand in a row: here the row itself, elsewhere one pass.

    Half the time of a convolutional network goes into reading and writing what lies between a
    convolution and its pooling; a fast version never writes it.
    """

    # Whether `nn.Sequential` shall call this kernel: True where it is faster than the row.
    fuses_convolution = False

    def conv_block2d(
        self,
        x: Array,
        weight: Array,
        bias: Array | None,
        window: Window,
        groups: int,
        norm: Norm | None,
        relu: bool,
        pool: Window | None,
    ) -> tuple[Array, Array | None, Array | None, Residuals]:
        """`conv2d`, then those of `batch_norm`, `relu` and `max_pool2d` that are asked for.

        Args:
            x, weight, bias, window, groups: of the convolution, as in `conv2d`.
            norm: weight (O,) or None, bias (O,) or None, and eps of batch norm; None: there is
                none.
            relu: whether there is one.
            pool: the window of the pooling; None: there is none.

        Returns:
            The result (N, O, oh, ow); batch norm's mean and biased variance (O,), None without
            `norm`; and what `conv_block2d_backward` needs.
        """
        y, convolved = self.conv2d(x, weight, bias, window, groups)
        mean = variance = normalised = rectified = shape = places = None
        if norm is not None:
            y, mean, variance, normalised = self.batch_norm(y, *norm)
        if relu:
            y = rectified = self.relu(y)
        if pool is not None:
            shape = tuple(y.shape)
            y, places = self.max_pool2d(y, pool)
        residuals = Residuals((convolved, normalised, rectified, shape, places, pool))
        return y, mean, variance, residuals

    def conv_block2d_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """The gradients of x, weight, bias, and batch norm's weight and bias, in their shapes.

        Args:
            gy: the gradient of the result.
            residuals: what `conv_block2d` kept.
            needs: which of the five are wanted; None stands for the others.
        """
        convolved, normalised, rectified, shape, places, pool = residuals
        if places is not None:
            gy = self.max_pool2d_backward(gy, places, shape, pool)
        if rectified is not None:
            gy = self.relu_backward(gy, rectified)
        ggamma = gbeta = None
        if normalised is not None:
            wanted = (needs[0] or needs[1] or needs[2], needs[3], needs[4])
            gy, ggamma, gbeta = self.batch_norm_backward(gy, normalised, wanted)
        gx = gw = gb = None
        if needs[0] or needs[1] or needs[2]:
            gx, gw, gb = self.conv2d_backward(gy, convolved, needs[:3])
        return gx, gw, gb, ggamma, gbeta
