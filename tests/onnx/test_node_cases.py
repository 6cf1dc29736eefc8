"""ONNX's own cases for its operators, all variants of their attributes, run by `nnx.onnx.load`."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import nnx

onnx = pytest.importorskip("onnx")


@cache
def cases() -> list[Any]:
    """What the package onnx tests runtimes with."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return list(collect_testcases(None))
        except TypeError:  # an older onnx
            return list(collect_testcases())


def arrays_of(values: Any) -> list[np.ndarray] | None:
    """The inputs or outputs of a case as arrays; None where one is of a dtype that NumPy has not,
    a sequence, or of texts."""
    found = []
    for value in values:
        if isinstance(value, onnx.TensorProto):
            value = onnx.numpy_helper.to_array(value)
        if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in "biuf":
            return None
        if value.dtype.isbuiltin != 1:  # of a package beside NumPy
            return None
        found.append(np.asarray(value))
    return found


def outcome(case: Any, path: Any, library: str = "numpy") -> tuple[str, str]:
    """ "passed", "refused" and why, or "wrong" and what."""
    path.write_bytes(case.model.SerializeToString())
    try:
        model = nnx.onnx.load(path)
        for given, wanted in case.data_sets:
            inputs, outputs = arrays_of(given), arrays_of(wanted)
            if inputs is None or outputs is None:
                return "refused", "inputs of a dtype that NumPy has not, sequences, texts"
            with np.errstate(all="ignore"):
                made = model(*[nnx.Tensor(a).to(library) for a in inputs])
            made = made if isinstance(made, tuple) else (made,)
            for y, e in zip(made, outputs, strict=True):
                y = y.detach().to("numpy").numpy()
                assert y.dtype == e.dtype and y.shape == e.shape, f"{y.dtype} {y.shape}"
                np.testing.assert_allclose(y, e, rtol=case.rtol, atol=case.atol)
    except nnx.onnx.LoadError as error:
        return "refused", str(error)
    except Exception as error:  # whatever it is, it is counted, and shown
        return "wrong", f"{case.name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return "passed", ""


def test_all_pass_but_those_that_are_refused(tmp_path):
    """A file either computes what ONNX says, or is refused with a reason."""
    found = [outcome(case, tmp_path / "case.onnx") for case in cases()]
    count = Counter(kind for kind, _ in found)
    assert not [why for kind, why in found if kind == "wrong"]
    reasons = [why for kind, why in found if kind == "refused"]
    assert all(why.startswith(("onnx.load: ", "inputs of")) for why in reasons)
    assert count["passed"] >= 1000, count
    assert count["passed"] > 2 * count["refused"], Counter(reasons).most_common(40)


@pytest.mark.parametrize(
    "op",
    "BatchNormalization Pad Split Einsum Conv ConvTranspose MaxPool AveragePool LSTM GRU RNN Gemm "
    "MatMul LayerNormalization Softmax Reshape Slice Gather ReduceMean Clip Resize".split(),
)
def test_operators_of_networks_have_all_their_cases(tmp_path, op):
    """Nothing of what networks are made of is refused, on a library that is strict either."""
    own = [
        case
        for case in cases()
        if {node.op_type for node in case.model.graph.node} == {op}
        and arrays_of(case.data_sets[0][0]) is not None
    ]
    assert own
    for library in ("numpy", "array_api_strict"):
        if find_spec(library) is not None:
            for case in own:
                kind, why = outcome(case, tmp_path / "case.onnx", library)
                assert kind == "passed", (case.name, library, why)
