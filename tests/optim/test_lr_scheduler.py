"""Learning-rate schedules: PyTorch's sequences, resumption, combination."""

import json
import math

import numpy as np
import pytest

from nnx import nn, optim
from nnx.optim import lr_scheduler

CASES = [
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("LambdaLR", {"lr_lambda": [lambda t: 0.9**t, lambda t: 1 - t / 100]}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 1 - t / 60}),
    ("MultiplicativeLR", {"lr_lambda": [lambda t: 0.95, lambda t: 1 + 0.1 * (-1) ** t]}),
    ("StepLR", {"step_size": 4}),
    ("StepLR", {"step_size": 1, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 9, 9, 20], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.2, "total_iters": 7}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.6, "total_iters": 9}),
    ("PolynomialLR", {"total_iters": 12, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 10}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 4}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": 0.3, "step_size_up": 3, "step_size_down": 6}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 4, "mode": "triangular2"}),
    (
        "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9},
    ),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 41}),
    ("OneCycleLR", {"max_lr": [0.5, 0.1], "epochs": 6, "steps_per_epoch": 7, "three_phase": True}),
    (
        "OneCycleLR",
        {"max_lr": 0.5, "total_steps": 50, "anneal_strategy": "linear", "pct_start": 0.5},
    ),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in CASES]
STEPS = 40


def optimizer(kind="SGD", **options):
    a, b = (nn.Parameter(np.zeros(2, "f4")) for _ in range(2))
    if kind == "SGD":
        options = {"momentum": 0.5, **options}
    return getattr(optim, kind)([{"params": [a]}, {"params": [b], "lr": 0.02}], lr=0.1, **options)


def pytorchs_optimizer(torch, kind="SGD"):
    a, b = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    options = {"momentum": 0.5} if kind == "SGD" else {}
    return getattr(torch.optim, kind)(
        [{"params": [a]}, {"params": [b], "lr": 0.02}], lr=0.1, **options
    )


def watched(opt):
    """The rates and momenta of the groups."""
    return [g["lr"] for g in opt.param_groups] + [
        g["betas"][0] if "betas" in g else g["momentum"] for g in opt.param_groups
    ]


def sequence(opt, schedulers, steps=STEPS):
    seen = [watched(opt)]
    for _ in range(steps):
        opt.step()
        for scheduler in schedulers:
            scheduler.step()
        seen.append(watched(opt))
    return np.asarray(seen)


def make(module, opt, name, options):
    return getattr(module, name)(opt, **options)


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_pytorchs_sequence(kind, name, options):
    torch = pytest.importorskip("torch")
    ours, theirs = optimizer(kind), pytorchs_optimizer(torch, kind)
    a = sequence(ours, [make(lr_scheduler, ours, name, options)])
    b = sequence(theirs, [make(torch.optim.lr_scheduler, theirs, name, options)])
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-16)
    assert len(np.unique(a[:, 0])) > 1


def linear_then_one_cycle(opt):
    parts = [
        lr_scheduler.LinearLR(opt, start_factor=0.1, total_iters=5),
        lr_scheduler.OneCycleLR(opt, 0.5, total_steps=41),
    ]
    return [lr_scheduler.SequentialLR(opt, parts, milestones=[9])]


def together(module, opt):
    parts = [
        module.LinearLR(opt, start_factor=0.1, total_iters=20),
        module.ExponentialLR(opt, gamma=0.9),
        module.MultiplicativeLR(opt, lambda t: 1 + 1 / t),
        module.MultiStepLR(opt, [3, 9]),
    ]
    return module.ChainedScheduler(parts)


BUILD = {
    identity: lambda opt, name=name, options=options: [make(lr_scheduler, opt, name, options)]
    for identity, (name, options) in zip(IDS, CASES, strict=True)
} | {
    "from zero": lambda opt: [lr_scheduler.LambdaLR(opt, lambda t: (t % 6) / 6)],
    "cycle from zero": lambda opt: [lr_scheduler.CyclicLR(opt, 0.0, 0.3, step_size_up=3)],
    "two at once": lambda opt: [
        lr_scheduler.LinearLR(opt, total_iters=20),
        lr_scheduler.StepLR(opt, 4),
    ],
    "one after another": linear_then_one_cycle,
    "chained": lambda opt: [together(lr_scheduler, opt)],
    "chained sequences": lambda opt: [
        lr_scheduler.ChainedScheduler(
            [*linear_then_one_cycle(opt), lr_scheduler.ExponentialLR(opt, 0.9)]
        )
    ],
}


@pytest.mark.parametrize("order", ["make optimizer schedules", "make schedules optimizer",
                                   "optimizer make schedules"])  # fmt: skip
@pytest.mark.parametrize("stop", [1, 6, 13, 24])  # "from zero" is there at 6 and 24
@pytest.mark.parametrize("name", BUILD)
def test_resumes_exactly(name, stop, order):
    """In whatever order the schedule is made and the states are loaded."""
    build = BUILD[name]
    whole_optimizer = optimizer()
    whole = sequence(whole_optimizer, build(whole_optimizer))

    first = optimizer()
    schedules = build(first)
    head = sequence(first, schedules, stop)
    saved = json.loads(json.dumps([[s.state_dict() for s in schedules], first.state_dict()]))

    second = optimizer()
    resumed = []
    for what in order.split():
        if what == "make":
            resumed = build(second)
        elif what == "optimizer":
            second.load_state_dict(saved[1])
        else:
            for schedule, state in zip(resumed, saved[0], strict=True):
                schedule.load_state_dict(state)
    tail = sequence(second, resumed, STEPS - stop)
    assert (np.concatenate([head[:-1], tail]) == whole).all()  # every bit


def test_a_changed_rate_is_resumed_too():
    first = optimizer()
    schedule = lr_scheduler.ExponentialLR(first, 0.9)
    first.param_groups[0]["lr"] = 0.7
    states = first.state_dict(), schedule.state_dict()
    second = optimizer()
    second.load_state_dict(states[0])
    resumed = lr_scheduler.ExponentialLR(second, 0.9)
    resumed.load_state_dict(states[1])
    assert (sequence(second, [resumed], 5) == sequence(first, [schedule], 5)).all()


def test_a_rate_that_meets_zero_is_pytorchs():
    torch = pytest.importorskip("torch")
    for build in (
        lambda module, opt: module.LambdaLR(opt, lambda t: (t % 6) / 6),
        lambda module, opt: module.CyclicLR(opt, 0.0, 0.3, step_size_up=3),
        lambda module, opt: module.CosineAnnealingLR(opt, 5),
        lambda module, opt: module.PolynomialLR(opt, 7),
    ):
        ours, theirs = optimizer(), pytorchs_optimizer(torch)
        a = sequence(ours, [build(lr_scheduler, ours)])
        b = sequence(theirs, [build(torch.optim.lr_scheduler, theirs)])
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-16)
        assert (a[:, 0] == 0).any()


def test_a_rate_that_was_changed_at_zero_is_the_schedule_s_again():
    """There is no factor to be kept."""
    opt = optimizer()
    schedule = lr_scheduler.LambdaLR(opt, lambda t: t % 3)
    assert schedule.get_last_lr() == [0, 0]
    opt.param_groups[0]["lr"] = 0.7
    schedule.step()
    assert schedule.get_last_lr() == [0.1, 0.02]


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_last_epoch_begins_in_the_middle(name, options):
    opt = optimizer()
    whole = sequence(opt, [make(lr_scheduler, opt, name, options)])
    late = optimizer()
    late.load_state_dict(opt.state_dict())  # with "initial_lr", as after loading a checkpoint
    tail = sequence(late, [make(lr_scheduler, late, name, {**options, "last_epoch": 9})], 20)
    np.testing.assert_array_equal(tail[:, :2], whole[10:31, :2])


def test_last_epoch_needs_the_initial_rate():
    with pytest.raises(ValueError, match="needs 'initial_lr' in every group; group 0 has"):
        lr_scheduler.StepLR(optimizer(), 3, last_epoch=4)


def test_sequential_is_pytorchs():
    torch = pytest.importorskip("torch")

    def build(module, opt):
        parts = [
            module.LinearLR(opt, start_factor=0.1, total_iters=5),
            module.CosineAnnealingLR(opt, T_max=20),
            module.ExponentialLR(opt, gamma=0.5),
        ]
        return module.SequentialLR(opt, parts, milestones=[5, 25])

    ours, theirs = optimizer(), pytorchs_optimizer(torch)
    a = sequence(ours, [build(lr_scheduler, ours)])
    b = sequence(theirs, [build(torch.optim.lr_scheduler, theirs)])
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-16)

    ours = optimizer()
    scheduler = build(lr_scheduler, ours)
    sequence(ours, [scheduler], 11)
    later = optimizer()
    resumed = build(lr_scheduler, later)
    resumed.load_state_dict(scheduler.state_dict())
    later.load_state_dict(ours.state_dict())
    assert (sequence(later, [resumed], STEPS - 11) == a[11:]).all()


def test_two_schedules_of_one_optimizer_multiply():
    torch = pytest.importorskip("torch")

    def build(module, opt):
        return [
            module.LinearLR(opt, total_iters=6),
            module.StepLR(opt, 10),
            module.ExponentialLR(opt, gamma=0.9),
        ]

    ours, theirs = optimizer(), pytorchs_optimizer(torch)
    a = sequence(ours, build(lr_scheduler, ours))
    b = sequence(theirs, build(torch.optim.lr_scheduler, theirs))
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_rate_the_user_changed_is_kept_as_a_factor():
    opt = optimizer()
    scheduler = lr_scheduler.ExponentialLR(opt, 0.5)
    scheduler.step()
    opt.param_groups[0]["lr"] *= 10
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.1 * 0.25 * 10, 0.02 * 0.25])


def test_chained_is_pytorchs():
    torch = pytest.importorskip("torch")
    ours, theirs = optimizer(), pytorchs_optimizer(torch)
    a = sequence(ours, [together(lr_scheduler, ours)])
    b = sequence(theirs, [together(torch.optim.lr_scheduler, theirs)])
    np.testing.assert_allclose(a, b, rtol=1e-12)
    assert len(np.unique(a[:, 0])) == len(a)


def test_a_chain_is_resumed_under_other_plans():
    """Each schedule's change of plan is made, not the last one's alone."""

    def build(opt, total, gamma):
        parts = [
            lr_scheduler.LinearLR(opt, total_iters=total),
            lr_scheduler.ExponentialLR(opt, gamma),
        ]
        return lr_scheduler.ChainedScheduler(parts)

    first, second, whole = optimizer(), optimizer(), optimizer()
    chain, expected = build(first, 10, 0.9), build(whole, 20, 0.8)
    sequence(first, [chain], 5)
    sequence(whole, [expected], 5)
    resumed = build(second, 20, 0.8)
    resumed.load_state_dict(chain.state_dict())
    assert resumed.last_epoch == 5
    np.testing.assert_allclose(resumed.get_last_lr(), expected.get_last_lr(), rtol=1e-12)


def test_a_chain_says_what_it_cannot_take():
    opt = optimizer()
    one, two = lr_scheduler.StepLR(opt, 3), lr_scheduler.StepLR(optimizer(), 3)
    plateau = lr_scheduler.ReduceLROnPlateau(opt)
    chain = lr_scheduler.ChainedScheduler([one])
    for make, error, message in (
        (lambda: lr_scheduler.ChainedScheduler([]), ValueError, "one scheduler at least"),
        (lambda: lr_scheduler.ChainedScheduler([one, two]), ValueError, "of the same optimizer"),
        (lambda: lr_scheduler.ChainedScheduler([one], two.optimizer), ValueError, "same optimizer"),
        (lambda: lr_scheduler.ChainedScheduler([one, plateau]), TypeError, "got ReduceLROnPlateau"),
        (lambda: lr_scheduler.SequentialLR(opt, [plateau], []), TypeError, "ReduceLROnPlateau"),
        (lambda: lr_scheduler.SequentialLR(opt, [chain], []), TypeError, "chain sequences"),
        (lambda: chain.load_state_dict({"last_epoch": 0, "schedulers": []}), ValueError,
         "has 0 schedules, this one 1"),
        (lambda: chain.load_state_dict({"last_epoch": 0, "schedulers": [{"base_lrs": [0.1]}]}),
         ValueError, "has 1 groups, the optimizer 2"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            make()


PLATEAU = [
    {"patience": 2},
    {"patience": 0, "factor": 0.5, "cooldown": 3},
    {"patience": 1, "threshold": 0.3, "threshold_mode": "abs", "min_lr": [0.004, 0.01]},
    {"patience": 1, "threshold": 0.2},
    {"patience": 1, "mode": "max", "threshold": 0.2},
    {"patience": 1, "mode": "max", "threshold": 0.2, "threshold_mode": "abs", "eps": 0.005},
]


@pytest.mark.parametrize("options", PLATEAU)
def test_plateau_is_pytorchs(options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    losses = [*(2 * 0.8 ** np.arange(10) + rng.normal(0, 0.1, 10)), math.nan, *rng.normal(0, 1, 29)]
    ours, theirs = optimizer(), pytorchs_optimizer(torch)
    a = lr_scheduler.ReduceLROnPlateau(ours, **options)
    b = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    rates = set()
    for k, loss in enumerate(losses):
        if k == 17:  # resume
            state = json.loads(json.dumps(a.state_dict()))
            a = lr_scheduler.ReduceLROnPlateau(ours, **options)
            a.load_state_dict(state)
        a.step(loss)
        b.step(loss)
        assert watched(ours) == watched(theirs)
        rates.add(ours.param_groups[0]["lr"])
    assert len(rates) > 1


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("StepLR", {"step_size": 0}, "step_size must be positive, got 0"),
        ("LinearLR", {"start_factor": 0.0}, "start_factor must be positive"),
        ("LambdaLR", {"lr_lambda": [math.sqrt]}, "LambdaLR: 1 functions for 2 groups"),
        ("MultiplicativeLR", {"lr_lambda": []}, "MultiplicativeLR: 0 functions for 2 groups"),
        ("OneCycleLR", {"max_lr": 1.0}, "give total_steps, or epochs and steps_per_epoch"),
        ("OneCycleLR", {"max_lr": [1.0], "total_steps": 4}, "max_lr: 1 values for 2 groups"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "mode": "round"}, "got 'round'"),
        ("ReduceLROnPlateau", {"factor": 1.0}, "factor must be less than 1, got 1.0"),
        ("ReduceLROnPlateau", {"mode": "least"}, 'mode must be "min" or "max"'),
        ("SequentialLR", {"schedulers": [], "milestones": []}, "one fewer than schedulers"),
    ],
)
def test_errors(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(lr_scheduler, optimizer(), name, options)


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_a_schedule_is_of_an_optimizer(name, options):
    for other in (3, None, [nn.Parameter(np.zeros(2, "f4"))]):
        with pytest.raises(
            TypeError, match=f"{name}: expected an Optimizer, got {type(other).__name__}"
        ):
            make(lr_scheduler, other, name, options)


def test_the_others_too():
    with pytest.raises(TypeError, match="ReduceLROnPlateau: expected an Optimizer, got int: 3"):
        lr_scheduler.ReduceLROnPlateau(3)
    with pytest.raises(TypeError, match="SequentialLR: expected an Optimizer, got int"):
        lr_scheduler.SequentialLR(3, [lr_scheduler.StepLR(optimizer(), 3)], [])


def test_momentum_cycles_in_a_sequence_too():
    opt = optimizer()
    rates = sequence(opt, linear_then_one_cycle(opt))
    alone = optimizer()
    cycle = sequence(alone, [lr_scheduler.OneCycleLR(alone, 0.5, total_steps=41)])
    np.testing.assert_array_equal(rates[9:, 2:], cycle[: STEPS - 8, 2:])
    assert len(np.unique(rates[:, 2])) > 9


def test_an_optimizer_without_momentum_cannot_cycle_it():
    p = nn.Parameter(np.zeros(2, "f4"))
    with pytest.raises(ValueError, match="Adagrad has no momentum to cycle"):
        lr_scheduler.CyclicLR(optim.Adagrad([p]), 0.1, 1.0)


def test_one_cycle_ends():
    opt = optimizer()
    scheduler = lr_scheduler.OneCycleLR(opt, 1.0, total_steps=4)
    for _ in range(4):
        scheduler.step()
    with pytest.raises(ValueError, match="step 5, but the cycle was made for 4 steps"):
        scheduler.step()
