"""Runs one case and says where nnx and the answer key part."""

from __future__ import annotations

import dis
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

import nnx
from nnx import nn
from nnx.backends import Backend, dtype_name

from .case import Case, Input
from .compare import EPS, UNITS, difference
from .draw import LAYOUTS, lay
from .paths import taking
from .pytorch import torch

REFUSALS = (ValueError, TypeError, IndexError, RuntimeError)
TRIALS = 6  # how often the answer key is asked again with its inputs moved


class Disagreement(AssertionError):
    """nnx and the answer key do not agree, or a promise about memory is broken."""


@dataclass
class Result:
    """What one side made of a case: in host memory, the gradients in the order of the inputs."""

    outputs: list[np.ndarray] = field(default_factory=list)
    gradients: list[np.ndarray | None] = field(default_factory=list)
    refusal: BaseException | None = None


def examine(case: Case, backend: Backend, rng: np.random.Generator) -> str:
    """Try a case on the active backend: "agreed" or "refused".

    Raises:
        Disagreement: the message says what differs.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _examine(case, backend, rng)


def _examine(case: Case, backend: Backend, rng: np.random.Generator) -> str:
    seed = int(rng.integers(2**32))  # of the layouts
    attempt = Attempt(case, backend, seed)
    ours = attempt.run()
    key = AnswerKey(case, attempt)
    native = key.native()
    refusal = native.refusal
    if ours.refusal is not None:
        _require_clear(ours.refusal)
        if refusal is None and not case.ours_may_refuse:
            raise Disagreement(f"refused: {_shown(ours.refusal)}")
        return "refused"
    if refusal is not None:
        if not case.ours_may_accept:
            raise Disagreement(f"accepted, but the answer key refuses: {_shown(refusal)}")
        key.by_torch = False
        native = key.native()
    theirs = key.exact()
    if theirs.refusal is not None:
        raise Disagreement(f"the answer key fails in float64: {_shown(theirs.refusal)}")
    _compare(case, key, ours, theirs, native)
    attempt.require_inputs_unwritten()
    attempt.require_gradients_apart()
    if rng.random() < 0.1:
        _soil_memory()
        again = Attempt(case, backend, seed, attempt.cotangents).run()
        _require_same(ours, again, case.slack * key.largest() if case.cancels else 0.0)
    return "agreed"


# ---- ours ----


class Attempt:
    """One run of a case on nnx, with what is needed to see whether it kept its promises."""

    def __init__(
        self,
        case: Case,
        backend: Backend,
        seed: int,
        cotangents: list[np.ndarray | None] | None = None,
    ) -> None:
        self.case, self.backend, self.rng = case, backend, np.random.default_rng(seed)
        self.cotangents = cotangents  # per output, drawn when the outputs are known
        self.memory: list[tuple[str, np.ndarray, bytes]] = []
        self.tensors = [self._given(k, x) for k, x in enumerate(case.inputs)]

    def _lay(self, what: str, values: np.ndarray, layout: str) -> Any:
        if self.backend.xp is not np:
            return self.backend.from_numpy(values)
        array, whole = lay(values, layout, self.rng)
        self.memory.append((what, whole, whole.tobytes()))
        return array

    def _given(self, k: int, given: Input) -> Any:
        if given.form == "list":
            return given.values.tolist()
        if given.form == "foreign" and self.backend.xp is np:
            return given.values.astype(given.values.dtype.newbyteorder())
        array = self._lay(f"input {k}", given.values, given.layout)
        if given.form != "tensor":
            return array
        if given.parameter:
            return nn.Parameter(array, requires_grad=given.grad)
        return nnx.Tensor(array, requires_grad=given.grad)

    def run(self) -> Result:
        result = Result()
        try:
            outputs = _listed(self.case.ours(*self.tensors))
        except REFUSALS as e:
            result.refusal = e
            return result
        result.outputs = [self._host(y) for y in outputs]
        for k, y in enumerate(outputs):
            if isinstance(y, nnx.Tensor):
                self._require_array(f"output {k}", y.data)
        if self.cotangents is None:
            self.cotangents = [self._cotangent(y) for y in outputs]
        try:
            self._walk_back(outputs)
        except Exception as e:
            raise Disagreement(f"the forward was accepted, backward failed: {_shown(e)}") from e
        for x in self.tensors:
            grad = getattr(x, "grad", None)
            if grad is not None:
                self._require_array("a gradient", grad)
            result.gradients.append(None if grad is None else self._host(grad))
        return result

    def _require_array(self, what: str, x: Any) -> None:
        """Raise unless x is an array of the library under test, and no scalar of NumPy's."""
        if type(x) is not type(self.backend.xp.asarray(self.backend.xp.zeros(()))):
            raise Disagreement(f"{what} is a {type(x).__name__}")

    def _cotangent(self, y: Any) -> np.ndarray | None:
        if not (isinstance(y, nnx.Tensor) and y.requires_grad):
            return None
        g = self.rng.integers(-8, 9, y.shape) / 4  # exact in every dtype
        return np.asarray(g, dtype_name(y.dtype))

    def _walk_back(self, outputs: list[Any]) -> None:
        """Each output's gradient as given, one backward after the other."""
        assert self.cotangents is not None
        pairs = [(y, g) for y, g in zip(outputs, self.cotangents, strict=True) if g is not None]
        for k, (y, g) in enumerate(pairs):
            layout = LAYOUTS[int(self.rng.integers(len(LAYOUTS)))]
            g = g.astype(dtype_name(y.dtype))  # the twin may have computed in float64
            given = self._lay(f"the gradient given to output {k}", g, layout)
            y.backward(given, retain_graph=k + 1 < len(pairs))

    def _host(self, x: Any) -> np.ndarray:
        if isinstance(x, nnx.Tensor):
            x = x.data
        if isinstance(x, bool | int | float | np.generic):
            return np.asarray(x)
        return np.array(self.backend.to_numpy(x))

    def require_inputs_unwritten(self) -> None:
        for what, whole, before in self.memory:
            if whole.tobytes() != before:
                raise Disagreement(f"{what} was written to")

    def require_gradients_apart(self) -> None:
        """No two leaves share one writable gradient, nor one with an array of the caller's."""
        if self.backend.xp is not np:
            return
        own: list[tuple[str, np.ndarray]] = []
        for k, x in enumerate(self.tensors):
            g = getattr(x, "grad", None)
            if g is None or not g.flags.writeable or not g.size:
                continue
            for other, whole in [*own, *[(what, whole) for what, whole, _ in self.memory]]:
                if np.may_share_memory(g, whole) and np.shares_memory(g, whole):
                    raise Disagreement(f"the gradient of input {k} shares memory with {other}")
            own.append((f"the gradient of input {k}", g))


# ---- the answer key ----


class AnswerKey:
    """PyTorch where it is installed and knows the operation, else the portable twin."""

    def __init__(self, case: Case, attempt: Attempt) -> None:
        self.case, self.attempt = case, attempt
        self.values = [x.values for x in case.inputs]
        self.by_torch = case.theirs is not None and torch() is not None

    def native(self) -> Result:
        """The answer in the inputs' own dtypes: who refuses, dtypes, what becomes infinite."""
        return self._torch(self.values, None) if self.by_torch else self._twin(self.values)

    def exact(self, values: Sequence[np.ndarray] | None = None) -> Result:
        """The answer in float64; for other values of the inputs, if given."""
        given = self.values if values is None else values
        wide = [x.astype("float64") if x.dtype.kind == "f" else x for x in given]
        return self._torch(wide, "float64") if self.by_torch else self._twin(wide)

    def largest(self) -> float:
        """The largest finite value among inputs and the outputs' gradients."""
        given = [x for x in self.values if x.dtype.kind == "f"]
        given += [g for g in self.attempt.cotangents or [] if g is not None]
        sizes = [np.abs(x[np.isfinite(x)]).max(initial=0.0) for x in given]
        return float(max(sizes, default=0.0))

    def movement(self, theirs: Result) -> tuple[list[Any], list[Any]]:
        """How far outputs and gradients move when every input moves in its last bits, and, where
        they are small differences of large terms, how far rounding takes the key itself there."""
        rng = np.random.default_rng(0)
        outputs: list[Any] = [0.0] * len(theirs.outputs)
        gradients: list[Any] = [0.0] * len(theirs.gradients)
        for trial in range(TRIALS):
            bit = 2 ** (trial % 3)  # the last one, or the ones before: rounding adds up
            near = [
                x * (1 + rng.choice([-bit, 0, bit], x.shape) * EPS[x.dtype.name])
                if x.dtype.kind == "f"
                else x
                for x in self.values
            ]
            near = [np.asarray(x, old.dtype) for x, old in zip(near, self.values, strict=True)]
            there = self.exact(near)
            if there.refusal is not None:
                continue
            for far, moved, still in (
                (outputs, there.outputs, theirs.outputs),
                (gradients, there.gradients, theirs.gradients),
            ):
                far[:] = [_farther(*three) for three in zip(far, moved, still, strict=True)]
            if self.case.cancels:
                rounded = self._torch(near, None) if self.by_torch else self._twin(near)
                for far, moved, still in (
                    (outputs, rounded.outputs, there.outputs),
                    (gradients, rounded.gradients, there.gradients),
                ):
                    far[:] = [_farther(*three) for three in zip(far, moved, still, strict=True)]
        return outputs, gradients

    def _torch(self, values: Sequence[np.ndarray], dtype: str | None) -> Result:
        t = torch()
        result = Result()
        given = []
        for x, own in zip(values, self.case.inputs, strict=True):
            tensor = t.tensor(np.ascontiguousarray(x) if x.ndim else x)
            given.append(tensor.requires_grad_() if own.grad else tensor)
        try:
            outputs = _listed(self.case.theirs(*given))  # type: ignore[misc]
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as e:
            result.refusal = e
            return result
        result.outputs = [
            y.detach().numpy().copy() if isinstance(y, t.Tensor) else np.asarray(y) for y in outputs
        ]
        total = None
        for y, g in zip(outputs, self.attempt.cotangents or [], strict=False):
            if g is not None and isinstance(y, t.Tensor) and y.requires_grad:
                if tuple(y.shape) != g.shape:
                    continue  # reported by the comparison of the outputs
                part = (y * t.tensor(g).to(y.dtype)).sum()
                total = part if total is None else total + part
        if total is not None and total.requires_grad:
            try:
                total.backward()
            except RuntimeError as e:  # of what the forward accepts
                result.refusal = e
                return result
        result.gradients = [None if x.grad is None else x.grad.numpy().copy() for x in given]
        return result

    def _twin(self, values: Sequence[np.ndarray]) -> Result:
        inputs = [
            Input(v, x.grad, "C", x.parameter, "array" if x.form != "tensor" else x.form)
            for v, x in zip(values, self.case.inputs, strict=True)
        ]
        case = Case(self.case.says, inputs, self.case.ours)
        cotangents = self.attempt.cotangents
        if cotangents is not None:
            cotangents = [None if g is None else g.astype("float64") for g in cotangents]
        with taking("portable") as backend:
            return Attempt(case, backend, 0, cotangents).run()


def _farther(before: Any, there: Any, here: Any) -> Any:
    if there is None or here is None or there.dtype.kind != "f":
        return before
    moved = np.abs(there - here)
    return np.maximum(before, np.where(np.isnan(moved), 0, moved))


# ---- the comparison ----


def _compare(case: Case, key: AnswerKey, ours: Result, theirs: Result, native: Result) -> None:
    a, e = len(ours.outputs), len(theirs.outputs)
    if a != e:
        raise Disagreement(f"{a} outputs and not {e}")
    rows = [
        (f"output {k}", "output", k, a, e, native.outputs[k])
        for k, (a, e) in enumerate(zip(ours.outputs, theirs.outputs, strict=True))
    ]
    for k, given in enumerate(case.inputs):
        if not given.grad:
            continue
        mine, right = ours.gradients[k], theirs.gradients[k]
        own = native.gradients[k]
        if mine is None and right is None:
            continue
        if mine is None:
            if np.any(right != 0):
                raise Disagreement(f"input {k} has no gradient")
            continue
        if mine.dtype != given.values.dtype:
            raise Disagreement(f"the gradient of input {k} is {mine.dtype}: {given}")
        right = np.zeros(mine.shape) if right is None else right
        own = np.zeros_like(mine) if own is None else own
        rows.append((f"the gradient of input {k}", "gradient", k, mine, right, own))
    largest = key.largest() if case.cancels else None
    moved: tuple[list[Any], list[Any]] | None = None
    for what, kind, k, mine, right, own in rows:
        if mine.shape != right.shape:
            raise Disagreement(f"{what} has shape {mine.shape} and not {right.shape}")
        if case.same_dtype and mine.dtype != own.dtype:
            raise Disagreement(f"{what} is {mine.dtype} and not {own.dtype}")
        relative = case.relative and kind == "output"
        wrong = difference(mine, right, None, own, relative, largest, case.slack)
        if wrong and not case.exact:
            moved = moved or key.movement(theirs)
            far = moved[0 if kind == "output" else 1][k]
            far = np.broadcast_to(far, right.shape)
            wrong = difference(mine, right, far, own, relative, largest, case.slack)
        if wrong:
            raise Disagreement(f"{what}: {wrong}")


def _soil_memory() -> None:
    """Leave NaN where the next arrays will be made: who reads what he did not write is seen."""
    for n in (*range(1, 400, 7), 1000, 3000, 10_000):
        np.full(n, np.nan, "float32")


def _require_same(first: Result, second: Result, largest: float) -> None:
    for a, b in zip(
        [*first.outputs, *first.gradients], [*second.outputs, *second.gradients], strict=True
    ):
        if a is None or b is None:
            continue
        # sums may be taken in another order where memory begins at another address
        size = 8 * np.abs(a[np.isfinite(a)]).max(initial=0) + UNITS * largest
        near = EPS.get(a.dtype.name, 0) * size
        if not np.allclose(a, b, rtol=0, atol=near, equal_nan=a.dtype.kind == "f"):
            raise Disagreement("a second run gives other numbers")


def _require_clear(error: BaseException) -> None:
    """A refusal is raised by a line of nnx, not by something inside that stumbled."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    code = trace.tb_frame.f_code
    said = any(
        i.offset == trace.tb_lasti and i.opname == "RAISE_VARARGS"
        for i in dis.get_instructions(code)
    )
    if not said or "/nnx/" not in code.co_filename.replace("\\", "/"):
        raise Disagreement(f"refused in words that are not nnx's own: {_shown(error)}")


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _listed(ys: Any) -> list[Any]:
    flat: list[Any] = []
    for y in ys if isinstance(ys, tuple | list) else [ys]:
        flat.extend(_listed(y) if isinstance(y, tuple | list) else [y])
    return flat
