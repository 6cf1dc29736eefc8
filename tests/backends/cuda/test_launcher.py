"""Descriptions, and what `launch` does before a kernel runs.  No compiler is needed here."""

from __future__ import annotations

import re

import numpy as np
import pytest

from nnx.backends.cuda.kernel import parse_argument
from nnx.backends.cuda.launcher import (
    LARGEST_BLOCK,
    LARGEST_GRID,
    REGISTRY,
    CompileError,
    Kernel,
    Modules,
    Plan,
    ceil_div,
    launch,
    per_element,
    register,
)
from nnx.backends.cuda.planes import by_plane


class Calls:
    """A module factory that writes down what it is asked for."""

    def __init__(self):
        self.compiled, self.launched = [], []

    def __call__(self, kernel, options):
        self.compiled.append((kernel.name, options))
        return lambda grid, block, args, *, shared_mem=0: self.launched.append(
            (grid, block, args, shared_mem)
        )


@pytest.fixture
def calls():
    return Calls()


@pytest.fixture
def modules(calls):
    return Modules(calls, np.ndarray)


ADD = Kernel(
    "add.cu",
    "add",
    "x:in labels:in:i64 bias:in? y:out total:inout scale:real rate:f32 n:i32 seed:u64",
    lambda n, itemsize: Plan((ceil_div(n, 32),), (32,), n * itemsize),
)


def values(dtype="float32", **changes):
    given = {
        "x": np.ones(40, dtype),
        "labels": np.zeros(40, np.int64),
        "bias": None,
        "y": np.empty(40, dtype),
        "total": np.zeros(1, dtype),
        "scale": 0.5,
        "rate": 0.1,
        "n": 40,
        "seed": 2**63,
    }
    return given | changes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_launch_passes_the_widths_that_are_declared(modules, calls, dtype):
    given = values(dtype)
    launch(ADD, modules, **given)
    ((grid, block, args, shared),) = calls.launched
    assert (grid, block, shared) == ((2,), (32,), 40 * np.dtype(dtype).itemsize)
    assert args[0] is given["x"] and args[3] is given["y"] and args[2] is None
    scalars = [(type(a), a) for a in args[5:]]
    real = np.dtype(dtype).type
    assert scalars == [
        (real, real(0.5)),
        (np.float32, np.float32(0.1)),
        (np.int32, 40),
        (np.uint64, 2**63),
    ]


def test_real_is_a_macro_and_each_is_compiled_once(modules, calls):
    for dtype in ("float32", "float64", "float32"):
        launch(ADD, modules, **values(dtype))
    assert calls.compiled == [
        ("add", ("--std=c++17", "-DREAL=float")),
        ("add", ("--std=c++17", "-DREAL=double")),
    ]
    assert len(calls.launched) == 3


def test_nothing_is_compiled_before_the_first_launch(modules, calls):
    assert calls.compiled == []


def test_inputs_are_made_contiguous(modules, calls):
    wide = np.arange(80, dtype="float32")
    launch(ADD, modules, **values(x=wide[::2]))
    passed = calls.launched[0][2][0]
    assert passed.flags.c_contiguous
    np.testing.assert_array_equal(passed, wide[::2])


@pytest.mark.parametrize("name", ["y", "total"])
def test_outputs_must_be_contiguous(modules, name):
    message = rf"add: {name} is written in place, so it must be C-contiguous; got .*strides \(8,\)"
    with pytest.raises(ValueError, match=message):
        launch(ADD, modules, **values(**{name: np.zeros(80, "float32")[::2]}))


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"x": np.ones(40, "int32")}, "add: x must be float32 or float64, got .*int32 and shape"),
        ({"y": np.ones(40, "float64")}, "add: y must be a numpy.ndarray of float32, got .*float64"),
        ({"bias": np.ones(40)}, "add: bias must be a numpy.ndarray of float32"),
        ({"labels": np.zeros(40, "int32")}, "add: labels must be a numpy.ndarray of int64"),
        ({"y": None}, "add: y must be a numpy.ndarray of float32, got builtins.NoneType"),
        ({"labels": [0] * 40}, "add: labels must be a numpy.ndarray of int64, got builtins.list"),
        ({"n": 1.5}, "add: n must fit int32, got 1.5"),
        ({"scale": "fast"}, "add: scale must fit float32, got 'fast'"),
    ],
)
def test_wrong_arguments(modules, calls, changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        launch(ADD, modules, **values(**changes))
    assert not calls.launched


@pytest.mark.parametrize("changes", [{"n": 2**31}, {"n": -(2**31) - 1}, {"seed": -1}])
def test_numbers_that_do_not_fit(modules, changes):
    (name,) = changes
    with pytest.raises(OverflowError, match=f"add: {name} must fit u?int"):
        launch(ADD, modules, **values(**changes))


def test_names_must_match(modules):
    given = values(extra=1)
    del given["x"]
    with pytest.raises(TypeError, match=r"add: arguments missing: \['x'\], unknown: \['extra'\]"):
        launch(ADD, modules, **given)


COPY = Kernel("copy.cu", "copy", "x:in y:out n:i32", lambda n: per_element(n))


def test_empty_grid_launches_nothing(modules, calls):
    launch(COPY, modules, x=np.empty(0, "f4"), y=np.empty(0, "f4"), n=0)
    kernel = Kernel("copy.cu", "copy", "x:in y:out? n:i32", lambda n: Plan((n,), (32,)))
    launch(kernel, modules, x=np.empty(0, "f4"), y=None, n=0)
    assert not calls.compiled and not calls.launched


def test_planes_without_elements_have_an_empty_grid(modules, calls):
    assert 0 in by_plane(3, 0).grid and 0 in by_plane(0, 3).grid


def test_empty_grid_that_leaves_an_output_unwritten(modules):
    with pytest.raises(ValueError, match="copy: the plan launches no block, yet y waits"):
        launch(COPY, modules, x=np.empty(0, "f4"), y=np.empty(3, "f4"), n=0)


@pytest.mark.parametrize(
    "plan,message",
    [
        (Plan((1, 65536), (32,)), "a grid of .* is beyond"),
        (Plan((-1,), (32,)), "a grid of"),
        (Plan((1,), (32, 64)), "is not within 1 to 1024"),
        (Plan((1,), (0,)), "is not within 1 to 1024"),
    ],
)
def test_impossible_plans(modules, plan, message):
    kernel = Kernel("copy.cu", "copy", "x:in y:out n:i32", lambda n: plan)
    with pytest.raises(ValueError, match=f"copy: .*{message}"):
        launch(kernel, modules, x=np.empty(3, "f4"), y=np.empty(3, "f4"), n=3)


def test_numbers_for_the_plan_alone_are_not_passed(modules, calls):
    kernel = Kernel("k.cu", "k", "x:in rows:plan n:i32", lambda rows: Plan((rows,), (32,)))
    launch(kernel, modules, x=np.empty(3, "f4"), rows=5, n=3)
    ((grid, _, args, _),) = calls.launched
    assert grid == (5,) and len(args) == 2


def test_constants_are_compiled_in(modules, calls):
    kernel = Kernel("k.cu", "k", "x:in y:out K:const", lambda K: Plan((K,), (32,)), {"K": (1, 3)})
    arrays = {"x": np.empty(3, "f4"), "y": np.empty(3, "f4")}
    launch(kernel, modules, **arrays, K=3)
    assert calls.compiled == [("k", ("--std=c++17", "-DREAL=float", "-DK=3"))]
    assert calls.launched[0][0] == (3,) and len(calls.launched[0][2]) == 2
    with pytest.raises(ValueError, match=r"k: K is compiled in and must be one of \(1, 3\), got 2"):
        launch(kernel, modules, **arrays, K=2)
    assert len(list(kernel.variants())) == 4


def test_failure_to_compile_shows_kernel_options_and_log():
    def refuse(kernel, options):
        raise RuntimeError("k.cu(3): error: identifier is undefined")

    message = re.escape(
        "could not compile copy of copy.cu with --std=c++17 -DREAL=float:\n"
        "k.cu(3): error: identifier is undefined"
    )
    with pytest.raises(CompileError, match=message):
        launch(COPY, Modules(refuse, np.ndarray), x=np.empty(3, "f4"), y=np.empty(3, "f4"), n=3)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "x:up",
        "x:in:f16",
        "1x:in",
        "n:i32?",
        "n:i32:in",
        "x:out:",
        "K:const:i32",
        "K:const*",
        "K:const?",
    ],
)
def test_descriptions_that_say_nothing(text):
    with pytest.raises(ValueError, match=f"kernel argument {re.escape(repr(text))}"):
        parse_argument(text)


@pytest.mark.parametrize(
    "args,plan,constants,message",
    [
        ("x:in x:out", lambda: Plan((1,), (32,)), {}, "two arguments of the same name"),
        ("x:in y:out", lambda n: per_element(n), {}, r"the plan asks for \['n'\]"),
        ("x:in K:const", lambda: Plan((1,), (32,)), {}, r"const arguments are \['K'\]"),
        ("x:in", lambda: Plan((1,), (32,)), {"K": (1,)}, r"values are listed for \['K'\]"),
    ],
)
def test_descriptions_that_contradict_themselves(args, plan, constants, message):
    with pytest.raises(ValueError, match=f"kernel k: .*{message}"):
        Kernel("k.cu", "k", args, plan, constants)


def test_two_kernels_of_one_name():
    register(Kernel("a.cu", "only_in_this_test", "x:in", lambda: Plan((1,), (32,))))
    try:
        with pytest.raises(ValueError, match="two kernels are called only_in_this_test"):
            register(Kernel("b.cu", "only_in_this_test", "x:in", lambda: Plan((1,), (32,))))
    finally:
        del REGISTRY["only_in_this_test"]


STEP = Kernel(
    "step.cu",
    "step",
    "params:inout* grads:in* maxima:inout*? sizes:i64* n:i32",
    lambda sizes: Plan((sum(sizes),), (32,)),
)


def test_lists_are_passed_by_value(modules, calls):
    """As CuPy wants a structure: an array of one element."""
    params = [np.zeros(3, "f8"), np.zeros((2, 2), "f8")]
    grads = [np.ones(6, "f8")[::2], np.ones((2, 2), "f8")]
    launch(STEP, modules, params=params, grads=grads, maxima=None, sizes=[3, 4], n=2)
    ((grid, _, args, _),) = calls.launched
    assert grid == (7,) and calls.compiled == [("step", ("--std=c++17", "-DREAL=double"))]
    assert [a.size for a in args] == [1] * 5 and [a.nbytes for a in args[:4]] == [512] * 4
    assert args[0]["at"][0, :3].tolist() == [params[0].ctypes.data, params[1].ctypes.data, 0]
    assert args[1].items[0].flags.c_contiguous  # the copy lives as long as the argument
    assert args[1]["at"][0, 0] == args[1].items[0].ctypes.data
    assert not args[2]["at"].any() and args[3]["at"][0, :3].tolist() == [3, 4, 0]


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"params": [np.zeros(3, "f4"), np.zeros(3, "f8")]}, "step: params must be .* of float32"),
        ({"params": [np.zeros(6, "f4")[::2]]}, "step: params is written in place"),
        ({"grads": [None]}, "step: grads must be a numpy.ndarray"),
        ({"sizes": [1.5]}, "step: sizes must fit int64, got 1.5"),
        ({"sizes": [1] * 65}, "step: sizes may list 64 items, got 65"),
        ({"grads": None}, "NoneType"),
    ],
)
def test_wrong_lists(modules, changes, message):
    given = {"params": [np.zeros(3, "f4")], "grads": [np.zeros(3, "f4")]}
    with pytest.raises((TypeError, ValueError), match=message):
        launch(STEP, modules, **(given | {"maxima": None, "sizes": [3], "n": 1} | changes))


def test_addresses_of_the_same_arrays_are_looked_up_once(modules, calls, monkeypatch):
    """And again as soon as one of them is another; nothing is kept alive."""
    import gc

    from nnx.backends.cuda import launcher

    looked, address = [], launcher.address
    monkeypatch.setattr(launcher, "address", lambda a: looked.append(a) or address(a))
    params = [np.ones(3, "float32"), np.ones(4, "float32")]

    def step(arrays):
        looked.clear()
        given = {"params": arrays, "grads": [np.ones(a.size, "float32") for a in arrays]}
        launch(STEP, modules, **given, maxima=None, sizes=[a.size for a in arrays], n=1)
        passed = calls.launched[-1][2][0]
        assert passed["at"][0, : len(arrays)].tolist() == [a.ctypes.data for a in arrays]
        assert all(a is b for a, b in zip(passed.items, arrays, strict=True))
        return len(looked)

    assert (step(params), step(params), step(list(params))) == (4, 2, 2)
    params[1] = np.ones(4, "float32")
    assert (step(params), step(params)) == (4, 2)
    assert step(params[:1]) == 2
    kept = len(launcher._kept)
    calls.launched.clear()
    looked.clear()
    del params[:]
    gc.collect()
    assert len(launcher._kept) == kept - 1


def test_a_full_list_and_one_with_gaps(modules, calls):
    params = [np.ones(1, "f4") for _ in range(64)]
    given = {"params": params, "grads": params, "sizes": [1] * 64, "n": 64}
    for _ in range(2):  # the second finds what was kept of the first
        launch(STEP, modules, **given, maxima=[params[0], None, params[2]])
        passed = calls.launched[-1][2]
        assert passed[0]["at"].all()
        assert passed[2]["at"].astype(bool).sum() == 2 and not passed[2]["at"][0, 1]


def test_empty_list_launches_nothing(modules, calls):
    launch(STEP, modules, params=[], grads=[], maxima=None, sizes=[], n=0)
    assert not calls.launched


def test_the_largest_plan_is_launched(modules, calls):
    plan = Plan((1, LARGEST_GRID[1]), (32, LARGEST_BLOCK // 32))
    kernel = Kernel("copy.cu", "copy", "x:in y:out n:i32", lambda n: plan)
    launch(kernel, modules, x=np.empty(3, "f4"), y=np.empty(3, "f4"), n=3)
    assert len(calls.launched) == 1


def test_planned_changes_the_plan_alone():
    again = ADD.planned(lambda: Plan((7,), (64,)))
    assert again.arguments == ADD.arguments and again.name == "add"
    assert again.plan() == Plan((7,), (64,))


@pytest.mark.parametrize("kind,value", [("u8", 256), ("i8", -129), ("u32", -1), ("i64", 2**63)])
def test_every_width_is_guarded(modules, kind, value):
    kernel = Kernel("k.cu", "k", f"x:in n:{kind}", lambda: Plan((1,), (32,)))
    with pytest.raises(OverflowError, match=f"k: n must fit u?int{kind[1:]}, got {value}"):
        launch(kernel, modules, x=np.empty(1, "f4"), n=value)


def test_subclasses_and_numpy_numbers_are_taken(modules, calls):
    class Own(np.ndarray):
        pass

    x = np.zeros(4, "f4").view(Own)
    launch(COPY, modules, x=x, y=np.empty(4, "f4"), n=np.int64(4))
    args = calls.launched[0][2]
    assert args[0] is x and type(args[2]) is np.int32


HALF = Kernel(
    "linear.cu",  # a source whose arrays may be in float16
    "normalize",
    "x:in mean:out:wide y:out eps:real n:i32",
    lambda n, itemsize: Plan((1,), (32,), n * itemsize),
)


@pytest.mark.parametrize(
    "dtype, wide, options",
    [
        ("float16", "float32", ("-DREAL=float", "-DSTORE=Half")),
        ("float32", "float32", ("-DREAL=float", "-DSTORE=float")),
        ("float64", "float64", ("-DREAL=double", "-DSTORE=double")),
    ],
)
def test_what_is_stored_in_16_bits_is_computed_in_32(calls, modules, dtype, wide, options):
    x, y, mean = (np.ones(4, d) for d in (dtype, dtype, wide))
    launch(HALF, modules, x=x, mean=mean, y=y, eps=1, n=4)
    assert calls.compiled == [("normalize", ("--std=c++17", *options))]
    _, _, args, shared = calls.launched[0]
    assert args[3].dtype == wide and shared == 4 * np.dtype(wide).itemsize
    with pytest.raises(TypeError, match=f"mean must be a numpy.ndarray of {wide}"):
        launch(HALF, modules, x=x, mean=mean.astype("int32"), y=y, eps=1, n=4)


def test_other_sources_take_no_float16(modules):
    with pytest.raises(TypeError, match="x must be float32 or float64"):
        launch(ADD, modules, **values("float16"))
    with pytest.raises(TypeError, match="x must be float16, float32 or float64"):
        launch(HALF, modules, x=np.ones(4, "int8"), mean=None, y=None, eps=1, n=4)
