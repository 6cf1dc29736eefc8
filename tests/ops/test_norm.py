import numpy as np
import pytest
from gradients import check_gradients
from pytorch import assert_same

import nnx
from nnx import ops, reference

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((4, 3, 5, 6)) * 3 + 1
WEIGHT, BIAS = RNG.uniform(0.5, 2, 3), RNG.standard_normal(3)


def rows(x):
    """(N, C, H, W) -> (N H W, C): how the definition sees images."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def images(x, like):
    n, c, h, w = like.shape
    return np.moveaxis(x.reshape(n, h, w, c), -1, 1)


def y_of(x, w=None, b=None, eps=1e-5):
    return ops.batch_norm(x, w, b, eps)[0]


# ---- batch norm ----


def test_batch_norm_equals_the_definition(backend):
    arrays = [a.astype("f4") for a in (IMAGES, WEIGHT, BIAS)]
    x, w, b = (backend.tensor(a, requires_grad=True) for a in arrays)
    y, mean, variance = ops.batch_norm(x, w, b, 1e-3)
    expected = reference.batch_norm(rows(IMAGES), WEIGHT, BIAS, 1e-3)
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(backend.to_numpy(y), images(expected[0], IMAGES), **close)
    np.testing.assert_allclose(backend.to_numpy(mean), expected[1], **close)
    np.testing.assert_allclose(backend.to_numpy(variance), expected[2], **close)
    assert y.dtype == x.dtype == mean.dtype == variance.dtype

    gy = RNG.standard_normal(IMAGES.shape)
    y.backward(backend.asarray(gy.astype("f4")))
    gx, gw, gb = reference.batch_norm_backward(rows(gy), rows(IMAGES), WEIGHT, 1e-3)
    np.testing.assert_allclose(backend.to_numpy(x.grad), images(gx, IMAGES), **close)
    np.testing.assert_allclose(backend.to_numpy(w.grad), gw, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(backend.to_numpy(b.grad), gb, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 7), (2, 3, 4, 5)])
def test_batch_norm_finite_differences(backend, shape):
    backend.skip_without_float64()
    x = RNG.standard_normal(shape) * 2 + 1
    check_gradients(y_of, x, WEIGHT, BIAS, wrap=backend.asarray)
    check_gradients(y_of, x, wrap=backend.asarray)
    check_gradients(lambda x, b: y_of(x, None, b), x, BIAS, wrap=backend.asarray)


def test_the_input_gradient_is_divided_by_the_deviation_once():
    """A known defect of the textbook's code: it multiplies by 1/√(σ² + ε) once too often.

    Scaling x scales the deviation with it, leaves y as it was and so scales the gradient by the
    inverse: exactly once.
    """
    gy = RNG.standard_normal(IMAGES.shape)
    gradients = []
    for scale in (1.0, 10.0):
        x = nnx.Tensor(IMAGES * scale, True)
        y_of(x, eps=0.0).backward(gy)
        gradients.append(x.grad)
    np.testing.assert_allclose(gradients[1] * 10, gradients[0], rtol=1e-10)


def test_the_input_gradient_has_no_mean_and_no_part_along_the_output():
    x = nnx.Tensor(IMAGES, True)
    y = y_of(x, eps=0.0)
    y.backward(RNG.standard_normal(IMAGES.shape))
    assert np.abs(rows(x.grad).sum(0)).max() < 1e-12
    assert np.abs((rows(x.grad) * rows(y.detach().numpy())).sum(0)).max() < 1e-11


def test_large_offsets_do_not_spoil_the_variance(backend):
    """Two passes: the mean is subtracted before squaring."""
    x = (RNG.standard_normal((64, 2, 3, 3)) + 4096).astype("f4")
    _, _, variance = ops.batch_norm(backend.tensor(x))
    np.testing.assert_allclose(backend.to_numpy(variance), rows(x.astype("f8")).var(0), rtol=1e-3)


def test_inference_uses_what_it_is_given_also_in_two_dimensions(backend):
    """A known defect of the textbook's code: inference fails on 2-D input."""
    mean, variance = np.asarray([1, 2, 3], "f4"), np.asarray([4, 1, 9], "f4")
    for shape in ((5, 3), (5, 3, 2), (5, 3, 2, 4)):
        x = RNG.standard_normal(shape).astype("f4")
        y = ops.batch_norm_inference(
            backend.tensor(x),
            backend.asarray(mean),
            backend.asarray(variance),
            backend.tensor(WEIGHT.astype("f4")),
            backend.tensor(BIAS.astype("f4")),
            eps=0.0,
        )
        c = (-1, *[1] * (len(shape) - 2))
        expected = (x - mean.reshape(c)) / np.sqrt(variance).reshape(c)
        expected = expected * WEIGHT.reshape(c) + BIAS.reshape(c)
        np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=1e-5, atol=1e-5)
        assert y.dtype == backend.asarray(x).dtype


def test_inference_finite_differences(backend):
    backend.skip_without_float64()
    mean, variance = backend.asarray(BIAS), backend.asarray(WEIGHT)

    def inference(x, *affine):
        return ops.batch_norm_inference(x, mean, variance, *affine)

    check_gradients(inference, IMAGES, WEIGHT, BIAS, wrap=backend.asarray)
    check_gradients(inference, IMAGES[:, :, 0, 0], wrap=backend.asarray)


# ---- layer norm, group norm ----


def test_layer_norm_equals_its_definition(backend):
    x = RNG.standard_normal((3, 4, 5)).astype("f4")
    w, b = RNG.standard_normal((2, 4, 5)).astype("f4")
    y = ops.layer_norm(backend.tensor(x), (4, 5), backend.tensor(w), backend.tensor(b), 1e-3)
    d = x - x.mean((1, 2), keepdims=True)
    expected = d / np.sqrt((d * d).mean((1, 2), keepdims=True) + 1e-3) * w + b
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=1e-5, atol=1e-5)
    assert y.dtype == backend.asarray(x).dtype


def test_group_norm_equals_its_definition(backend):
    x = RNG.standard_normal((3, 6, 4, 5)).astype("f4")
    w, b = RNG.standard_normal((2, 6, 1, 1)).astype("f4")
    y = ops.group_norm(
        backend.tensor(x), 3, backend.tensor(w.reshape(6)), backend.tensor(b.reshape(6)), 1e-3
    )
    expected = np.empty_like(x)
    for n in range(3):
        for group in range(3):
            part = x[n, 2 * group : 2 * group + 2]
            expected[n, 2 * group : 2 * group + 2] = (part - part.mean()) / np.sqrt(
                part.var() + 1e-3
            )
    np.testing.assert_allclose(backend.to_numpy(y), expected * w + b, rtol=1e-4, atol=1e-5)
    assert y.dtype == backend.asarray(x).dtype


def test_finite_differences_of_the_others(backend):
    backend.skip_without_float64()
    x = RNG.standard_normal((3, 4, 5))
    w, b = RNG.standard_normal((2, 4, 5))
    check_gradients(lambda x, w, b: ops.layer_norm(x, (4, 5), w, b), x, w, b, wrap=backend.asarray)
    check_gradients(lambda x, w: ops.layer_norm(x, 5, w), x, w[0], wrap=backend.asarray)
    check_gradients(lambda x, b: ops.layer_norm(x, 5, None, b), x, b[0], wrap=backend.asarray)
    x, w, b = RNG.standard_normal((2, 6, 3, 2)), *RNG.standard_normal((2, 6))
    check_gradients(lambda x, w, b: ops.group_norm(x, 2, w, b), x, w, b, wrap=backend.asarray)
    check_gradients(lambda x: ops.group_norm(x, 6), x, wrap=backend.asarray)


@pytest.mark.parametrize("ours, theirs, shape", [
    (lambda x, w, b: ops.layer_norm(x, 6, w, b),
     lambda F, x, w, b: F.layer_norm(x, (6,), w, b), (4, 6)),
    (lambda x, w, b: ops.group_norm(x, 3, w, b),
     lambda F, x, w, b: F.group_norm(x, 3, w, b), (4, 6, 5)),
    (y_of, lambda F, x, w, b: F.batch_norm(x, None, None, w, b, True), (4, 6, 5)),
])  # fmt: skip
def test_equals_pytorch(ours, theirs, shape):
    torch = pytest.importorskip("torch")
    arrays = [RNG.standard_normal(s).astype("f4") for s in (shape, (6,), (6,), shape)]
    x, w, b = (nnx.tensor(a, requires_grad=True) for a in arrays[:3])
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in arrays[:3])
    y, expected = ours(x, w, b), theirs(torch.nn.functional, tx, tw, tb)
    y.backward(arrays[3])
    expected.backward(torch.tensor(arrays[3]))
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), **close)
    for a, e in ((x, tx), (w, tw), (b, tb)):
        np.testing.assert_allclose(a.grad, e.grad.numpy(), **close)


# ---- errors ----


def t(*shape, dtype="f4"):
    return nnx.Tensor(np.zeros(shape, dtype))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: ops.batch_norm(t(3)), ValueError, r"batch_norm: x must be \(N, C\) or .*\(3,\)"),
        (lambda: ops.batch_norm(t(1, 3)), ValueError,
         r"needs at least 2 values to be normalised, has 1; x has shape \(1, 3\)"),
        (lambda: ops.batch_norm(t(4, 3), t(4)), ValueError,
         r"weight must have shape \(3,\), one per channel; it has \(4,\), x \(4, 3\)"),
        (lambda: ops.batch_norm(t(4, 3), t(3, dtype="f8")), TypeError,
         r"x is float32, weight float64"),
        (lambda: ops.batch_norm_inference(t(4, 3), np.zeros(2), np.zeros(3)), ValueError,
         r"mean and variance must have shape \(3,\).*mean \(2,\), variance \(3,\)"),
        (lambda: ops.layer_norm(t(4, 3), 4), ValueError, r"last axes of x must be \(4,\)"),
        (lambda: ops.layer_norm(t(4, 3), 3, t(2)), ValueError, r"weight must have shape \(3,\)"),
        (lambda: ops.group_norm(t(4, 6), 4), ValueError,
         r"the 6 channels must split into num_groups = 4; x has shape \(4, 6\)"),
    ],
)  # fmt: skip
def test_errors_name_the_rule_and_every_shape(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- root mean square, instances, responses ----


def test_rms_norm_equals_pytorch(backend):
    F = pytest.importorskip("torch").nn.functional
    x, w = RNG.standard_normal((3, 4, 5)) * 3 + 1, RNG.uniform(0.5, 2, (4, 5))
    assert_same(backend, lambda x: ops.rms_norm(x, 5), lambda x: F.rms_norm(x, (5,)), x)
    assert_same(
        backend,
        lambda x, w: ops.rms_norm(x, (4, 5), w, 0.5),
        lambda x, w: F.rms_norm(x, (4, 5), w, 0.5),
        x, w,
    )  # fmt: skip


def test_instance_norm_equals_pytorch(backend):
    F = pytest.importorskip("torch").nn.functional
    for shape in ((4, 3, 7), (4, 3, 5, 6), (2, 3, 2, 3, 4)):
        assert_same(
            backend,
            lambda x, w, b: ops.instance_norm(x, w, b, 1e-3),
            lambda x, w, b: F.instance_norm(x, weight=w, bias=b, eps=1e-3),
            RNG.standard_normal(shape) * 3 + 1, WEIGHT, BIAS,
            rtol=None if backend.float64 else 3e-5,
        )  # fmt: skip


@pytest.mark.parametrize(
    "size, alpha, beta, k", [(5, 1e-4, 0.75, 1.0), (2, 0.7, 1.5, 2.0), (1, 3, 0.5, 1)]
)
def test_local_response_norm_equals_pytorch_and_its_paper(backend, size, alpha, beta, k):
    F = pytest.importorskip("torch").nn.functional
    x = RNG.standard_normal((2, 6, 3, 4))
    assert_same(
        backend,
        lambda x: ops.local_response_norm(x, size, alpha, beta, k),
        lambda x: F.local_response_norm(x, size, alpha, beta, k),
        x,
    )
    y = backend.to_numpy(
        ops.local_response_norm(backend.tensor(x.astype("f4")), size, alpha, beta, k)
    )
    for c in range(6):
        near = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        expected = x[:, c] / (k + alpha / size * (near**2).sum(1)) ** beta
        np.testing.assert_allclose(y[:, c], expected, rtol=1e-4, atol=1e-6)


def test_their_finite_differences(backend):
    backend.skip_without_float64()
    x = RNG.standard_normal((2, 3, 4, 5)) + 0.3
    for function, more in (
        (lambda x, w: ops.rms_norm(x, 5, w, 0.1), [RNG.uniform(0.5, 2, 5)]),
        (lambda x: ops.rms_norm(x, (4, 5)), []),
        (lambda x, w, b: ops.instance_norm(x, w, b, 0.1), [WEIGHT, BIAS]),
        (lambda x: ops.local_response_norm(x, 2, 0.7, 0.6, 1.5), []),
    ):
        check_gradients(function, x, *more, wrap=backend.asarray)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: ops.rms_norm(x, 4), r"rms_norm: the last axes of x must be \(4,\)"),
        (lambda x: ops.rms_norm(x, 5, nnx.tensor([1.0])), r"rms_norm: weight must have shape"),
        (lambda x: ops.instance_norm(x[:, :, 0, :1]), r"instance_norm: .* at least 2 values"),
        (lambda x: ops.instance_norm(x[:, :, 0, 0]), r"instance_norm: .* shape \(2, 3\)"),
        (lambda x: ops.local_response_norm(x, 0), r"local_response_norm: size must be positive"),
        (lambda x: ops.local_response_norm(x[0, 0], 2), r"must be \(N, C, ...\) with pixels"),
    ],
)  # fmt: skip
def test_their_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(nnx.tensor(np.ones((2, 3, 4, 5), "f4")))
