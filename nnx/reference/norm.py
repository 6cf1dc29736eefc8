"""Batch normalisation by its definition, and its backward term by term (Xu 6.5-6.8, 6.15-6.22)."""

from __future__ import annotations

import numpy as np


def batch_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y = weight (x - mean) / √(variance + eps) + bias, by each column's mean and biased variance.

    x (M, C), images as (N H W, C), weight and bias (C,) -> y (M, C), mean (C,), variance (C,).
    """
    mean = x.sum(axis=0) / len(x)
    variance = ((x - mean) ** 2).sum(axis=0) / len(x)
    return weight * (x - mean) / np.sqrt(variance + eps) + bias, mean, variance


def batch_norm_backward(
    gy: np.ndarray, x: np.ndarray, weight: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The chain rule through x̂, μ and σ² in turn, before anything is simplified.

    Args:
        gy: the gradient of y (M, C).
        x, weight, eps: what `batch_norm` was given.

    Returns:
        The gradients of x (M, C), weight (C,) and bias (C,).
    """
    m = len(x)
    mean = x.mean(axis=0)
    variance = ((x - mean) ** 2).mean(axis=0)
    deviation = np.sqrt(variance + eps)
    normal = (x - mean) / deviation
    g = gy * weight  # dL/dx̂
    g_variance = (g * (x - mean) * -0.5 * deviation**-3).sum(axis=0)  # Xu 6.22
    g_mean = (-g / deviation).sum(axis=0) + g_variance * (-2 * (x - mean)).mean(axis=0)  # Xu 6.20
    gx = g / deviation + g_variance * 2 * (x - mean) / m + g_mean / m
    return gx, (gy * normal).sum(axis=0), gy.sum(axis=0)
