"""The page on the standard says what the code is; dtypes, creation, and what else has its names."""

from __future__ import annotations

import inspect
import math
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

import nnx
from nnx import ops

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("array_api_strict")
    spec = spec_from_file_location("array_api_page", DOCS / "array_api.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_says(script):
    """Where this fails: python docs/array_api.py."""
    text = script.PAGE.read_text(encoding="utf-8")
    if f"Version {script.strict.__array_api_version__}," not in text:
        pytest.skip("the page is of another version of the standard")
    assert text == script.page()


def test_a_name_that_goes_is_missed(script, monkeypatch):
    monkeypatch.delattr(nnx.linalg, "solve")
    with pytest.raises(KeyError, match="solve"):  # no reason is given for it
        script.page()


def test_gradients_are_tried(script):
    """Those of the page are what the operations do, not a list."""
    assert script.gradient(ops.exp) == "yes" and script.gradient(ops.where) == "yes"
    assert script.gradient(ops.floor) == "0" and script.gradient(ops.isnan) == "no"
    assert script.gradient(nnx.linalg.solve) == "yes" and script.gradient(ops.zeros) == ""
    assert script.gradient(lambda x: nnx.Tensor(x.data * 2)) == "no"


def test_every_argument_that_has_no_default_goes_by_its_place(script):
    """So that the standard's calls, which name those after its slash alone, are understood."""
    for names in script.functions().values():
        for name, theirs in names.items():
            mine = script.ours(name)
            if mine is None:
                continue
            places = [p for p in inspect.signature(theirs).parameters.values()
                      if p.kind is inspect.Parameter.POSITIONAL_ONLY]  # fmt: skip
            taken = [p for p in inspect.signature(mine).parameters.values()
                     if p.kind is not inspect.Parameter.KEYWORD_ONLY]  # fmt: skip
            assert len(taken) >= len(places), name


# ---- dtypes and constants ----


def test_dtypes_are_names(backend):
    x = backend.tensor(np.ones(2, "f4"))
    if not backend.kind.startswith("strict"):  # whose dtypes compare with their own kind alone
        assert x.dtype == nnx.float32 and nnx.float32 == x.dtype and x.dtype != nnx.float64
    assert nnx.float32 == "float32" and hash(nnx.float32) == hash("float32")
    assert x.astype(nnx.int64).dtype == backend.xp.int64
    assert nnx.zeros(2, dtype=nnx.bool).tolist() == [False, False]
    assert nnx.newaxis is None and (nnx.pi, nnx.e, nnx.inf) == (math.pi, math.e, math.inf)
    assert math.isnan(nnx.nan)


def test_limits_of_dtypes(backend):
    x = backend.tensor(np.ones(2, "f4"))
    for given in (x, "float32", nnx.float32, x.dtype):
        assert float(nnx.finfo(given).eps) == 2.0**-23 and nnx.finfo(given).bits == 32
    assert nnx.iinfo("int8").max == 127
    with pytest.raises(TypeError, match="finfo: a floating-point dtype is wanted, not int64"):
        nnx.finfo("int64")
    with pytest.raises(TypeError, match="iinfo: a dtype of integers is wanted, not float32"):
        nnx.iinfo(x)


def test_kinds_of_dtypes(backend):
    assert nnx.isdtype("float32", "real floating") and nnx.isdtype(backend.xp.int8, "integral")
    assert nnx.isdtype("int64", ("bool", nnx.int64)) and not nnx.isdtype("int64", "bool")
    assert nnx.isdtype("bool", "bool") and not nnx.isdtype("uint8", "signed integer")
    with pytest.raises(ValueError, match="isdtype: a kind is a dtype or one of"):
        nnx.isdtype("int64", "whole")
    assert nnx.can_cast("int32", "int64") and not nnx.can_cast("int64", "int32")
    assert nnx.can_cast(backend.tensor(np.ones(1, "i4")), "int64")


def test_the_dtype_of_a_result_is_that_of_the_operation(backend):
    kinds = ["float32", "int64", "int32", "bool", "uint8"] + ["float64"] * backend.float64
    for a in kinds:
        for b in [*kinds, 2, 2.0]:
            x = backend.tensor(np.ones(2, a))
            y = backend.tensor(np.ones(2, b)) if isinstance(b, str) else b
            if "bool" in (a, b) and not {a, b} & {"float32", "float64"}:
                continue  # the standard has no rule
            known = nnx.result_type(x, y if not isinstance(b, str) else b)
            assert known == (x * y).dtype, (a, b)
    with pytest.raises(TypeError, match="result_type"):
        nnx.result_type(1, 2.0)


# ---- creation ----


def test_arrays_that_are_made(backend):
    np.testing.assert_array_equal(backend.to_numpy(nnx.eye(3, 4, k=-1)), np.eye(3, 4, -1))
    y = nnx.linspace(0, 1, 4, endpoint=False)
    np.testing.assert_array_equal(backend.to_numpy(y), [0, 0.25, 0.5, 0.75])
    assert nnx.empty((2, 3), "int64").shape == (2, 3)
    x = backend.tensor(np.ones((2, 3), "i4"))
    assert nnx.empty_like(x).dtype == x.dtype and nnx.empty_like(x, "float32").shape == (2, 3)


def test_a_device_is_a_backend_or_the_librarys():
    here = nnx.ones(2)
    for device in (None, "cpu", "numpy", here.device):
        assert type(nnx.zeros(2, device=device).data) is np.ndarray
    for make in (
        lambda d: nnx.full(2, 1, device=d),
        lambda d: nnx.arange(3, device=d),
        lambda d: nnx.eye(2, device=d),
        lambda d: nnx.linspace(0, 1, 2, device=d),
        lambda d: nnx.empty(2, device=d),
        lambda d: nnx.asarray([1.0], device=d),
    ):
        assert make("numpy").device == "cpu"
        with pytest.raises(ValueError, match=r'device .cuda:0.: .*"numpy" or "cupy"'):
            make("cuda:0")
    with pytest.raises(ValueError, match="numpy:gpu"):
        nnx.ones(2, device="numpy:gpu")
    assert here.to_device("cpu") is here and here.to_device("numpy") is here


def test_asarray(backend):
    a = backend.asarray(np.asarray([1.0, 2.0], "f4"))
    x = nnx.asarray(a)
    assert x.data is a and nnx.asarray(x) is x and nnx.asarray(x, "float32") is x
    copied = nnx.asarray(x, copy=True)
    assert copied.data is not a and backend.to_numpy(copied).tolist() == [1, 2]
    assert nnx.asarray(x, dtype="int64").dtype == backend.xp.int64
    assert type(nnx.asarray([1, 2]).data) is type(a)
    for call in (lambda: nnx.asarray([1], copy=False), lambda: nnx.asarray(x, "int64", copy=False)):
        with pytest.raises(ValueError, match="asarray"):
            call()


# ---- arguments of the standard ----


def test_sums_and_products_in_another_dtype(backend):
    x = backend.tensor(np.asarray([[100, 100], [3, 4]], "uint8"))
    for name in ("sum", "prod"):
        y = getattr(ops, name)(x, axis=1, dtype="float32")
        assert y.dtype == backend.xp.float32
        np.testing.assert_array_equal(
            backend.to_numpy(y), getattr(np, name)([[100, 100], [3, 4]], 1)
        )
    assert float(ops.trace(x, dtype="float32")) == 104
    assert ops.argsort(x, stable=False).shape == x.shape


def test_repeat_as_numpy(backend):
    a = np.arange(6.0).reshape(2, 3)
    x = backend.tensor(a, "f4")
    for repeats, axis in ((2, None), ([1, 0, 2], 1), ([2], 0), (np.int64(3), 1), (0, 0)):
        y = ops.repeat(x, repeats, axis)
        np.testing.assert_array_equal(backend.to_numpy(y), np.repeat(a, repeats, axis))
    y = ops.repeat(x, backend.tensor([3, 1]), axis=0)
    np.testing.assert_array_equal(backend.to_numpy(y), np.repeat(a, [3, 1], 0))
    with pytest.raises(ValueError, match=r"one for each of the 3 slices.*repeats \(2,\)"):
        ops.repeat(x, [1, 2], axis=1)


def test_nothing_is_repeated_less_than_never():
    for repeats in ([1, -2], -1):
        with pytest.raises(ValueError, match="negative"):
            ops.repeat(nnx.ones(2), repeats, axis=0)


def test_moveaxis_as_numpy(backend):
    x = backend.tensor(np.zeros((2, 3, 4, 5), "f4"))
    for source, destination in ((0, -1), ((0, 1), (-1, 0)), ((3, 0), (1, 2)), ((), ())):
        expected = np.moveaxis(np.zeros((2, 3, 4, 5)), source, destination).shape
        assert ops.moveaxis(x, source, destination).shape == expected
    with pytest.raises(ValueError, match="as many destinations"):
        ops.moveaxis(x, (0, 1), 2)
