"""Optimizers: equal to PyTorch's, on every backend; groups, frozen and shared parameters, state."""

import copy
import functools

import numpy as np
import pytest

import nnx
from nnx import nn, optim

# name, options
CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "maximize": True, "weight_decay": 1e-2}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 1e-2, "initial_accumulator_value": 0.3}),
    ("Adagrad", {"maximize": True, "eps": 1e-3}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "weight_decay": 1e-2, "momentum": 0.8, "eps": 1e-3}),
    ("RMSprop", {"centered": True, "maximize": True}),
    ("RMSprop", {"centered": True, "momentum": 0.8}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 1e-2, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 1e-2}),
    ("Adam", {"amsgrad": True, "maximize": True, "weight_decay": 1e-2}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.3, "amsgrad": True, "betas": (0.5, 0.6)}),
    ("AdamW", {"weight_decay": 0.3, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"weight_decay": 0.1, "momentum_decay": 0.1, "betas": (0.8, 0.9)}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"betas": (0.8, 0.9), "weight_decay": 0.1}),  # rectified from the 6th step on
    ("RAdam", {"betas": (0.8, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-3, "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.6, "t0": 5, "weight_decay": 0.1}),
    ("ASGD", {"t0": 2, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"etas": (0.3, 1.5), "step_sizes": (1e-3, 0.05), "maximize": True}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in CASES]

SHAPES = [(3, 4), (4,), (), (2, 1, 3), (0, 2)]
STEPS = 24
FEW_STEPS = 4  # for array_api_strict, whose calls are slow and whose kernels are the portable ones


def parameters(dtype):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]


def gradients(dtype, step):
    """Of very different sizes, some exactly zero; the second parameter has none now and then."""
    rng = np.random.default_rng(1000 + step)
    grads = [
        np.asarray(rng.standard_normal(s) * 10.0 ** rng.integers(-3, 2, s), dtype) for s in SHAPES
    ]
    grads[0][0, :2] = 0
    if step < 2 or 9 < step < 12:
        grads[1] = None
    return grads


def rate(first, step):
    """A learning rate that changes: PyTorch's momentum and the textbook's then differ."""
    return first * (1.0 if step < 5 else 0.3 if step < 15 else 2.0)


@functools.cache
def by_pytorch(case, dtype):
    """The parameters after FEW_STEPS and after STEPS."""
    torch = pytest.importorskip("torch")
    name, options = CASES[case]
    ps = [torch.nn.Parameter(torch.tensor(p)) for p in parameters(dtype)]
    opt = getattr(torch.optim, name)(ps, **options, foreach=False)
    first = opt.param_groups[0]["lr"]
    after = {}
    for step in range(STEPS):
        opt.param_groups[0]["lr"] = rate(first, step)
        for p, g in zip(ps, gradients(dtype, step), strict=True):
            p.grad = None if g is None else torch.tensor(g)
        opt.step()
        after[step + 1] = [p.detach().numpy().copy() for p in ps]
    return after


def by_nnx(case, dtype, steps, asarray, to_numpy):
    name, options = CASES[case]
    ps = [nn.Parameter(asarray(p)) for p in parameters(dtype)]
    opt = getattr(optim, name)(ps, **options)
    first = opt.param_groups[0]["lr"]
    for step in range(steps):
        opt.param_groups[0]["lr"] = rate(first, step)
        grads = gradients(dtype, step)
        for p, g in zip(ps, grads, strict=True):
            p.grad = None if g is None else asarray(g)
        given = [p.grad for p in ps]
        opt.step()
        for p, g, before in zip(ps, given, grads, strict=True):
            if before is not None:
                assert p.data.dtype == g.dtype
                np.testing.assert_array_equal(to_numpy(g), before, "a gradient was written")
    return [to_numpy(p.data) for p in ps]


@pytest.mark.parametrize("case", range(len(CASES)), ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_pytorch(backend, case, dtype):
    if dtype == "float64":
        backend.skip_without_float64()
    steps = FEW_STEPS if backend.kind.startswith("strict") else STEPS
    expected = by_pytorch(case, dtype)[steps]
    actual = by_nnx(case, dtype, steps, backend.asarray, backend.to_numpy)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", range(1, len(CASES), 3), ids=IDS[1::3])
def test_strided_parameters_and_gradients(backend, case):
    plain = by_nnx(case, "float32", 2, backend.asarray, backend.to_numpy)
    strided = by_nnx(case, "float32", 2, backend.strided, backend.to_numpy)
    for a, e in zip(strided, plain, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6)


# ---- groups, state ----

KINDS = [
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adadelta", {}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Adamax", {}),
    ("ASGD", {"t0": 2}),
    ("Rprop", {}),
]


def network(seed=0):
    nnx.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def train(model, opt, steps, first=0):
    x = nnx.tensor(np.random.default_rng(0).standard_normal((16, 4)).astype("f4"))
    y = nnx.tensor(np.arange(16) % 3)
    losses = []
    for _ in range(first, first + steps):
        opt.zero_grad()
        loss = nnx.ops.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name, options", KINDS)
def test_resumes_to_the_last_bit(name, options):
    """Six steps equal three, a copy of all state into new objects, and three more."""
    whole = network()
    train(whole, getattr(optim, name)(whole.parameters(), **options), 6)

    first = network()
    opt = getattr(optim, name)(first.parameters(), **options)
    train(first, opt, 3)
    weights = {k: v.copy() for k, v in first.state_dict().items()}
    state = copy.deepcopy(opt.state_dict())

    second = network(seed=1)
    again = getattr(optim, name)(second.parameters(), **options)
    again.load_state_dict(state)
    second.load_state_dict(weights)
    train(first, opt, 2)  # what was copied does not move with the original
    train(second, again, 3)
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    assert list(again.state_dict()["state"]) == list(state["state"])


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_a_scalar_stays_an_array_and_resumes_to_the_last_bit(backend, name, options):
    """NumPy's arithmetic on arrays of shape () gives scalars, which other kernels then update."""

    def start(values):
        ps = [nn.Parameter(backend.asarray(np.asarray(v, "f4"))) for v in values]
        return ps, getattr(optim, name)(ps, **options)

    def step(ps, opt, k):
        rng = np.random.default_rng(k)
        for p in ps:
            p.grad = backend.asarray(np.asarray(rng.standard_normal(p.shape), "f4"))
        opt.step()

    kind = type(backend.asarray(np.ones(2, "f4")))
    values = 0.7, np.ones(3)
    ps, opt = start(values)
    others, other = start(values)
    for k in range(6):
        if k in (1, 3):
            state = copy.deepcopy(other.state_dict())
            weights = [backend.to_numpy(p) for p in others]
            others, other = start(values)
            for p, w in zip(others, weights, strict=True):
                p.data = nnx.backends.copy_beside(p.data, w)  # as load_state_dict does
            other.load_state_dict(state)
        step(ps, opt, k)
        step(others, other, k)
        for p, q in zip(ps, others, strict=True):
            assert backend.to_numpy(p).tobytes() == backend.to_numpy(q).tobytes()
            for array in (p.data, *opt.state[p].values()):
                assert isinstance(array, kind | int | float), type(array)


@pytest.mark.parametrize("size", [3, 3000])  # NumPy's loops, and the compiled ones
@pytest.mark.parametrize("name, options", KINDS)
def test_a_gradient_that_somebody_put_there_is_looked_at(name, options, size):
    """A shorter one was read past its end, a float64 one made the parameter float64."""
    ones = np.ones(size, "f4")
    for gradient, error, message in [
        (ones[:1], ValueError, rf"{name}\.step: the gradient.*shape \({size},\) has shape \(1,\)"),
        (np.ones((1, size), "f4"), ValueError, r"has shape \(1, "),
        (np.ones(2 * size, "f4"), ValueError, "has shape"),
        (np.float32(1), ValueError, r"has shape \(\)"),
        (np.ones(size), TypeError, "is of float64, the parameter of float32"),
        (np.ones(size, np.int64), TypeError, "is of int64"),
        ([1.0] * size, TypeError, "must be an array like it, not list"),
    ]:
        p = nn.Parameter(ones.copy())
        opt = getattr(optim, name)([p], **options)
        p.grad = gradient
        with pytest.raises(error, match=message):
            opt.step()
        np.testing.assert_array_equal(p.data, ones)
    p, q = nn.Parameter(ones.copy()), nn.Parameter(ones.copy())
    p.grad, q.grad = nnx.tensor(ones), ones
    getattr(optim, name)([p, q], **options).step()
    np.testing.assert_array_equal(p.data, q.data)
    assert p.data.dtype == np.float32 and (p.data != 1).all()


def test_a_gradient_of_another_library_is_refused():
    strict = pytest.importorskip("array_api_strict")
    p = nn.Parameter(np.ones(3, "f4"))
    p.grad = strict.ones(3, dtype=strict.float32)
    with pytest.raises(TypeError, match="arrays of two libraries"):
        optim.SGD([p]).step()


def test_pytorchs_step_of_a_scalar_is_a_number():
    p = nn.Parameter(np.asarray(0.7, "f4"))
    opt = optim.Adam([p])
    p.grad = np.asarray(1.0, "f4")
    opt.step()
    state = opt.state_dict()
    state["state"][0]["step"] = np.asarray(1.0, "f4")  # as PyTorch keeps it
    opt.load_state_dict(state)
    assert opt.state[p]["step"] == 1 and not hasattr(opt.state[p]["step"], "shape")
    opt.step()
    assert isinstance(p.data, np.ndarray) and opt.state[p]["step"] == 2


@pytest.mark.parametrize("name, options", KINDS)
def test_learns_and_keeps_float32(name, options):
    model = network()
    opt = getattr(optim, name)(model.parameters(), **options)
    losses = train(model, opt, 30)
    assert losses[-1] < losses[0]
    for p in model.parameters():
        assert p.data.dtype == np.float32
        assert {a.dtype for a in opt.state[p].values() if hasattr(a, "dtype")} <= {
            np.dtype("float32")
        }


def test_state_has_pytorchs_names_and_numbers():
    torch = pytest.importorskip("torch")
    for name, options in KINDS:
        model = network()
        opt = getattr(optim, name)(model.parameters(), **options)
        train(model, opt, 2)
        theirs = getattr(torch.optim, name)(
            [torch.nn.Parameter(torch.zeros(p.shape)) for p in model.parameters()], **options
        )
        for p in theirs.param_groups[0]["params"]:
            p.grad = torch.ones_like(p)
        theirs.step()
        a, b = opt.state_dict(), theirs.state_dict()
        assert a["state"].keys() == b["state"].keys() == {0, 1, 2, 3}
        for number in a["state"]:
            assert set(a["state"][number]) == set(b["state"][number]), name
            for key, value in a["state"][number].items():
                assert np.shape(value) == tuple(b["state"][number][key].shape), (name, key)
        assert a["param_groups"][0]["params"] == [0, 1, 2, 3]
        assert set(a["param_groups"][0]) <= set(b["param_groups"][0])


def test_goes_on_from_pytorchs_state():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal(5), rng.standard_normal((6, 5))
    theirs = torch.nn.Parameter(torch.tensor(start))
    their_opt = torch.optim.Adam([theirs], lr=0.1, betas=(0.8, 0.9))
    ours = nn.Parameter(start.copy())
    opt = optim.Adam([ours], lr=0.5)
    for k, g in enumerate(grads):
        if k == 3:
            state = their_opt.state_dict()
            arrays = {
                n: {key: np.array(v.numpy()) for key, v in kept.items()}
                for n, kept in state["state"].items()
            }
            groups = [
                {key: v for key, v in g.items() if key in opt.defaults or key == "params"}
                for g in state["param_groups"]
            ]
            opt.load_state_dict({"state": arrays, "param_groups": groups})
            ours.data = theirs.detach().numpy().copy()
        theirs.grad = torch.tensor(g)
        their_opt.step()
        if k >= 3:
            ours.grad = g
            opt.step()
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-14)
    assert opt.state[ours]["step"] == 6


def test_groups_have_options_of_their_own():
    a, b, c = (nn.Parameter(np.ones(2)) for _ in range(3))
    opt = optim.SGD([{"params": [a], "lr": 0.5}, {"params": b, "weight_decay": 1.0}], lr=0.1)
    opt.add_param_group({"params": [("c", c)], "momentum": 0.9})
    for p in (a, b, c):
        p.grad = np.ones(2)
    opt.step()
    opt.step()
    np.testing.assert_allclose([p.data[0] for p in (a, b, c)], [0, 0.62, 1 - 0.1 - 0.19])
    assert [len(g["params"]) for g in opt.param_groups] == [1, 1, 1]
    assert opt.state_dict()["param_groups"][2]["params"] == [2]
    assert "group 1: 1 parameters, lr=0.1, momentum=0.0" in repr(opt)


def test_named_parameters_and_a_single_tensor():
    model = network()
    assert len(optim.SGD(model.named_parameters()).param_groups[0]["params"]) == 4
    assert optim.Adam(model[0].weight).param_groups[0]["params"] == [model[0].weight]


def test_a_parameter_without_gradient_keeps_still_and_counts_no_step():
    """A frozen layer is left alone, weight decay included; thawed, its Adam starts from t = 1."""
    torch = pytest.importorskip("torch")
    ours = [nn.Parameter(np.ones(3)) for _ in range(2)]
    theirs = [torch.nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2)]
    a = optim.AdamW(ours, lr=0.1)
    b = torch.optim.AdamW(theirs, lr=0.1)
    for step in range(5):
        for k in range(2):
            g = None if k == 1 and step < 3 else np.asarray([1.0, -2.0, 0.5]) * (step + 1)
            ours[k].grad = g
            theirs[k].grad = None if g is None else torch.tensor(g)
        a.step()
        b.step()
        if step == 2:
            assert (ours[1].data == 1).all() and ours[1] not in a.state
    assert [a.state[p]["step"] for p in ours] == [5, 2]
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-13)


def test_a_shared_parameter_is_updated_once():
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    opt = optim.SGD(model.parameters(), lr=1.0)
    before = layer.bias.data.copy()
    model(nnx.tensor(np.ones((1, 3), "f4"))).sum().backward()
    expected = before - layer.bias.grad
    opt.step()
    np.testing.assert_allclose(layer.bias.data, expected)


def test_adam_counts_its_steps():
    """The textbook's code leaves t at 1, so that bias correction divides by 1 - β for ever.

    With a constant gradient g, m̂ = g and ŝ = g² at every step if t counts, and each step is lr
    long; with t stuck at 1 the tenth step would be lr · 6.5 / √9.96 = 2.06 lr.
    """
    p = nn.Parameter(np.zeros(1))
    opt = optim.Adam([p], lr=0.1, eps=0.0)
    positions = [0.0]
    for _ in range(10):
        p.grad = np.asarray([3.0])
        opt.step()
        positions.append(p.data[0])
    np.testing.assert_allclose(np.diff(positions), -0.1, rtol=1e-12)
    assert opt.state[p]["step"] == 10


def test_weight_decay_is_l2_and_decoupled_decay_is_not():
    """Xu 3.3-3.5: weight_decay adds λ p to the gradient.  For SGD decoupled decay is the same, for
    Adam it is not: there λ p is divided by √ŝ, and the first step is lr long whatever λ is."""
    for lam in (1e-4, 1.0):
        p, q, r = (nn.Parameter(np.asarray([2.0])) for _ in range(3))
        for tensor in (p, q, r):
            tensor.grad = np.asarray([0.5])
        optim.SGD([p], lr=0.1, weight_decay=lam).step()
        np.testing.assert_allclose(p.data, 2 - 0.1 * (0.5 + lam * 2), rtol=1e-15)
        optim.Adam([q], lr=0.1, weight_decay=lam, eps=0.0).step()
        np.testing.assert_allclose(q.data, 2 - 0.1)
        optim.AdamW([r], lr=0.1, weight_decay=lam, eps=0.0).step()
        np.testing.assert_allclose(r.data, 2 * (1 - 0.1 * lam) - 0.1)


def test_the_state_follows_a_model_that_moves():
    pytest.importorskip("array_api_strict")
    still, moved = network(), network()
    a, b = optim.Adam(still.parameters()), optim.Adam(moved.parameters())
    for k in range(4):
        if k == 2:
            moved.to("array_api_strict")
        for p, q in zip(still.parameters(), moved.parameters(), strict=True):
            p.grad = np.full(p.shape, 0.5 + k, "f4")
            q.grad = nnx.backends.copy_beside(q.data, p.grad)
        a.step()
        b.step()
    moved.to("numpy")
    for p, q in zip(still.parameters(), moved.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-6)


def test_zero_grad():
    model = network()
    opt = optim.SGD(model.parameters())
    train(model, opt, 1)
    opt.zero_grad()
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("SGD", {"lr": -1.0}, r"SGD: lr must be at least 0, got -1\.0"),
        ("SGD", {"nesterov": True}, r"nesterov needs a momentum .* momentum 0\.0, dampening 0\.0"),
        ("Adam", {"betas": (0.9, 1.0)}, r"Adam: betas must be .* got \(0\.9, 1\.0\)"),
        ("Adam", {"eps": -1.0}, "eps must be at least 0"),
        ("Adadelta", {"rho": 1.0}, r"rho must be at least 0 and less than 1, got 1\.0"),
        ("RMSprop", {"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ("NAdam", {"momentum_decay": -1.0}, "momentum_decay must be at least 0"),
    ],
)
def test_options_are_checked(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([nn.Parameter(np.ones(2))], **options)


def test_parameters_are_checked():
    p = nn.Parameter(np.ones(2))
    with pytest.raises(ValueError, match="there are no parameters"):
        optim.SGD([])
    with pytest.raises(TypeError, match="must be a Tensor, got ndarray"):
        optim.SGD([np.ones(2)])
    with pytest.raises(TypeError, match="must be a leaf"):
        optim.SGD([p * 2])
    with pytest.raises(ValueError, match=r"a parameter of shape \(2,\) was given twice"):
        optim.SGD([p, p])
    with pytest.raises(ValueError, match=r"shape \(2,\) was given twice"):
        optim.SGD([{"params": [p]}, {"params": [p]}])
    with pytest.raises(ValueError, match=r"no options \['rate'\], only \['lr', 'momentum'"):
        optim.SGD([{"params": [p], "rate": 1}])


def test_a_state_that_does_not_fit():
    state = optim.Adam(network().parameters()).state_dict()
    with pytest.raises(ValueError, match=r"groups of \[1\] parameters here, of \[4\] in the state"):
        optim.Adam([nn.Parameter(np.ones(2))]).load_state_dict(state)
    p = nn.Parameter(np.ones(2))
    opt = optim.Adam([p])
    p.grad = np.ones(2)
    opt.step()
    other = optim.Adam([nn.Parameter(np.ones(3))])
    with pytest.raises(
        ValueError, match=r"exp_avg of parameter 0 has shape \(2,\), the parameter \(3,\)"
    ):
        other.load_state_dict(opt.state_dict())


def test_steps_under_the_checking_backend():
    """NNX_KERNELS=check steps twice, on copies, and compares: parameters move once."""
    for name, options in KINDS:
        moved = []
        for mode in ("fast", "check"):
            with nnx.backends.kernels(mode):
                p, q = nn.Parameter(np.ones((70, 30), "f4")), nn.Parameter(np.ones(3, "f4"))
                opt = getattr(optim, name)([p, q], **options)
                for k in range(3):
                    p.grad = np.full((70, 30), 0.5 + k, "f4")
                    q.grad = np.full(3, -1.0 - k, "f4")
                    opt.step()
            moved.append([p.data[0, 0], q.data[0]])
        np.testing.assert_allclose(moved[1], moved[0], rtol=1e-6, err_msg=name)


def test_the_average_of_asgd_lies_nearer_to_the_minimum():
    """Noisy gradients of p²/2: p wanders by √η, its mean settles."""
    rng = np.random.default_rng(0)
    p = nn.Parameter(np.ones(50))
    opt = optim.ASGD([p], lr=0.3, lambd=0.0, t0=100)
    for _ in range(1000):
        p.grad = p.data + rng.standard_normal(50)
        opt.step()
    mean = opt.state[p]["ax"]
    assert np.mean(mean**2) < 0.05 * np.mean(p.data**2)


def test_rprop_stands_still_for_a_step_after_a_turn():
    p = nn.Parameter(np.asarray([1.0]))
    opt = optim.Rprop([p], lr=0.4)
    path = []
    for _ in range(4):
        p.grad = p.data.copy()
        opt.step()
        path.append(float(p.data[0]))
    np.testing.assert_allclose(path, [0.6, 0.12, -0.456, -0.456], atol=1e-12)
