"""What a `with` block sets: for its own thread or task, and gone in whatever way it ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import numpy as np
import pytest

import nnx
from nnx import backends, nn, ops
from nnx.autograd import calls
from nnx.backends.cpu import memory
from nnx.backends.numpy import NumpyBackend
from nnx.nn.module import temporary_modes
from nnx.nn.scopes import watchers, watching
from nnx.scoped import Scoped


class Other(NumpyBackend):
    """NumPy arrays, computed by another backend."""


MODEL = nn.Sequential(nn.Linear(2, 2), nn.Dropout())


def evaluating():
    stack = contextlib.ExitStack()
    stack.enter_context(temporary_modes(MODEL))
    MODEL.eval()
    return stack


def seen_by_a_watcher():
    return bool(watchers.get())


def computes(function, compute, arrays):
    return compute(*arrays)


# Everything that a block sets: how to open one, and how to see whether the caller is inside.
SETTINGS = {
    "no_grad": (nnx.no_grad, lambda: not nnx.is_grad_enabled()),
    "use_backend": (
        lambda: nnx.use_backend("array_api_strict"),
        lambda: nnx.active_backend().name == "array_api_strict",
    ),
    "kernels": (
        lambda: backends.kernels("portable"),
        lambda: (
            backends.kernel_mode() == "portable"
            and type(backends.backend_of(np.ones(1))) is backends.Backend
        ),
    ),
    "override": (
        lambda: backends.override(np.ndarray, Other()),
        lambda: type(backends.backend_of(np.ones(1))) is Other,
    ),
    "modes": (evaluating, lambda: not MODEL.training),
    "watching": (lambda: watching(lambda *seen: None), seen_by_a_watcher),
    "watching_calls": (lambda: calls.watching_calls(computes), lambda: bool(calls.current())),
    "keeping_nothing": (
        memory.keeping_nothing,
        lambda: type(memory.empty((2**20,), "u1").base) is not np.ndarray,
    ),
    "no_transfers": (
        nnx.debug.no_transfers,
        lambda: not backends.backend_of(np.ones(1)).checks_values,
    ),
}


@pytest.fixture(params=SETTINGS)
def setting(request):
    if request.param == "use_backend":
        pytest.importorskip("array_api_strict")
    opened, inside = SETTINGS[request.param]
    assert not inside()
    yield opened, inside
    assert not inside(), "something is left"


def test_a_block(setting):
    opened, inside = setting
    with opened():
        assert inside()
        with opened():
            assert inside()
        assert inside()
    assert not inside()
    with pytest.raises(ZeroDivisionError), opened():
        raise ZeroDivisionError
    assert not inside()


def test_other_threads_do_not_see_it(setting):
    opened, inside = setting
    seen = []
    with opened():
        thread = threading.Thread(target=lambda: seen.append(inside()))
        thread.start()
        thread.join()
        assert seen == [False] and inside()


def test_two_threads_overlap(setting):
    """The one that began first ends first: what it puts back must not be the other's."""
    opened, inside = setting
    first_open, both_open, first_closed = (threading.Event() for _ in range(3))
    seen = []

    def first():
        with opened():
            first_open.set()
            both_open.wait(20)
            seen.append(inside())
        seen.append(not inside())
        first_closed.set()

    def second():
        first_open.wait(20)
        seen.append(not inside())
        with opened():
            both_open.set()
            first_closed.wait(20)
            seen.append(inside())
        seen.append(not inside())

    threads = [threading.Thread(target=f) for f in (first, second)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert seen == [True] * 5 and not inside()


def test_generators_end_in_another_order_than_they_began(setting):
    opened, inside = setting

    def block():
        with opened():
            yield

    one, two = block(), block()
    next(one), next(two)
    one.close()
    assert inside(), "the second is still open"
    two.close()
    assert not inside()


def test_a_generator_that_ends_in_another_thread(setting):
    opened, inside = setting

    def block():
        with opened():
            yield

    here = block()
    next(here)
    thread = threading.Thread(target=here.close)
    thread.start()
    thread.join()
    assert not inside()


def test_a_block_that_is_never_left(setting):
    """As where Ctrl-C strikes in `__exit__`, before it has done anything."""
    opened, inside = setting
    block = opened()
    block.__enter__()
    assert inside()
    del block
    assert not inside()


def test_tasks_do_not_see_each_other(setting):
    opened, inside = setting
    seen = []

    async def within(steps):
        with opened():
            for _ in range(steps):
                seen.append(inside())
                await asyncio.sleep(0)

    async def outside():
        for _ in range(4):
            seen.append(not inside())
            await asyncio.sleep(0)

    async def all_of_them():
        await asyncio.gather(within(2), outside(), within(3))

    asyncio.run(all_of_them())
    assert len(seen) == 9 and all(seen)


def test_a_task_s_thread_is_inside(setting):
    opened, inside = setting

    async def ask():
        with opened():
            return await asyncio.to_thread(inside)

    assert asyncio.run(ask())


def test_one_object_may_be_entered_again():
    block = nnx.no_grad()
    with block:
        with block:
            assert not nnx.is_grad_enabled()
            with nnx.enable_grad():
                assert nnx.is_grad_enabled()
        assert not nnx.is_grad_enabled()
    assert nnx.is_grad_enabled()
    with block:
        assert not nnx.is_grad_enabled()
    assert nnx.is_grad_enabled()


def test_a_shared_object_closes_the_block_of_its_own_thread():
    block, entered, leave = nnx.no_grad(), threading.Event(), threading.Event()
    seen = []

    def other():
        with block:
            entered.set()
            leave.wait(20)
            seen.append(nnx.is_grad_enabled())

    thread = threading.Thread(target=other)
    with block:
        thread.start()
        entered.wait(20)
    leave.set()
    thread.join()
    assert seen == [False] and nnx.is_grad_enabled()


def test_the_hot_path_has_nothing_to_ask_when_all_are_closed():
    from nnx.autograd import mode

    before = len(mode.blocks)
    with nnx.no_grad():
        assert len(mode.blocks) == before + 1
    assert len(mode.blocks) == before


def test_a_value_that_is_replaced_ends_with_its_block():
    number: Scoped[int] = Scoped("number")
    assert not number.replace(1) and number.get() is None
    with number(1):
        with number(2):
            assert number.replace(5) and number.get() == 5
        assert number.get() == 1
    assert number.get() is None


def test_set_backend_inside_a_block_ends_with_it():
    pytest.importorskip("array_api_strict")
    before = nnx.active_backend()
    with nnx.use_backend("numpy"):
        nnx.set_backend("array_api_strict")
        assert nnx.active_backend().name == "array_api_strict"
    with backends.kernels("portable"):
        nnx.set_backend("array_api_strict")
    assert nnx.active_backend() is before


def test_kernels_are_found_again_when_the_block_is_closed():
    x = np.ones(2)
    home = backends.backend_of(x)
    with backends.override(np.ndarray, Other()) as other:
        assert backends.backend_of(x) is other and not backends._by_type
        with backends.kernels("portable"):
            assert type(backends.backend_of(x)) is backends.Backend
        seen = []
        thread = threading.Thread(target=lambda: seen.append(backends.backend_of(x)))
        thread.start()
        thread.join()
        assert seen == [home] and backends.backend_of(x) is other and not backends._by_type
        assert isinstance(ops.exp(nnx.Tensor(x)).data, np.ndarray)
    assert backends.backend_of(x) is home and backends._by_type[np.ndarray] is home


# ---- above functions ----


@nnx.no_grad()
def off(x):
    """Its text."""
    return x * 2, nnx.is_grad_enabled()


@nnx.no_grad()
def counting(seen):
    try:
        for k in range(3):
            seen.append(nnx.is_grad_enabled())
            got = yield k
            seen.append(nnx.is_grad_enabled())
            if got is not None:
                yield got
    except ValueError:
        seen.append(nnx.is_grad_enabled())
        yield "caught"
    finally:
        seen.append(nnx.is_grad_enabled())
    return "end"


def test_above_a_function():
    x = nnx.tensor([1.0], requires_grad=True)
    y, on = off(x)
    assert not (y.requires_grad or on) and off.__doc__ == "Its text." and off.__name__ == "off"

    @nnx.no_grad()
    def down(n):
        return nnx.is_grad_enabled() or (n > 0 and down(n - 1)) or nnx.is_grad_enabled()

    assert down(3) is False and nnx.is_grad_enabled()


def test_above_a_generator():
    """Its own lines are off the tape, and not those of whoever takes what it yields."""
    seen, taken = [], []
    for k in counting(seen):
        taken.append((k, nnx.is_grad_enabled()))
    assert taken == [(0, True), (1, True), (2, True)] and seen == [False] * 7
    seen.clear()
    steps = counting(seen)
    assert (next(steps), steps.send("sent"), steps.throw(ValueError)) == (0, "sent", "caught")
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == "end" and not any(seen) and nnx.is_grad_enabled()
    seen.clear()
    steps = counting(seen)
    next(steps)
    steps.close()
    assert seen == [False, False]


def test_above_a_coroutine():
    @nnx.no_grad()
    async def wait():
        await asyncio.sleep(0)
        return nnx.is_grad_enabled()

    async def both():
        return await asyncio.gather(wait(), asyncio.sleep(0, nnx.is_grad_enabled()))

    assert asyncio.run(both()) == [False, True]


# ---- the modes of a model ----


def test_modes_that_change_inside_are_as_before_outside():
    inner = nn.Dropout()
    model = nn.Sequential(nn.Linear(2, 2), inner)
    inner.eval()
    with temporary_modes(model):
        model.eval()
        assert not model.training
        inner.train()  # Monte Carlo dropout
        assert inner.training
        with temporary_modes(model):
            inner.eval()
        assert inner.training
        other = nn.Dropout()
        other.eval()
    assert model.training and not inner.training and not other.training


def test_one_thread_evaluates_what_another_trains():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    model.eval()
    model.train()
    seen = []
    with temporary_modes(model):
        model.eval()
        thread = threading.Thread(target=lambda: seen.append(model[1].training))
        thread.start()
        thread.join()
        assert seen == [True] and not model[1].training


def test_a_watcher_hears_nothing_of_other_threads():
    heard = []
    x = nnx.ones((1, 2))
    with watching(lambda module, inputs, output: heard.append(type(module).__name__)):
        thread = threading.Thread(target=MODEL, args=(x,))
        thread.start()
        thread.join()
        assert heard == []
        MODEL(x)
    assert heard == ["Linear", "Dropout", "Sequential"]


def test_reading_is_forbidden_to_one_thread_of_two():
    x = nnx.ones(())
    with nnx.debug.no_transfers():
        seen = []
        thread = threading.Thread(target=lambda: seen.append(x.item()))
        thread.start()
        thread.join()
        assert seen == [1.0]
        with pytest.raises(nnx.debug.HiddenTransfer):
            x.item()
    assert nnx.Tensor.item.__qualname__ == "Tensor.item"
