"""Recurrent layers: one time step written out, and how the gradient flows back through two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import nn
from ..arrays import Named
from ..expression import Expr, Num, call, element, largest, total
from ..writer import Index, Writer
from .linear import shape


class Steps:
    """A layer of one direction over a sequence: its numbers in float64, time first.

    What is between input and output no layer shows, so it is computed here once more; the outputs
    and gradients made of it are compared with the layer's.

    Args:
        w: the writer whose layer it is.
    """

    def __init__(self, w: Writer) -> None:
        self.w, m = w, w.measured
        self.layer: Any = m.layer
        self.first = bool(self.layer.batch_first)
        self.alone = np.ndim(m.inputs[0]) == 2
        self.x = self.time_first(m.inputs[0])
        self.y, self.g = self.time_first(m.y), self.time_first(m.upstream)
        self.steps, self.rows, self.features = self.x.shape
        self.units = int(self.layer.hidden_size)
        self.w_ih, self.w_hh = m.parameters["weight_ih_l0"], m.parameters["weight_hh_l0"]
        none = np.zeros(len(self.w_ih))
        self.b_ih = m.parameters.get("bias_ih_l0", none)
        self.b_hh = m.parameters.get("bias_hh_l0", none)
        state = m.inputs[1] if len(m.inputs) > 1 else None
        given = state if isinstance(state, tuple) else (state, None)
        self.h0, self.c0 = (
            np.zeros((self.rows, self.units)) if a is None else a.reshape(self.rows, self.units)
            for a in given
        )
        self.before = np.concatenate([self.h0[None], self.y[:-1]])  # h[t-1]
        self.error = 4 * m.eps * (1 + np.abs(self.x).max()) * np.sqrt(self.features + self.units)

    def time_first(self, a: Any) -> np.ndarray:
        """(T, N, ...) of what the layer takes or gives."""
        given: np.ndarray = np.asarray(a)
        if self.alone:
            return given[:, None, :]
        return np.swapaxes(given, 0, 1) if self.first else given

    def layers_index(self, at: Index) -> Index:
        """The layer's own index of what is (t, n, ...) here."""
        t, n, *rest = at
        if self.alone:
            return (t, *rest)
        return (n, t, *rest) if self.first else (t, n, *rest)

    def index(self, at: Index) -> Index:
        """(t, n, ...) of the layer's own index."""
        if self.alone:
            return (at[0], 0, *at[1:])
        return (at[1], at[0], *at[2:]) if self.first else at

    def named(self, name: str, values: np.ndarray, given: bool = False) -> Named:
        """Numbers by (t, n, unit), with what rounding may have done to them."""
        errors = None if given else np.full(values.shape, self.error) * (1 + np.abs(values))
        return Named(name, values, errors)

    def chosen(self) -> Index:
        """The (t, n, unit) that is spelled out: by default of the second step."""
        if "y" in self.w.at:
            return self.index(self.w.chosen("y", self.w.measured.y))
        at = (min(1, self.steps - 1), 0, 0)
        self.w.at["y"] = self.layers_index(at)
        return at

    # ---- sums that all of them have ----

    def leaf_h(self, t: int, n: int, k: int) -> Num:
        """h[t, n, k], the layer's own output; before the first step what was given."""
        if t < 0:
            return Num(self.h0[n, k], name=element("h0", (n, k)))
        value = float(self.y[t, n, k])
        return Num(value, self.w.measured.eps * abs(value), element("h", (t, n, k)))

    def from_x(self, t: int, n: int, row: int) -> list[Expr]:
        """W_ih x[t] + b_ih of a row of the weights."""
        x, weight = Named("x", self.x), Named("W_ih", self.w_ih)
        terms: list[Expr] = [weight[row, d] * x[t, n, d] for d in range(self.features)]
        return [*terms, Named("b_ih", self.b_ih)[row]] if self.layer.bias else terms

    def from_h(self, t: int, n: int, row: int) -> list[Expr]:
        """W_hh h[t-1] + b_hh."""
        weight = Named("W_hh", self.w_hh)
        terms: list[Expr] = [weight[row, k] * self.leaf_h(t - 1, n, k) for k in range(self.units)]
        return [*terms, Named("b_hh", self.b_hh)[row]] if self.layer.bias else terms

    def start(self) -> None:
        """The forward heading and what is given."""
        w = self.w
        w.say("recurrent_index")
        w.forward(
            Named("x", self.x),
            Named("W_ih", self.w_ih),
            Named("W_hh", self.w_hh),
            *([Named("b_ih", self.b_ih), Named("b_hh", self.b_hh)] if self.layer.bias else []),
        )

    def finish(
        self,
        dz: np.ndarray,
        du: np.ndarray,
        source: str,
        to_h0: Callable[[int, int], Expr] | None = None,
        last: np.ndarray | None = None,
    ) -> None:
        """The gradients of x and of the weights, once those of all sums are known.

        Args:
            dz: of W_ih x + b_ih, (T, N, rows).
            du: of W_hh h + b_hh.
            source: where the formulas stand.
            to_h0: what the first step hands back to unit k of sequence n.
            last: (T, N, units): what the last rows of W_hh were multiplied by; None: like all
                others, by the state before the step.
        """
        w, m = self.w, self.w.measured
        z, u, x = self.named("δz", dz), self.named("δu", du), Named("x", self.x)
        weight = Named("W_ih", self.w_ih)
        every = list(np.ndindex(self.steps, self.rows))
        same = "δz" if np.array_equal(dz, du) else "δu"
        u.name = same
        w.say("recurrent_shared")
        if 0 in m.gradients:
            w.derive(
                "dx",
                m.gradients[0],
                lambda at: total(
                    [weight[r, at[-1]] * z[*self.index(at)[:2], r] for r in range(dz.shape[2])]
                ),
                "dx[t] = W_ihᵀ δz[t]",
                f"-> {shape(m.gradients[0])}",
                source,
                key=0,
            )
        w.derive(
            "dW_ih",
            m.gradients["weight_ih_l0"],
            lambda at: total([z[t, n, at[0]] * x[t, n, at[1]] for t, n in every]),
            "dW_ih = Σ_t δz[t] x[t]ᵀ",
            f"-> {shape(self.w_ih)}",
            source,
            key="weight_ih_l0",
        )

        def dw_hh(at: Index) -> Expr:
            row, k = at
            terms: list[Expr] = []
            before = self.before
            h = before if last is None or row < len(self.w_hh) - self.units else last
            for t, n in every:
                plain = h is before or np.array_equal(h[t, n], before[t, n])
                value = float(h[t, n, k])
                leaf = self.leaf_h(t - 1, n, k) if plain else Num(
                    value, self.error * (1 + abs(value)), element("(r h)", (t - 1, n, k))
                )  # fmt: skip
                terms.append(u[t, n, row] * leaf)
            return total(terms)

        w.derive(
            "dW_hh",
            m.gradients["weight_hh_l0"],
            dw_hh,
            f"dW_hh = Σ_t {same}[t] h[t-1]ᵀ",
            f"-> {shape(self.w_hh)}",
            source,
            key="weight_hh_l0",
        )
        checked = [("dx", 0, "x"), ("dW_ih", "weight_ih_l0", "W_ih")]
        checked += [("dW_hh", "weight_hh_l0", "W_hh")]
        if self.layer.bias:
            for name, of in (("b_ih", z), ("b_hh", u)):
                w.derive(
                    f"d{name}",
                    m.gradients[f"bias{name[1:]}_l0"],
                    lambda at, of=of: total([of[t, n, at[0]] for t, n in every]),  # type: ignore[misc]
                    f"d{name} = Σ_t {of.name}[t]",
                    f"-> {shape(self.b_ih)}",
                    source,
                    key=f"bias{name[1:]}_l0",
                )
            checked += [("db_ih", "bias_ih_l0", "b_ih")]
        if 1 in m.gradients and to_h0 is not None:
            w.derive(
                "dh0",
                m.gradients[1],
                lambda at: to_h0(at[1] if len(at) == 3 else 0, at[-1]),
                w.words("to_h0"),
                f"-> {shape(m.gradients[1])}",
                source,
                key=1,
            )
            checked += [("dh0", 1, "h0")]
        w.check(checked)  # type: ignore[arg-type]

    def back(self, n: int, j: int, dh: np.ndarray, du: np.ndarray, extra: Any = None) -> None:
        """How the state's gradient of the last step but one is made."""
        t = self.steps - 2
        g, u = self.named("g", self.g, given=True), self.named("δz", du)
        u.name = "δu" if isinstance(self.layer, nn.GRU) else "δz"
        weight = Named("W_hh", self.w_hh)
        terms: list[Expr] = [g[t, n, j]]
        terms += [weight[r, j] * u[t + 1, n, r] for r in range(du.shape[2])]
        if extra is not None:
            terms += extra
        self.w.value(element("δh", (t, n, j)), total(terms), float(dh[t, n, j]))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def rnn(w: Writer) -> None:
    """h[t] = f(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh)."""
    s = Steps(w)
    m, layer = w.measured, s.layer
    relu = layer.nonlinearity == "relu"
    name = "relu" if relu else "tanh"
    source = "Xu 7.1-7.3; nnx.ops.recurrent.rnn.RNN"
    s.start()
    s.chosen()

    def h(at: Index) -> Expr:
        t, n, j = s.index(at)
        inner = total([*s.from_x(t, n, j), *s.from_h(t, n, j)])
        if relu:
            return largest(inner, 0.0)
        return call("tanh", inner)

    formula = f"h[t] = {name}(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh)"
    if not layer.bias:
        formula = f"h[t] = {name}(W_ih x[t] + W_hh h[t-1])"
    w.derive("y", m.y, h, f"y[t] = {formula}", f"{shape(s.x)} -> {shape(s.y)}", source)

    slope = (s.y > 0).astype(float) if relu else 1 - s.y**2
    dz, dh = np.zeros(s.y.shape), np.zeros(s.y.shape)
    carried = np.zeros((s.rows, s.units))
    for t in reversed(range(s.steps)):
        dh[t] = s.g[t] + carried
        dz[t] = dh[t] * slope[t]
        carried = dz[t] @ s.w_hh

    w.backward()
    n, j = s.chosen()[1:]
    w.say("recurrent_backward")
    w.formula("δh[t] = g[t] + W_hhᵀ δz[t+1]", source="Xu 7.11")
    prime = "[h[t] > 0]" if relu else "(1 - h[t]²)"
    w.formula(f"δz[t] = δh[t] {prime}", source="Xu 7.7, 7.10")
    g, of_h = s.named("g", s.g, given=True), s.named("δh", dh)
    for t in range(s.steps - 1, max(-1, s.steps - 3), -1):
        w.say("recurrent_step", t=t)
        if t == s.steps - 1:
            w.value(element("δh", (t, n, j)), g[t, n, j])
        else:
            s.back(n, j, dh, dz)
        here = s.leaf_h(t, n, j)
        factor: Expr = Num(slope[t, n, j]) if relu else 1.0 - call("square", here)
        w.value(element("δz", (t, n, j)), of_h[t, n, j] * factor, float(dz[t, n, j]))

    def to_h0(n: int, k: int) -> Expr:
        weight, of_z = Named("W_hh", s.w_hh), s.named("δz", dz)
        return total([weight[r, k] * of_z[0, n, r] for r in range(s.units)])

    s.finish(dz, dz, "Xu 7.12-7.17", to_h0)


def one_layer(layer: Any, inputs: list[Any]) -> bool:
    """Whether it is one layer of one direction, over whole sequences, from a plain state."""
    plain = layer.num_layers == 1 and not layer.bidirectional and not layer.proj_size
    states = len(inputs) == 1 or (len(inputs) == 2 and isinstance(inputs[1], np.ndarray | tuple))
    return bool(plain and states and isinstance(inputs[0], np.ndarray))
