"""Every kernel of every backend beside its portable twin, on batches of 1, 2 and 17.

The fixture's backends are `watched`, and the arrays lie in memory in every way that layers hand
them on: so this shows that no kernel writes into its inputs, its gradient or what was saved, and
that what it computes does not depend on how they lie.  Sizes lie on both sides of the thresholds
from which a faster version takes over, and dtypes on both sides of those it is made for.
"""

from __future__ import annotations

import numpy as np
import pytest
from watched import KERNELS, arrays

from nnx.backends import Backend
from nnx.backends.portable import optim_rules as rules
from nnx.backends.portable.window import Depth, Window

LAYOUTS = ("contiguous", "channels last", "strided")
BATCHES = {"small": (1, 2, 17), "large": (1, 17)}
ROUNDING = {"f8": 1e-9, "f4": 2e-4, "f2": 2e-2}  # of f2 no kernel makes more than its twin does
YES = (True, True, True)


class Arrays:
    """Random arrays of one dtype, the same for each backend, laid out in one way."""

    def __init__(self, on, layout, dtype):
        self.on, self.layout, self.dtype = on, layout, np.dtype(dtype)
        self.random = np.random.default_rng(0)

    def __call__(self, *shape):
        x = self.random.standard_normal(shape).astype(self.dtype)
        return self.lay(np.rint(x) if self.dtype == np.float16 else x)  # ties stay ties

    def like(self, *results):
        """A gradient for each result."""
        made = [self(*y.shape) for y in results]
        return made[0] if len(made) == 1 else made

    def lay(self, x):
        if x.ndim > 1 and self.layout == "channels last":
            order = (0, *range(2, x.ndim), 1) if x.ndim > 2 else (1, 0)
            laid = np.array(x.transpose(order), order="C")
            return self.on.asarray(laid).transpose(np.argsort(order))
        if x.ndim > 1 and self.layout == "strided":
            wide = np.zeros((len(x), *x.shape[1:-1], 2 * x.shape[-1]), x.dtype)
            wide[..., ::2] = x[::-1]
            return self.on.asarray(wide)[::-1, ..., ::2]
        return self.on.asarray(x)

    def integers(self, end, *shape):
        return self.on.asarray(self.random.integers(0, end, shape))


def pointwise(forward, backward=None, *numbers):
    def run(k, a, n, large):
        x = a(n, 4100 if large else 3)
        y = getattr(k, forward)(x, *numbers)
        if isinstance(y, tuple):
            return y, getattr(k, forward)(x, *numbers[:-1], False)
        return (y, getattr(k, backward)(a.like(y), y)) if backward else y

    return run


def along(axis, forward):
    def run(k, a, n, large):
        x = a(n, 4100, 2) if large and axis == 1 else a(n, 4100 if large else 3)
        y = getattr(k, forward)(x, axis)
        return y, getattr(k, f"{forward}_backward")(a.like(y), y, axis)

    return run


def dense(relu):
    def run(k, a, n, large):
        x, w, b = a(n, 5), a(1100 if large else 7, 5), a(1100 if large else 7)
        found = []
        for bias in (b, None):
            if relu:
                y = k.linear_relu(x, w, bias)
                found += [y, k.linear_relu_backward(a.like(y), y, x, w, (True, True, bias is b))]
            else:
                y = k.linear(x, w, bias)
                found += [y, k.linear_backward(a.like(y), x, w, (True, True, bias is b))]
        return found

    return run


def convolution(name, c=4, o=8, groups=1, **options):
    geometry = (Window((3, 2), **options), groups)

    def run(k, a, n, large):
        size = (40, 40) if large else (6, 7)
        x, w, b = a(n, c, *size), a(o, c // groups, 3, 2), a(o)
        if name == "conv2d":
            y, saved = k.conv2d(x, w, b, *geometry)
            return y, k.conv2d_backward(a.like(y), saved, YES)
        if name == "conv_transpose2d":
            y, _ = k.conv2d(x, w, None, *geometry)
            return k.conv_transpose2d(a.like(y), w, tuple(x.shape), *geometry)
        found = []
        gamma, beta = a(o), a(o)
        for norm in (None, (gamma, beta, 1e-3), (None, None, 1e-3)):
            for pool in (None, Window((2, 2), (2, 2))):
                y, mean, variance, saved = k.conv_block2d(x, w, b, *geometry, norm, True, pool)
                affine = norm is not None and norm[0] is not None
                # Batch norm takes the bias away: its gradient is nothing but rounding.
                needs = (True, True, norm is None, affine, affine)
                found += [y, mean, variance, k.conv_block2d_backward(a.like(y), saved, needs)]
        return found

    return run


def volumes(depth, groups, c):
    def run(k, a, n, large):
        x = a(n, c, 5, *((16, 16) if large else (2, 3)))
        s = k.volume_slices(x, depth, groups)
        return s, k.volume_from_slices(a.like(s), tuple(x.shape), depth, groups)

    return run


def attention(k, a, n, large):
    queries, keys = (150, 700) if large else (3, 5)
    q, key, v = a(n, 2, queries, 4), a(n, 1, keys, 4), a(n, 2, keys, 3)
    seen = a.lay(np.arange(keys) > 1).reshape(1, 1, 1, keys)
    found = []
    for mask, drop in ((None, None), (seen, ((1, 2), 3, 2**31, 2.0)), (a(1, 2, queries, 1), None)):
        y, saved = k.attention(q, key, v, mask, mask is not seen, 0.5, drop)
        needs = (True, True, True, mask is not None and mask is not seen)
        found += [y, [g for g in k.attention_backward(a.like(y), saved, needs) if g is not None]]
    return found


def columns(k, a, n, large):
    x = a(n, 3, 6, 7)
    found = []
    for window in (Window((3, 2), (1, 2), ((1, 0), (0, 1))), Window((2, 2)), Window((1, 1))):
        cols = k.im2col(x, window)
        found += [cols, k.col2im(a.like(cols), tuple(x.shape), window)]
    return found


def pooling(kind, *arguments):
    window = Window(*arguments)

    def run(k, a, n, large):
        x = a(n, 4, 40, 40) if large else a(n, 4, 6, 7)
        shape = tuple(x.shape)
        if kind == "max":
            y, places = k.max_pool2d(x, window)
            return y, k.max_pool2d_backward(a.like(y), places, shape, window)
        y = k.avg_pool2d(x, window, window.padding)
        return y, k.avg_pool2d_backward(a.like(y), shape, window, window.padding)

    return run


def normalisation(name):
    def run(k, a, n, large):
        found = []
        for affine in (True, False):
            shape = (n, 4, 130, 130) if large else (n, 4, 5, 6)
            if name == "layer_norm":
                shape = (n, 70000) if large else (n, 6)
            x, c = a(*shape), shape[1]
            own = (a(c), a(c)) if affine else (None, None)
            extra = (2,) if name == "group_norm" else ()
            y, *statistics, saved = getattr(k, name)(x, *own, *extra, 1e-3)
            needs = (True, affine, affine)
            found += [y, statistics, getattr(k, f"{name}_backward")(a.like(y), saved, needs)]
        return found

    return run


def by_given_statistics(k, a, n, large):
    x = a(n, 4, 130, 130) if large else a(n, 4, 5, 6)
    mean, variance = a(4), abs(a(4))
    return [
        k.batch_norm_inference(x, mean, variance, *own, 1e-3) for own in ((a(4), a(4)), (None,) * 2)
    ]


def recurrent(name, gates, whole, *options):
    def run(k, a, n, large):
        found = []
        ends = np.random.default_rng(1).integers(1, 4, n)
        cases = ((1, None), (2, ends)), ((1, None), (2, None), (1, ends), (2, ends))
        for directions, lengths in cases[not large]:
            steps, h, d = (40, 103 if gates > 1 else 420, 5) if large else (4, 3, 2)
            lengths = None if lengths is None else k.xp.asarray(lengths)
            states = [a(directions, n, h) for _ in range(2 if name == "lstm" else 1)]
            if whole:
                end = (None,) if name == "lstm" else ()  # no projection
                weights = [
                    (
                        0.1 * a(gates * h, d),
                        0.04 * a(gates * h, h),
                        a(gates * h),
                        a(gates * h),
                        *end,
                    )
                    for _ in range(directions)
                ]
                y, *last, saved = getattr(k, name)(
                    a(steps, n, d), *states, weights, lengths, *options
                )
                gradients = [a.like(y), *[a.like(s) for s in last]]
                back = getattr(k, f"{name}_backward")
                found += [y, last, back(*gradients, saved, True), back(*gradients, saved, False)]
            else:
                z, w = a(steps, n, directions, gates * h), 0.04 * a(directions, gates * h, h)
                extra = {"lstm": (None,), "gru": (a(directions, gates * h),), "rnn": ()}[name]
                call = getattr(k, f"{name}_sequence")
                y, *last, saved = call(z, *states, w, *extra, lengths, *options)
                ended = np.zeros((1, n)) if lengths is None else np.arange(steps)[:, None] >= ends
                gy = a.lay(np.where(ended[..., None, None], np.float32(0), a.like(y)))
                gradients = [gy, *[a(directions, n, h) for _ in states]]
                back = getattr(k, f"{name}_sequence_backward")
                found += [y, last, back(*gradients, saved)]
        return found

    return run


def lstm_cell(k, a, n, large):
    z, c = a(n, 4 * 5), a(n, 5)
    gates, c_next, h = k.lstm_cell(z, c)
    return gates, c_next, h, k.lstm_cell_backward(a(n, 5), a(n, 5), gates, c, c_next)


def gru_cells(k, a, n, large):
    x, u, h = a(n, 15), a(n, 15), a(n, 5)
    gates, h_next = k.gru_cell(x, u, h)
    rz, rh = k.gru_reset(a(n, 10), a(n, 10), h)
    z = 1 / (1 + k.xp.exp(a(n, 5)))
    new, updated = k.gru_update(a(n, 5), a(n, 5), z, h)
    return [
        (gates, h_next, rz, rh, new, updated),
        k.gru_cell_backward(a(n, 5), gates, u[:, 10:], h),
        k.gru_reset_backward(a(n, 5), a(n, 5), rz, h),
        k.gru_update_backward(a(n, 5), z, new, h),
    ]


def cross_entropy(classes):
    def run(k, a, n, large):
        n = n * 300 if large else n
        return k.softmax_cross_entropy(a(n, classes), a.integers(classes, n))

    return run


def mean_cross_entropy(k, a, n, large):
    """A backend may scale the gradient itself, and says so by None: the product is what agrees."""
    n = n * 300 if large else n
    logits, targets = a(n, 7), a.integers(7, n)
    found = []
    for ignored in (None, 2):
        mean, gradient, scale = k.cross_entropy_mean(logits, targets, ignored)
        found += [mean, k.scaled(gradient, a.on.asarray(np.ones((), a.dtype)), scale)]
    return found


def ctc(k, a, n, large):
    y = a(7, n, 5) - 2
    targets, labels = a.integers(4, n, 3) + 1, a.integers(4, n)
    losses, saved = k.ctc_loss(y, targets, a.integers(4, n) + 4, labels, 0)
    return losses, k.ctc_loss_backward(a.like(losses), saved)


def slices(k, a, n, large):
    x = a(n, 4, 6)
    found = []
    for key in ((slice(None), slice(None, None, -1), 1), (0, slice(4), slice(1, 5, 2)), (0, 1, 2)):
        y = k.slice(x, key)
        found += [y, k.slice_backward(a.like(y), key, tuple(x.shape))]
    return found


def sums(k, a, n, large):
    x = a(n, 3, 20000 if large else 4)
    found = []
    for axes in ((0, 1, 2), (1,), (0, 2)):
        for keepdims in (True, False):
            found += [k.sum_over(x, axes, keepdims), k.mean_over(x, axes, keepdims)]
    return [*found, k.stretch(a(n, 3, 1), tuple(x.shape)), k.stretch(a(n, 1, 1), tuple(x.shape))]


def rows(k, a, n, large):
    return k.index_add(a(n, 1100 if large else 3), a.integers(5, n), 5)


def random(k, a, n, large):
    count, key = (n * 400 if large else n), (3, 4)
    x = a(n, 400 if large else 3)
    return [
        k.philox(key, 5, count), k.random_mask(key, 5, count, 2**31),
        k.random_uniform(key, 5, count, "float32"), k.dropout(x, key, 5, 2**31, 2.0),
        k.dropout(x, key, 5, 0, 2.0), k.dropout(x, key, 5, 2**32, 1.0),
    ]  # fmt: skip


def adaptive(kind):
    def run(k, a, n, large):
        x = a(n, 3, 9, 70 if large else 7)
        y = getattr(k, f"adaptive_{kind}_pool2d")(x, (4, 3))
        y, *chosen = y if kind == "max" else (y,)
        backward = getattr(k, f"adaptive_{kind}_pool2d_backward")
        return y, *chosen, backward(a.like(y), *chosen, x.shape)

    return run


def hard_tanh(k, a, n, large):
    x = a(n, 1100) if large else a(n, 3)
    y = k.hardtanh(x, -0.5, 0.75)
    return y, k.hardtanh_backward(a.like(y), y, -0.5, 0.75)


def moments(k, a, n, large):
    """The running statistics are the caller's to give up: new arrays."""
    c = 1100 if large else 3
    running = +a(c), abs(a(c)), a.on.asarray(np.asarray(n))
    return k.track_moments_(running, a(c), abs(a(c)), 0.1, n / (n + 1))


def optimizer(name, states, rule, *optional):
    def run(k, a, n, large):
        shapes = [(n, 1100), (1, 3)] if large else [(n, 3), (1, 3)]

        def lists(positive):
            made = [a(*shape) for shape in shapes]
            return [abs(m) if positive else +m for m in made]  # +m: new, so writeable

        gradients = [a(*shape) for shape in shapes]
        state = [lists(positive) for positive in states]
        return getattr(k, name)(lists(False), gradients, *state, *optional, rule)

    return run


MOMENTS = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-3, "weight_decay": 0.1}
ADAM = rules.Adam(**MOMENTS, step=3)


def scaling(k, a, n, large):
    def number(value, dtype):
        return a.on.asarray(np.asarray(value, dtype))

    found = []
    for skip in (0, 1):
        skipped = number(skip, "i4")
        found.append(k.count_step_(number(n, "i8"), skipped))
        scales = number(8, "f4"), skipped, number(n, "i4")
        found += k.update_scale_(*scales, 2.0, 0.5, n + 1)
        found += k.unscale_([a(n, 3), a(4)], number(8, "f4"), number(skip, "i4"))
    return found, k.count_step_(number(n, "i8"), None)


CALLS = {
    "relu": pointwise("relu", "relu_backward"),
    "tanh": pointwise("tanh", "tanh_backward"),
    "sigmoid": pointwise("sigmoid", "sigmoid_backward"),
    "softplus": pointwise("softplus"),
    "erf": pointwise("erf"),
    "silu": pointwise("silu", None, True),
    "leaky_relu": pointwise("leaky_relu", None, 0.1, True),
    "leaky_relu of a negative slope": pointwise("leaky_relu", None, -0.1, True),
    "hardtanh": hard_tanh,
    "elu": pointwise("elu", None, 1.5, 2.0, 0.5, True),
    "gelu": pointwise("gelu", None, "none", True),
    "gelu by tanh": pointwise("gelu", None, "tanh", True),
    "softmax": along(-1, "softmax"),
    "softmax of another axis": along(1, "softmax"),
    "log_softmax": along(-1, "log_softmax"),
    "log_softmax of another axis": along(1, "log_softmax"),
    "linear": dense(False),
    "linear_relu": dense(True),
    "conv2d": convolution("conv2d"),
    "conv2d padded": convolution("conv2d", padding=((1, 1), (1, 0))),
    "conv2d strided": convolution("conv2d", stride=(2, 1), groups=2),
    "conv2d of one channel": convolution("conv2d", c=1, o=1),
    "conv2d of two kernels a channel": convolution("conv2d", groups=4),
    "conv2d of one kernel a group": convolution("conv2d", c=8, o=4, groups=4),
    "conv2d depthwise": convolution("conv2d", c=8, groups=8, padding=((1, 1), (1, 0))),
    "volume_slices": volumes(Depth(3, padding=(2, 1)), 1, 16),
    "volume_slices of groups": volumes(Depth(2, 1, (1, 0), 3), 2, 8),
    "volume_from_slices": volumes(Depth(2, 3, (0, 1)), 1, 9),
    "conv_transpose2d": convolution("conv_transpose2d"),
    "conv_transpose2d strided": convolution("conv_transpose2d", stride=(2, 2)),
    "conv_transpose2d of two kernels a channel": convolution("conv_transpose2d", groups=4),
    "conv_transpose2d of one kernel a group": convolution("conv_transpose2d", c=8, o=4, groups=4),
    "conv_transpose2d depthwise": convolution("conv_transpose2d", c=8, groups=8),
    "conv_block2d": convolution("conv_block2d"),
    "conv_block2d padded": convolution("conv_block2d", padding=((1, 1), (1, 0))),
    "conv_block2d strided": convolution("conv_block2d", stride=(2, 1), groups=2),
    "conv_block2d of one channel": convolution("conv_block2d", c=1, o=1),
    "conv_block2d of two kernels a channel": convolution("conv_block2d", groups=4),
    "conv_block2d of one kernel a group": convolution("conv_block2d", c=8, o=4, groups=4),
    "conv_block2d depthwise": convolution("conv_block2d", c=8, groups=8),
    "attention": attention,
    "im2col": columns,
    "max_pool2d": pooling("max", (2, 2), (2, 2)),
    "max_pool2d overlapping": pooling("max", (3, 3), (2, 1), ((1, 1), (1, 1))),
    "max_pool2d of a large window": pooling("max", (6, 7), (1, 1)),
    "avg_pool2d": pooling("avg", (2, 2), (2, 2)),
    "avg_pool2d overlapping": pooling("avg", (3, 3), (2, 1), ((1, 1), (1, 1))),
    "avg_pool2d of all": pooling("avg", (6, 7), (1, 1)),
    "scaled": lambda k, a, n, large: [k.scaled(a(n, 3), a(), s) for s in (None, a())],
    "track_moments_": moments,
    "adaptive_avg_pool2d": adaptive("avg"),
    "adaptive_max_pool2d": adaptive("max"),
    "batch_norm": normalisation("batch_norm"),
    "batch_norm_inference": by_given_statistics,
    "layer_norm": normalisation("layer_norm"),
    "group_norm": normalisation("group_norm"),
    "rnn": recurrent("rnn", 1, True, "tanh"),
    "rnn by relu": recurrent("rnn", 1, True, "relu"),
    "rnn_sequence": recurrent("rnn", 1, False, "tanh"),
    "lstm": recurrent("lstm", 4, True),
    "lstm_sequence": recurrent("lstm", 4, False),
    "gru": recurrent("gru", 3, True, True),
    "gru with reset before": recurrent("gru", 3, True, False),
    "gru_sequence": recurrent("gru", 3, False, True),
    "gru_sequence with reset before": recurrent("gru", 3, False, False),
    "lstm_cell": lstm_cell,
    "gru_cell gru_reset gru_update": gru_cells,
    "softmax_cross_entropy": cross_entropy(7),
    "softmax_cross_entropy of many classes": cross_entropy(100),
    "cross_entropy_mean": mean_cross_entropy,
    "ctc_loss": ctc,
    "slice": slices,
    "sum_over mean_over stretch": sums,
    "index_add": rows,
    "philox random_mask random_uniform dropout": random,
    "sgd_": optimizer("sgd_", [False], rules.SGD(lr=0.1, momentum=0.9, weight_decay=0.1)),
    "sgd_ without momentum": optimizer("sgd_", [], rules.SGD(lr=0.1, weight_decay=0.1), None),
    "asgd_": optimizer(
        "asgd_", [False], rules.ASGD(lr=0.1, shrink=0.9, share=0.25, weight_decay=0.1)
    ),
    "rprop_": optimizer(
        "rprop_", [False, True], rules.Rprop(lr=0.1, etas=(0.5, 1.2), step_sizes=(1e-2, 1.0))
    ),
    "adagrad_": optimizer("adagrad_", [True], rules.Adagrad(lr=0.1, eps=1e-3, weight_decay=0.1)),
    "rmsprop_": optimizer(
        "rmsprop_", [True], rules.RMSprop(lr=0.1, alpha=0.9, eps=1e-3, maximize=True), None, None
    ),
    "adadelta_": optimizer("adadelta_", [True, True], rules.Adadelta(lr=0.1, rho=0.9, eps=1e-3)),
    "adamax_": optimizer(
        "adamax_", [False, True], rules.Adamax(lr=0.1, betas=(0.9, 0.99), eps=1e-3)
    ),
    "adam_": optimizer("adam_", [False, True], ADAM, None),
    "adam_ with maxima": optimizer("adam_", [False, True, True], ADAM),
    "nadam_": optimizer(
        "nadam_", [False, True], rules.NAdam(**MOMENTS, step=3, gradient_rate=0.1, average_rate=0.2)
    ),
    "radam_": optimizer(
        "radam_", [False, True], rules.RAdam(**MOMENTS, average_rate=0.1, adaptive_rate=0.2)
    ),
    "count_step_ unscale_ update_scale_": scaling,
}


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("name", CALLS)
def test_equals_its_twin_and_writes_into_nothing(backend, name, size):
    if not isinstance(backend.asarray([0.0]), np.ndarray):
        pytest.skip("only arrays of NumPy can be watched")
    if size == "large" and backend.kind not in ("numpy", "jit"):
        pytest.skip("no threshold of size lies here, or another backend shows it")
    twin, large = Backend(np, "portable"), size == "large"
    wide = backend.kind == "cuda-on-cpu" and name.startswith(("conv_block2d", "batch_norm"))
    cases = [(layout, n, "f4") for layout in LAYOUTS[: 2 if large else 3] for n in BATCHES[size]]
    wanted = {}  # by the twin, of contiguous arrays
    for layout, n, dtype in [*cases, ("contiguous", 1, "f8"), ("contiguous", 1, "f2")]:
        if (n, dtype) not in wanted:
            wanted[n, dtype] = CALLS[name](twin, Arrays(backend, "contiguous", dtype), n, large)
        expected = wanted[n, dtype]
        found = CALLS[name](backend.backend, Arrays(backend, layout, dtype), n, large)
        pairs = zip(arrays(found), arrays(expected), strict=True)
        for (path, y), (where, e) in pairs:
            kept = (e.dtype, np.dtype("f4")) if wide and dtype == "f2" else (e.dtype,)
            assert path == where and y.dtype in kept and y.shape == e.shape
            scale = ROUNDING[dtype] * (float(np.abs(e).max(initial=0)) + 5e-3)
            what = f"{path} of a batch of {n}, {layout}, {dtype}"
            np.testing.assert_allclose(y, e, rtol=0, atol=scale, err_msg=what)


def test_the_table_is_complete():
    named = {word for name in CALLS for word in name.split()}
    missing = [k for k in KERNELS if k.removesuffix("_backward") not in named]
    assert set(missing) == {"col2im"}, "which runs beside im2col"
