import warnings

import numpy as np
import pytest
from gradients import check_gradients
from windows import KERNELS, cases, conv2d_by_definition, integers, operands, thinned

import nnx
from nnx import ops, reference
from nnx.backends.cpu.convolution import conv as cpu_conv
from nnx.backends.portable.convolution import conv as portable_conv
from nnx.backends.portable.window import Window


def run(backend, function, arrays, gy=None):
    """Values and gradients of a function of arrays, on one backend, as NumPy arrays."""
    tensors = [None if a is None else backend.tensor(a, requires_grad=True) for a in arrays]
    y = function(*tensors)
    y.backward(backend.asarray(np.ones(y.shape, "float32") if gy is None else gy))
    return [backend.to_numpy(y)] + [backend.to_numpy(t.grad) for t in tensors if t is not None]


# ---- the whole grid ----


@pytest.mark.parametrize("kernel", KERNELS)
def test_equals_the_definition_over_the_grid(backend, kernel):
    for case in thinned(backend, cases(kernel)):
        y, gy, *gradients = conv2d_by_definition(case)
        got = run(
            backend,
            lambda x, w, b, c=case: ops.conv2d(x, w, b, *c[1:]),
            operands(kernel, case.groups),
            gy,
        )
        for actual, expected in zip(got, (y, *gradients), strict=True):
            np.testing.assert_array_equal(actual, expected, err_msg=str(case))
            assert actual.dtype == np.float32


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_definition_equals_pytorch_over_the_grid(kernel):
    torch = pytest.importorskip("torch")
    for case in cases(kernel):
        arrays = operands(kernel, case.groups)
        x, w, b = (torch.tensor(a, requires_grad=True) for a in arrays)
        (above, below), (left, right) = case.padding
        image = torch.nn.functional.pad(x, (left, right, above, below))
        y = torch.nn.functional.conv2d(image, w, b, case.stride, 0, case.dilation, case.groups)
        expected = conv2d_by_definition(case)
        y.backward(torch.tensor(expected[1].copy()))
        got = (y, x.grad, w.grad, b.grad)
        for t, e in zip(got, (expected[0], *expected[2:]), strict=True):
            np.testing.assert_array_equal(t.detach().numpy(), e, err_msg=str(case))


def test_real_numbers_in_both_precisions(backend):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s) for s in ((3, 5, 9, 11), (20, 5, 3, 3), (20,))]
    expected = reference.conv2d(*arrays, (1, 1), ((1, 1), (1, 1)))
    for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-13)):
        if dtype == "float64" and not backend.float64:
            continue
        y, gx, gw, _ = run(
            backend,
            lambda x, w, b: ops.conv2d(x, w, b, padding=1),
            [a.astype(dtype) for a in arrays],
            np.cos(expected).astype(dtype),
        )
        assert y.dtype == gx.dtype == gw.dtype == dtype
        np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance * np.abs(expected).max())
        g = reference.conv2d_backward(np.cos(expected), *arrays[:2], padding=((1, 1), (1, 1)))
        np.testing.assert_allclose(gx, g[0], rtol=0, atol=tolerance * np.abs(g[0]).max())
        np.testing.assert_allclose(gw, g[1], rtol=0, atol=tolerance * np.abs(g[1]).max())


@pytest.mark.parametrize("channels, outputs", [(1, 32), (32, 64), (3, 7), (17, 33), (64, 1)])
def test_channel_counts_of_every_remainder(backend, channels, outputs):
    x, w = integers(0, 2, channels, 6, 9), integers(1, outputs, channels, 3, 3)
    b = integers(2, outputs)
    y = reference.conv2d(x, w, b, padding=((1, 1), (1, 1)))
    gy = integers(3, *y.shape)
    got = run(backend, lambda *a: ops.conv2d(*a, padding=1), (x, w, b), gy)
    expected = (y, *reference.conv2d_backward(gy, x, w, padding=((1, 1), (1, 1))))
    for a, e in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, e)


def test_finite_differences(backend):
    backend.skip_without_float64()
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s) for s in ((2, 4, 5, 6), (6, 2, 3, 2), (6,)))

    def conv(*a):
        return ops.conv2d(*a, stride=(2, 1), padding=((1, 0), (2, 1)), dilation=(1, 2), groups=2)

    check_gradients(conv, x, w, b, wrap=backend.asarray)
    check_gradients(lambda x, w: conv(x, w, None), x, w, wrap=backend.asarray)


def test_strided_inputs_and_untouched_inputs(backend):
    arrays = operands((3, 2), 2)
    x, w, b = (backend.strided(a) for a in arrays)
    y, gy, *expected = conv2d_by_definition(next(iter(cases((3, 2))))._replace(groups=2))
    tensors = [nnx.Tensor(a, True) for a in (x, w, b)]
    out = ops.conv2d(*tensors, groups=2)
    np.testing.assert_array_equal(backend.to_numpy(out), y)
    out.backward(backend.strided(gy))
    for t, e, original in zip(tensors, expected, arrays, strict=True):
        np.testing.assert_array_equal(backend.to_numpy(t.grad), e)
        np.testing.assert_array_equal(backend.to_numpy(t.data), original)


def test_gradients_only_where_they_are_wanted(backend):
    x, w, b = operands((2, 2), 1)
    case = next(iter(cases((2, 2))))
    _, gy, gx, gw, gb = conv2d_by_definition(case)
    for wanted in ((True, False, False), (False, True, False), (False, False, True)):
        tensors = [
            backend.tensor(a, requires_grad=r) for a, r in zip((x, w, b), wanted, strict=True)
        ]
        ops.conv2d(*tensors).backward(backend.asarray(gy))
        for t, r, e in zip(tensors, wanted, (gx, gw, gb), strict=True):
            assert (t.grad is not None) == r
            if r:
                np.testing.assert_array_equal(backend.to_numpy(t.grad), e)


def test_an_empty_batch(backend):
    x, w, b = operands((3, 2), 1)
    y, gx, gw, gb = run(backend, ops.conv2d, (x[:0], w, b))
    assert y.shape == (0, 4, 4, 6) and gx.shape == x[:0].shape
    assert not gw.any() and gw.shape == w.shape and not gb.any()


# ---- im2col and col2im ----


def test_col2im_is_the_transpose_of_im2col(backend):
    """<im2col(x), c> = <x, col2im(c)> for all x and c, exactly."""
    for case in thinned(backend, cases((3, 2)))[::3]:
        window = Window(*case[:4])
        x = integers(5, 2, 4, 6, 7)
        columns = backend.to_numpy(backend.backend.im2col(backend.asarray(x), window))
        c = integers(6, *columns.shape)
        image = backend.backend.col2im(backend.asarray(c), x.shape, window)
        image = backend.to_numpy(image)
        assert image.shape == x.shape and columns.shape[:2] == (2, 4 * 3 * 2)
        assert (columns * c).sum() == (x * image).sum()


def test_im2col_rows_are_what_each_place_of_the_window_sees(backend):
    x = np.arange(2 * 2 * 3 * 4, dtype="float32").reshape(2, 2, 3, 4)
    columns = backend.backend.im2col(backend.asarray(x), Window((2, 3)))
    columns = backend.to_numpy(columns).reshape(2, 2, 2, 3, 2, 2)
    for c, i, j, p, q in np.ndindex(2, 2, 3, 2, 2):
        np.testing.assert_array_equal(columns[:, c, i, j, p, q], x[:, c, p + i, q + j])


def rotated(w):
    """The kernel turned by 180 degrees, its input and output channels exchanged."""
    return w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4)])  # even ones too
def test_col2im_equals_the_full_correlation_with_the_rotated_kernel(backend, kernel, stride):
    """Xu 4.17-4.22: the input gradient, computed as the textbook derives it."""
    x, w = integers(0, 2, 3, 9, 7), integers(1, 4, 3, *kernel)
    y = reference.conv2d(x, w, None, (stride, stride))
    gy = integers(2, *y.shape)
    _, gx, _ = run(backend, lambda x, w: ops.conv2d(x, w, None, stride), (x, w), gy)
    # Zeros where the stride skipped windows, so that there is one for every pixel.
    spread = np.zeros((2, 4, 9 - kernel[0] + 1, 7 - kernel[1] + 1), "float32")
    spread[:, :, ::stride, ::stride] = gy
    border = tuple((k - 1, k - 1) for k in kernel)
    full = reference.conv2d(np.pad(spread, ((0, 0), (0, 0), *border)), rotated(w))
    np.testing.assert_array_equal(gx, full)


def test_results_do_not_depend_on_the_chunk(backend, monkeypatch):
    x, w, b = integers(0, 7, 3, 8, 8), integers(1, 5, 3, 3, 3), integers(2, 5)
    gy = integers(3, 7, 5, 6, 6)
    whole = run(backend, ops.conv2d, (x, w, b), gy)
    for budget in (1, 3 * 9 * 36 * 4 * 3):  # an image at a time; three
        monkeypatch.setattr(portable_conv, "COLUMN_BYTES", budget)
        monkeypatch.setattr(cpu_conv, "BLOCK_BYTES", budget)
        for a, e in zip(run(backend, ops.conv2d, (x, w, b), gy), whole, strict=True):
            np.testing.assert_array_equal(a, e)


def test_im2col_never_sees_more_than_the_budget(monkeypatch):
    seen = []

    def spy(self, x, kernel, *rest, original=portable_conv.ConvKernels.im2col):
        columns = original(self, x, kernel, *rest)
        seen.append(columns.nbytes)
        return columns

    monkeypatch.setattr(portable_conv.ConvKernels, "im2col", spy)
    monkeypatch.setattr(portable_conv, "COLUMN_BYTES", 100_000)
    with nnx.backends.kernels("portable"):
        x = nnx.Tensor(np.ones((40, 3, 12, 12), "f4"), True)
        w = nnx.Tensor(np.ones((4, 3, 3, 3), "f4"), True)
        y = ops.conv2d(x, w, padding=1)
        y.backward(np.ones(y.shape, "f4"))
    assert len(seen) > 4 and max(seen) <= 100_000


# ---- conv1d ----


@pytest.mark.parametrize(
    "stride, padding, dilation, groups", [(1, 0, 1, 1), (2, 1, 2, 2), (3, 2, 1, 4)]
)
def test_conv1d_is_conv2d_of_height_one(backend, stride, padding, dilation, groups):
    x, w, b = integers(0, 2, 4, 11), integers(1, 8, 4 // groups, 3), integers(2, 8)
    got = run(
        backend, lambda x, w, b: ops.conv1d(x, w, b, stride, padding, dilation, groups), (x, w, b)
    )
    y = reference.conv2d(
        x[:, :, None],
        w[:, :, None],
        b,
        (1, stride),
        ((0, 0), (padding,) * 2),
        (1, dilation),
        groups,
    )
    gx, gw, gb = reference.conv2d_backward(
        np.ones_like(y), x[:, :, None], w[:, :, None],
        (1, stride), ((0, 0), (padding,) * 2), (1, dilation), groups,
    )  # fmt: skip
    expected = (y[:, :, 0], gx[:, :, 0], gw[:, :, 0], gb)
    for a, e in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, e)


# ---- paddings ----


@pytest.mark.parametrize("padding_mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [((2, 1), (0, 3)), ((0, 0), (2, 2))])
def test_padding_modes(backend, padding_mode, padding):
    x, w = integers(0, 2, 2, 5, 6), integers(1, 3, 2, 2, 3)
    numpys = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[padding_mode]
    image = np.pad(x, ((0, 0), (0, 0), *padding), mode=numpys)

    def conv(x, w):
        return ops.conv2d(x, w, padding=padding, padding_mode=padding_mode)

    y, gx, gw = run(backend, conv, (x, w))
    np.testing.assert_array_equal(y, reference.conv2d(image, w))
    gimage, expected_gw, _ = reference.conv2d_backward(np.ones_like(y), image, w)
    np.testing.assert_array_equal(gw, expected_gw)
    # Each pixel of x gets the gradients of all pixels of the image that are its copies.
    number = np.pad(np.arange(30).reshape(5, 6), padding, mode=numpys)
    expected = np.zeros((2, 2, 30), "float32")
    for r, c in np.ndindex(number.shape):
        expected[:, :, number[r, c]] += gimage[:, :, r, c]
    np.testing.assert_array_equal(gx, expected.reshape(x.shape))
    if backend.float64:
        check_gradients(conv, x, w, wrap=backend.asarray)


def test_padding_modes_in_one_dimension(backend):
    x, w = integers(0, 1, 2, 6), integers(1, 3, 2, 3)
    y, *_ = run(
        backend,
        lambda x, w: ops.conv1d(x, w, padding=((2, 1),), padding_mode="circular"),
        (x, w),
    )
    image = np.pad(x, ((0, 0), (0, 0), (2, 1)), mode="wrap")[:, :, None]
    np.testing.assert_array_equal(y, reference.conv2d(image, w[:, :, None])[:, :, 0])


@pytest.mark.parametrize("kernel, dilation", [((3, 3), 1), ((2, 5), 1), ((3, 2), 3)])
def test_same_and_valid(kernel, dilation):
    torch = pytest.importorskip("torch")
    x, w = integers(0, 1, 2, 9, 8), integers(1, 3, 2, *kernel)
    for padding in ("same", "valid"):
        y = ops.conv2d(nnx.tensor(x), nnx.tensor(w), padding=padding, dilation=dilation).numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch: an odd "same" needs a copy
            expected = torch.nn.functional.conv2d(
                torch.tensor(x), torch.tensor(w), padding=padding, dilation=dilation
            )
        np.testing.assert_array_equal(y, expected.numpy())
        assert padding == "valid" or y.shape[2:] == x.shape[2:]


# ---- the transposed convolution ----


@pytest.mark.parametrize(
    "stride, padding, output_padding, dilation, groups",
    [
        (1, 0, 0, 1, 1),
        (2, 1, 1, 1, 1),
        ((3, 2), (1, 2), (2, 0), 1, 2),
        (2, 0, 1, 2, 4),
        ((1, 2), (2, 1), 0, (2, 1), 1),
    ],
)
def test_conv_transpose2d_equals_pytorch(
    backend, stride, padding, output_padding, dilation, groups
):
    torch = pytest.importorskip("torch")
    arrays = integers(0, 2, 4, 5, 4), integers(1, 4, 8 // groups, 3, 4), integers(2, 8)
    x, w, b = (torch.tensor(a, requires_grad=True) for a in arrays)
    expected = torch.nn.functional.conv_transpose2d(
        x, w, b, stride, padding, output_padding, groups, dilation
    )
    gy = integers(3, *expected.shape)
    expected.backward(torch.tensor(gy))
    got = run(
        backend,
        lambda *a: ops.conv_transpose2d(*a, stride, padding, output_padding, groups, dilation),
        arrays,
        gy,
    )
    for a, e in zip(got, (expected, x.grad, w.grad, b.grad), strict=True):
        np.testing.assert_array_equal(a, e.detach().numpy())


def test_conv_transpose2d_without_bias(backend):
    """Whichever of the two learns."""
    x, w, zero = integers(0, 2, 4, 5, 4), integers(1, 4, 4, 3, 2), np.zeros(8, "f4")
    y, gx, gw, _ = run(
        backend,
        lambda x, w, b: ops.conv_transpose2d(x, w, b, groups=2),
        (x, w, zero),
        gy := integers(2, 2, 8, 7, 5),
    )
    for learns in ((True, True), (True, False), (False, True)):
        a, b = (backend.tensor(v, requires_grad=g) for v, g in zip((x, w), learns, strict=True))
        got = ops.conv_transpose2d(a, b, None, groups=2)
        got.backward(backend.asarray(gy))
        np.testing.assert_array_equal(backend.to_numpy(got.data), y)
        for tensor, expected in ((a, gx), (b, gw)):
            if tensor.requires_grad:
                np.testing.assert_array_equal(backend.to_numpy(tensor.grad), expected)


def test_conv_transpose2d_finite_differences(backend):
    backend.skip_without_float64()
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s) for s in ((2, 4, 3, 4), (4, 3, 3, 2), (6,)))

    def transposed(x, w, b):
        return ops.conv_transpose2d(
            x, w, b, stride=2, padding=((1, 0), (1, 1)), output_padding=(1, 0), groups=2
        )

    check_gradients(transposed, x, w, b, wrap=backend.asarray)


# ---- the textbook's defect: only stride 1, odd kernels ----


def test_backward_with_strides_and_even_kernels():
    """A known defect of the textbook's code: its backward assumes stride 1 and odd kernels."""
    for kernel, stride in (((2, 2), 2), ((4, 3), (3, 2))):
        x, w = integers(0, 2, 3, 8, 9), integers(1, 4, 3, *kernel)
        check_gradients(lambda x, w, s=stride: ops.conv2d(x, w, None, s, 1), x, w)


# ---- errors ----


def t(*shape, dtype="float32"):
    return nnx.Tensor(np.zeros(shape, dtype))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: ops.conv2d(t(5, 5), t(4, 3, 3, 3)), ValueError,
         r"conv2d: x must be \(N, C, H, W\), or \(C, H, W\) for one; x has shape \(5, 5\)"),
        (lambda: ops.conv2d(t(2, 5, 5), t(4, 3, 3, 3)), ValueError,
         r"conv2d: x has 2 channels but weight expects 3; x has shape \(2, 5, 5\)"),
        (lambda: ops.conv2d(t(1, 0, 5, 5), t(4, 0, 3, 3)), ValueError,
         r"conv2d: there must be at least one channel, in and out"),
        (lambda: ops.conv_transpose2d(t(1, 3, 5, 5), t(3, 0, 3, 3)), ValueError,
         r"conv_transpose2d: there must be at least one channel, in and out"),
        (lambda: ops.conv2d(t(1, 3, 5, 5), t(4, 3, 3)), ValueError,
         r"weight must be \(O, C/groups, kh, kw\)"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 2, 3, 3)), ValueError,
         r"conv2d: x has 3 channels but weight expects 2; x has shape \(2, 3, 5, 5\), "
         r"weight \(4, 2, 3, 3\), bias None"),
        (lambda: ops.conv2d(t(2, 4, 5, 5), t(4, 4, 3, 3), groups=2), ValueError,
         r"x has 4 channels but weight expects 8 \(2 groups of 4\)"),
        (lambda: ops.conv2d(t(2, 4, 5, 5), t(3, 2, 3, 3), groups=2), ValueError,
         r"3 channels of weight's first axis do not split into 2 groups"),
        (lambda: ops.conv2d(t(2, 4, 5, 5), t(4, 4, 3, 3), groups=0), ValueError,
         r"groups must be positive, got 0"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), t(3)), ValueError,
         r"bias must have shape \(4,\), one per output channel; .*bias \(3,\)"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 7, 3), padding=(0, 1)), ValueError,
         r"a window of \(7, 3\) \(kernel \(7, 3\), dilation \(1, 1\)\) does not fit into the "
         r"padded image of \(5, 7\); x has shape \(2, 3, 5, 5\), padding \(\(0, 0\), \(1, 1\)\), "
         r"weight \(4, 3, 7, 3\)"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), dilation=3), ValueError,
         r"a window of \(7, 7\)"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), stride=0), ValueError,
         r"conv2d: stride must be positive, got 0"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), stride=(1, 2, 3)), ValueError,
         r"stride must be an integer or 2 of them, got \(1, 2, 3\)"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), stride=1.5), ValueError,
         r"stride must be an integer or 2 of them, got 1.5"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), padding=-1), ValueError,
         r"padding must not be negative, got -1"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), padding=((1, 2),)), ValueError,
         r"padding must be an integer, 2 of them, 2 pairs"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), padding="full"), ValueError,
         r"padding 'full' is not one of \"same\", \"valid\""),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), padding="same", stride=2), ValueError,
         r"padding \"same\" keeps the size, which needs stride 1; stride is \(2, 2\)"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), padding=1, padding_mode="mirror"),
         ValueError, r"padding_mode 'mirror' is not one of zeros, reflect, replicate, circular"),
        (lambda: ops.conv2d(t(2, 3, 5, 5), t(4, 3, 3, 3), padding=5, padding_mode="reflect"),
         ValueError, r"mode 'reflect' can add at most 4 to an axis of 5"),
        (lambda: ops.conv2d(t(2, 3, 5, 5, dtype="float64"), t(4, 3, 3, 3)), TypeError,
         r"must have one dtype; x is float64, weight float32"),
        (lambda: ops.conv1d(t(2, 3, 5), t(4, 3, 7)), ValueError, r"conv1d: a window of \(7,\)"),
        (lambda: ops.conv1d(t(2, 3, 5, 5), t(4, 3, 3)), ValueError,
         r"conv1d: x must be \(N, C, L\)"),
        (lambda: ops.conv_transpose2d(t(2, 3, 5, 5), t(4, 3, 3, 3)), ValueError,
         r"conv_transpose2d: x has 3 channels but weight expects 4"),
        (lambda: ops.conv_transpose2d(t(2, 4, 5, 5), t(4, 3, 3, 3), output_padding=1), ValueError,
         r"output_padding must be smaller than the stride or the dilation; output_padding \(1"),
        (lambda: ops.conv_transpose2d(t(2, 4, 1, 1), t(4, 3, 3, 3), padding=2), ValueError,
         r"the result would be \(-1, -1\)"),
    ],
)  # fmt: skip
def test_errors_name_the_rule_and_every_shape(call, error, message):
    with pytest.raises(error, match=message):
        call()
