"""Convolution in three ways, from the definition to the textbook's fast version (Xu 4.4, 5.2).

Geometry as everywhere: stride (sh, sw), padding ((top, bottom), (left, right)), dilation (dh, dw).
The fourth way is the one nnx computes with: `nnx.ops.conv` and the kernels it names.
"""

from __future__ import annotations

import numpy as np

Pair = tuple[int, int]
NO_PADDING = ((0, 0), (0, 0))


def output_size(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> int:
    """How many windows fit along an axis."""
    return (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Pair = (1, 1),
    padding: tuple[Pair, Pair] = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """The definition: one loop for every index of the result, one dot product for each.

    x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,) -> (N, O, oh, ow)
    """
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    (sh, sw), (dh, dw) = stride, dilation
    n_images, _, h, w = x.shape
    n_outputs, depth, kh, kw = weight.shape
    oh = output_size(h, kh, sh, (0, 0), dh)
    ow = output_size(w, kw, sw, (0, 0), dw)
    y = np.zeros((n_images, n_outputs, oh, ow), x.dtype)
    for n in range(n_images):
        for o in range(n_outputs):
            first = o // (n_outputs // groups) * depth  # the first channel of o's group
            for p in range(oh):
                for q in range(ow):
                    rows = slice(p * sh, p * sh + (kh - 1) * dh + 1, dh)
                    columns = slice(q * sw, q * sw + (kw - 1) * dw + 1, dw)
                    window = x[n, first : first + depth, rows, columns]
                    y[n, o, p, q] = (window * weight[o]).sum()
                    if bias is not None:
                        y[n, o, p, q] += bias[o]
    return y


def conv2d_backward(
    gy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    stride: Pair = (1, 1),
    padding: tuple[Pair, Pair] = NO_PADDING,
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same loops, each dot product differentiated: y = window . w gives w G and window G.

    gy (N, O, oh, ow) -> the gradients of x, weight and bias
    """
    (top, bottom), (left, right) = padding
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    (sh, sw), (dh, dw) = stride, dilation
    n_outputs, depth, kh, kw = weight.shape
    gx, gw = np.zeros_like(x), np.zeros_like(weight)
    for n, o, p, q in np.ndindex(gy.shape):
        first = o // (n_outputs // groups) * depth
        rows = slice(p * sh, p * sh + (kh - 1) * dh + 1, dh)
        columns = slice(q * sw, q * sw + (kw - 1) * dw + 1, dw)
        gx[n, first : first + depth, rows, columns] += weight[o] * gy[n, o, p, q]
        gw[o] += x[n, first : first + depth, rows, columns] * gy[n, o, p, q]
    gx = gx[:, :, top : gx.shape[2] - bottom, left : gx.shape[3] - right]
    return gx, gw, gy.sum(axis=(0, 2, 3))


def conv2d_sliced(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, padding: int) -> np.ndarray:
    """All images, channels and positions at once: only the kernel's places are looped over.

    Stride 1.  x (N, C, H, W), weight (O, C, kh, kw), bias (O,) -> (N, O, oh, ow)
    """
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    kh, kw = weight.shape[2:]
    oh, ow = x.shape[2] - kh + 1, x.shape[3] - kw + 1
    y = np.zeros((x.shape[0], weight.shape[0], oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            pixels = x[:, :, i : i + oh, j : j + ow]  # (N, C, oh, ow)
            # (O, C) x (N, C, oh, ow) -> (O, N, oh, ow)
            y += np.tensordot(weight[:, :, i, j], pixels, axes=(1, 1)).transpose(1, 0, 2, 3)
    return y + bias[:, None, None]


def conv2d_columns(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, padding: int
) -> tuple[np.ndarray, np.ndarray]:
    """The textbook's fast version (Xu 5.2.3): every window a column, then a matrix product.

    Stride 1.  Returns y (N, O, oh, ow) and the columns (N, C kh kw, oh ow), which its backward
    uses again.
    """
    n, c, h, w = x.shape
    o, _, kh, kw = weight.shape
    padded = np.zeros((n, c, h + 2 * padding, w + 2 * padding), x.dtype)
    padded[:, :, padding : padding + h, padding : padding + w] = x
    oh, ow = padded.shape[2] - kh + 1, padded.shape[3] - kw + 1
    columns = np.empty((n, c * kh * kw, oh * ow), x.dtype)
    for k in range(oh * ow):
        p, q = divmod(k, ow)
        columns[:, :, k] = padded[:, :, p : p + kh, q : q + kw].reshape(n, -1)
    y = np.matmul(weight.reshape(o, -1), columns) + bias[:, None]
    return y.reshape(n, o, oh, ow), columns


def conv2d_columns_backward(
    gy: np.ndarray, columns: np.ndarray, weight: np.ndarray, padding: int, needs_input: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """The gradients of x (if needed), weight and bias from `conv2d_columns`' columns."""
    n, o, oh, ow = gy.shape
    _, c, kh, kw = weight.shape
    g = gy.reshape(n, o, oh * ow)
    gw = np.matmul(g, columns.transpose(0, 2, 1)).sum(axis=0).reshape(weight.shape)
    gb = g.sum(axis=(0, 2))
    if not needs_input:
        return None, gw, gb
    gcolumns = np.matmul(weight.reshape(o, -1).T, g)
    gx = np.zeros((n, c, oh + kh - 1, ow + kw - 1), gy.dtype)
    for k in range(oh * ow):
        p, q = divmod(k, ow)
        gx[:, :, p : p + kh, q : q + kw] += gcolumns[:, :, k].reshape(n, c, kh, kw)
    inner = (slice(padding, gx.shape[2] - padding), slice(padding, gx.shape[3] - padding))
    return gx[:, :, inner[0], inner[1]], gw, gb
