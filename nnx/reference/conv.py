"""Convolution in three ways, from the definition to the textbook's fast version (Xu 4.4, 5.2).

The definition takes any geometry: stride (sh, sw), padding ((top, bottom), (left, right)), dilation
(dh, dw), groups.  The other two are for stride 1, a square kernel, and one border on all sides that
is narrower than the kernel.  How nnx computes is in `nnx.ops.windows.conv` and the kernels it
names; `nnx bench conv` times one beside the other.
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

    Args:
        stride, dilation: (down, across).
        padding: ((top, bottom), (left, right)) zeros.
        groups: the channels are split into as many parts that do not see each other.
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
    needs_input: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """The same loops, each dot product differentiated: y = window . w gives w G and window G.

    Args:
        gy: G (N, O, oh, ow), the gradient of the result.
        x, weight, stride, padding, dilation, groups: what `conv2d` was given.
        needs_input: False: x needs no gradient, and None stands for it.

    Returns:
        The gradients of x (N, C, H, W), weight (O, C/groups, kh, kw) and bias (O,).
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
        if needs_input:
            gx[n, first : first + depth, rows, columns] += weight[o] * gy[n, o, p, q]
        gw[o] += x[n, first : first + depth, rows, columns] * gy[n, o, p, q]
    inside = (..., slice(top, x.shape[2] - bottom), slice(left, x.shape[3] - right))
    return gx[inside] if needs_input else None, gw, gy.sum(axis=(0, 2, 3))


def bordered(x: np.ndarray, padding: int) -> np.ndarray:
    """x (N, C, H, W) with so many rows and columns of zeros on every side."""
    n, c, h, w = x.shape
    image = np.zeros((n, c, h + 2 * padding, w + 2 * padding), x.dtype)
    image[:, :, padding : padding + h, padding : padding + w] = x
    return image


def conv2d_sliced(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, padding: int) -> np.ndarray:
    """Only the windows are looped over: a slice has one place of all images and channels.

    x (N, C, H, W), weight (O, C, kh, kw), bias (O,) -> (N, O, oh, ow), with `padding` rows and
    columns of zeros on every side.
    """
    x = bordered(x, padding)
    kh, kw = weight.shape[2:]
    oh, ow = x.shape[2] - kh + 1, x.shape[3] - kw + 1
    y = np.empty((len(x), len(weight), oh, ow), x.dtype)
    for p in range(oh):
        for q in range(ow):
            window = x[:, :, p : p + kh, q : q + kw]
            # (N, C, kh, kw) x (O, C, kh, kw) -> (N, O)
            y[:, :, p, q] = np.tensordot(window, weight, axes=((1, 2, 3), (1, 2, 3))) + bias
    return y


def conv2d_sliced_backward(
    gy: np.ndarray, x: np.ndarray, weight: np.ndarray, padding: int, needs_input: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """The gradients of x (N, C, H, W), weight (O, C, kh, kw) and bias (O,), window by window.

    Args:
        gy: the gradient of the result (N, O, oh, ow).
        x, weight, padding: what `conv2d_sliced` was given.
        needs_input: False: x needs no gradient, and None stands for it.
    """
    x = bordered(x, padding)
    kh, kw = weight.shape[2:]
    gx, gw = np.zeros_like(x), np.zeros_like(weight)
    for p in range(gy.shape[2]):
        for q in range(gy.shape[3]):
            g, window = gy[:, :, p, q], (..., slice(p, p + kh), slice(q, q + kw))
            if needs_input:
                gx[window] += np.tensordot(g, weight, axes=1)  # (N, O) x (O, C, kh, kw)
            gw += np.tensordot(g, x[window], axes=(0, 0))  # (N, O) x (N, C, kh, kw)
    inside = (..., slice(padding, x.shape[2] - padding), slice(padding, x.shape[3] - padding))
    return gx[inside] if needs_input else None, gw, gy.sum(axis=(0, 2, 3))


def conv2d_columns(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, padding: int) -> np.ndarray:
    """The textbook's fast version (Xu 5.2.3): every window a column, a product for each image.

    x (N, C, H, W), weight (O, C, kh, kw), bias (O,) -> (N, O, oh, ow), with `padding` rows and
    columns of zeros on every side.
    """
    o, _, kh, kw = weight.shape
    x = bordered(x, padding)
    oh, ow = x.shape[2] - kh + 1, x.shape[3] - kw + 1
    columns = np.empty((len(x), weight[0].size, oh * ow), x.dtype)
    for k in range(oh * ow):
        p, q = divmod(k, ow)
        columns[:, :, k] = x[:, :, p : p + kh, q : q + kw].reshape(len(x), -1)
    y = np.empty((len(x), o, oh * ow), x.dtype)
    for n in range(len(x)):
        # (O, C kh kw) x (C kh kw, oh ow) -> (O, oh ow)
        y[n] = np.matmul(weight.reshape(o, -1), columns[n]) + bias[:, None]
    return y.reshape(-1, o, oh, ow)


def conv2d_columns_backward(
    gy: np.ndarray, x: np.ndarray, weight: np.ndarray, padding: int, needs_input: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Both gradients as correlations again, computed with columns (Xu 5.3.2).

    That of the weight is the image's with gy as the kernel (Xu 4.25), for each image and channel a
    product; that of x is gy's with the kernel turned by 180 degrees, its input and output channels
    exchanged (Xu 4.17, 4.22).

    Args:
        gy: the gradient of the result (N, O, oh, ow).
        x, weight, padding: what `conv2d_columns` was given.
        needs_input: False: x needs no gradient, and None stands for it.

    Returns:
        The gradients of x (N, C, H, W), weight (O, C, kh, kw) and bias (O,).
    """
    n, o, oh, ow = gy.shape
    _, c, kh, kw = weight.shape
    image = bordered(x, padding)
    views = np.empty((n, c, oh * ow, kh * kw), x.dtype)  # what each place of the kernel sees
    for k in range(kh * kw):
        i, j = divmod(k, kw)
        views[..., k] = image[:, :, i : i + oh, j : j + ow].reshape(n, c, -1)
    each = np.empty((n, c, o, kh * kw), x.dtype)
    for m in range(n):
        for d in range(c):
            # (O, oh ow) x (oh ow, kh kw) -> (O, kh kw)
            each[m, d] = np.matmul(gy[m].reshape(o, -1), views[m, d])
    gw = each.sum(axis=0).transpose(1, 0, 2).reshape(weight.shape)
    gx = None
    if needs_input:
        rotated = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        gx = conv2d_columns(gy, rotated, np.zeros(c, x.dtype), kh - 1 - padding)
    return gx, gw, gy.sum(axis=(0, 2, 3))
