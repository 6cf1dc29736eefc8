"""Recurrent layers with gates: LSTM and GRU."""

from __future__ import annotations

import numpy as np

from ..arrays import Named
from ..expression import Expr, Num, call, element, total
from ..writer import Index, Writer
from .linear import shape
from .recurrent import Steps, sigmoid


def lstm(w: Writer) -> None:
    """c[t] = f c[t-1] + i c̃, h[t] = o tanh(c[t])."""
    s = Steps(w)
    m, units = w.measured, s.units
    z = s.x @ s.w_ih.T + s.b_ih + s.before @ s.w_hh.T + s.b_hh
    parts = np.split(z, 4, axis=2)
    i, f, a, o = sigmoid(parts[0]), sigmoid(parts[1]), np.tanh(parts[2]), sigmoid(parts[3])
    c = np.zeros(i.shape)
    for t in range(s.steps):
        c[t] = f[t] * (c[t - 1] if t else s.c0) + i[t] * a[t]
    c_before = np.concatenate([s.c0[None], c[:-1]])
    gates = {"i": i, "f": f, "c̃": a, "o": o}
    names = {name: s.named(name, value) for name, value in gates.items()}
    cell, cell_before = s.named("c", c), s.named("c", c_before)
    source = "Xu 8.2-8.7; nnx.ops.recurrent.lstm.LSTM"

    s.start()
    t, n, j = s.chosen()
    w.say("lstm_gates")
    for k, name in enumerate(names):
        kind = "tanh" if name == "c̃" else "sigmoid"
        sign = "tanh" if name == "c̃" else "σ"
        w.formula(f"{name}[t] = {sign}(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh)", f"{k} H + j")
        row = k * units + j
        inner = total([*s.from_x(t, n, row), *s.from_h(t, n, row)])
        w.value(element(name, (t, n, j)), call(kind, inner), float(gates[name][t, n, j]))

    def c_at(t: int, n: int, j: int) -> Expr:
        old = Num(
            *_pair(cell_before, (t, n, j)),
            element("c", (t - 1, n, j)) if t else element("c0", (n, j)),
        )
        here = (t, n, j)
        return names["f"][here] * old + names["i"][here] * names["c̃"][here]

    w.formula("c[t] = f[t] c[t-1] + i[t] c̃[t]", source="Xu 8.6")
    w.value(element("c", (t, n, j)), c_at(t, n, j), float(c[t, n, j]))
    w.derive(
        "y",
        m.y,
        lambda at: names["o"][s.index(at)] * call("tanh", cell[s.index(at)]),
        "y[t] = h[t] = o[t] tanh(c[t])",
        f"{shape(s.x)} -> {shape(s.y)}",
        source,
    )

    dh, dc, dz = np.zeros(i.shape), np.zeros(i.shape), np.zeros(z.shape)
    to_h, to_c = np.zeros((s.rows, units)), np.zeros((s.rows, units))
    squashed = np.tanh(c)
    for t in reversed(range(s.steps)):
        dh[t] = s.g[t] + to_h
        dc[t] = to_c + dh[t] * o[t] * (1 - squashed[t] ** 2)
        dz[t] = np.concatenate(
            [
                dc[t] * a[t] * i[t] * (1 - i[t]),
                dc[t] * c_before[t] * f[t] * (1 - f[t]),
                dc[t] * i[t] * (1 - a[t] ** 2),
                dh[t] * squashed[t] * o[t] * (1 - o[t]),
            ],
            axis=1,
        )
        to_h, to_c = dz[t] @ s.w_hh, dc[t] * f[t]

    w.backward()
    w.say("recurrent_backward")
    w.formula("δh[t] = g[t] + W_hhᵀ δz[t+1]", source="Xu 8.9, 8.28")
    w.formula("δc[t] = δc[t+1] f[t+1] + δh[t] o[t] (1 - tanh²(c[t]))", source="Xu 8.11, 8.15")
    w.formula("δz_i = δc c̃ i (1 - i)", source="Xu 8.12-8.19")
    w.formula("δz_f = δc c[t-1] f (1 - f)")
    w.formula("δz_c̃ = δc i (1 - c̃²)")
    w.formula("δz_o = δh tanh(c) o (1 - o)")
    g, of_h, of_c = s.named("g", s.g, given=True), s.named("δh", dh), s.named("δc", dc)
    for t in range(s.steps - 1, max(-1, s.steps - 3), -1):
        at = (t, n, j)
        w.say("recurrent_step", t=t)
        if t == s.steps - 1:
            w.value(element("δh", at), g[at])
        else:
            s.back(n, j, dh, dz)
        e: Expr = of_h[at] * names["o"][at] * (1.0 - call("square", call("tanh", cell[at])))
        if t < s.steps - 1:
            later = (t + 1, n, j)
            e = of_c[later] * names["f"][later] + e
        w.value(element("δc", at), e, float(dc[at]))
        old = Num(
            *_pair(cell_before, at), element("c", (t - 1, n, j)) if t else element("c0", (n, j))
        )
        i_, f_, a_, o_ = (names[name][at] for name in names)
        for k, (name, e) in enumerate(
            (
                ("δz_i", of_c[at] * a_ * i_ * (1.0 - i_)),
                ("δz_f", of_c[at] * old * f_ * (1.0 - f_)),
                ("δz_c̃", of_c[at] * i_ * (1.0 - call("square", a_))),
                ("δz_o", of_h[at] * call("tanh", cell[at]) * o_ * (1.0 - o_)),
            )
        ):
            w.value(element(name, at), e, float(dz[t, n, k * units + j]))
    s.finish(dz, dz, "Xu 8.27, 8.29-8.32")


def gru(w: Writer) -> None:
    """h[t] = (1 - z) ñ + z h[t-1]."""
    s = Steps(w)
    m, units, after = w.measured, s.units, bool(s.layer.reset_after)
    x = np.split(s.x @ s.w_ih.T + s.b_ih, 3, axis=2)
    u = np.split(s.before @ s.w_hh.T + s.b_hh, 3, axis=2)
    r, z = sigmoid(x[0] + u[0]), sigmoid(x[1] + u[1])
    if not after:
        u[2] = (r * s.before) @ s.w_hh[2 * units :].T + s.b_hh[2 * units :]
    new = np.tanh(x[2] + (r * u[2] if after else u[2]))
    names = {"r": s.named("r", r), "z": s.named("z", z), "n": s.named("ñ", new)}
    state = s.named("u", u[2])
    source = "Xu 9.2-9.9; nnx.ops.recurrent.gru.GRU"

    s.start()
    t, n, j = s.chosen()
    w.say("gru_after" if after else "gru_before")
    for k, name in enumerate(("r", "z")):
        w.formula(
            f"{name}[t] = σ(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh)", f"{k} H + j", "Xu 9.2-9.3"
        )
        row = k * units + j
        inner = total([*s.from_x(t, n, row), *s.from_h(t, n, row)])
        w.value(element(name, (t, n, j)), call("sigmoid", inner), float((r, z)[k][t, n, j]))
    row, at = 2 * units + j, (t, n, j)
    if after:
        w.formula(
            "u[t] = W_hn h[t-1] + b_hn,  ñ[t] = tanh(W_in x[t] + b_in + r[t] u[t])", source="Xu 9.8"
        )
        w.value(element("u", at), total(s.from_h(t, n, row)), float(u[2][at]))
        inner = total([*s.from_x(t, n, row), names["r"][at] * state[at]])
    else:
        w.formula(
            "u[t] = W_hn (r[t] h[t-1]) + b_hn,  ñ[t] = tanh(W_in x[t] + b_in + u[t])",
            source="Xu 9.4",
        )
        weight = Named("W_hh", s.w_hh)
        terms: list[Expr] = [
            weight[row, k] * (names["r"][t, n, k] * s.leaf_h(t - 1, n, k)) for k in range(units)
        ]
        w.value(
            element("u", at),
            total([*terms, Named("b_hh", s.b_hh)[row]] if s.layer.bias else terms),
            float(u[2][at]),
        )
        inner = total([*s.from_x(t, n, row), state[at]])
    w.value(element("ñ", at), call("tanh", inner), float(new[at]))

    def h(at: Index) -> Expr:
        t, n, j = k = s.index(at)
        gate, fresh = names["z"][k], names["n"][k]
        return (1.0 - gate) * fresh + gate * s.leaf_h(t - 1, n, j)

    w.derive(
        "y",
        m.y,
        h,
        "y[t] = h[t] = (1 - z[t]) ñ[t] + z[t] h[t-1]",
        f"{shape(s.x)} -> {shape(s.y)}",
        source,
    )

    dz, du = np.zeros((*r.shape[:2], 3 * units)), np.zeros((*r.shape[:2], 3 * units))
    dh = np.zeros(r.shape)
    carried = np.zeros((s.rows, units))
    for t in reversed(range(s.steps)):
        dh[t] = s.g[t] + carried
        da = dh[t] * (1 - z[t]) * (1 - new[t] ** 2)
        d_z = dh[t] * (s.before[t] - new[t]) * z[t] * (1 - z[t])
        if after:
            d_r = da * u[2][t] * r[t] * (1 - r[t])
            last = da * r[t]
            straight = np.zeros((s.rows, units))
        else:
            q = da @ s.w_hh[2 * units :]
            d_r = q * s.before[t] * r[t] * (1 - r[t])
            last = da
            straight = q * r[t] - q  # du @ W_hh below has W_hn's part without the reset
        dz[t], du[t] = np.concatenate([d_r, d_z, da], 1), np.concatenate([d_r, d_z, last], 1)
        carried = dh[t] * z[t] + straight + du[t] @ s.w_hh

    w.backward()
    w.say("recurrent_backward")
    w.formula("δa[t] = δh[t] (1 - z[t]) (1 - ñ[t]²)", source="Xu 9.11")
    w.formula("δz_z = δh (h[t-1] - ñ) z (1 - z)", source="Xu 9.15, 9.17")
    g, of_h = s.named("g", s.g, given=True), s.named("δh", dh)
    if after:
        w.formula("δz_r = δa u r (1 - r),  δz = [δz_r, δz_z, δa],  δu = [δz_r, δz_z, δa r]")
        w.formula("δh[t-1] = g[t-1] + δh[t] z[t] + W_hhᵀ δu[t]", source="Xu 9.10")
    else:
        w.formula("q = W_hnᵀ δa,  δz_r = q h[t-1] r (1 - r),  δu = δz", source="Xu 9.12, 9.16")
        w.formula("δh[t-1] = g[t-1] + δh[t] z[t] + q r + W_hrᵀ δz_r + W_hzᵀ δz_z", source="Xu 9.18")
    of_a = s.named("δa", dz[..., 2 * units :])
    for t in range(s.steps - 1, max(-1, s.steps - 3), -1):
        at = (t, n, j)
        w.say("recurrent_step", t=t)
        if t == s.steps - 1:
            w.value(element("δh", at), g[at])
        else:
            later = (t + 1, n, j)
            extra: list[Expr] = [of_h[later] * names["z"][later]]
            if after:
                s.back(n, j, dh, du, extra)
            else:
                value = dz[t + 1, n, 2 * units :] @ s.w_hh[2 * units :, j]
                q = Num(value, s.error * (1 + abs(value)), element("q", later))
                rows = Named("W_hh", s.w_hh)
                gates = s.named("δz", du)
                terms = [rows[k, j] * gates[t + 1, n, k] for k in range(2 * units)]
                whole = [g[at], *extra, q * names["r"][later], *terms]
                w.value(element("δh", at), total(whole), float(dh[at]))
        z_, n_, old = names["z"][at], names["n"][at], s.leaf_h(t - 1, n, j)
        w.value(
            element("δa", at),
            of_h[at] * (1.0 - z_) * (1.0 - call("square", n_)),
            float(dz[t, n, 2 * units + j]),
        )
        w.value(
            element("δz_z", at), of_h[at] * (old - n_) * z_ * (1.0 - z_), float(dz[t, n, units + j])
        )
        r_ = names["r"][at]
        if after:
            w.value(element("δz_r", at), of_a[at] * state[at] * r_ * (1.0 - r_), float(dz[t, n, j]))
        else:
            value = dz[t, n, 2 * units :] @ s.w_hh[2 * units :, j]
            q = Num(value, s.error * (1 + abs(value)), element("q", at))
            w.value(element("δz_r", at), q * old * r_ * (1.0 - r_), float(dz[t, n, j]))

    def to_h0(n: int, k: int) -> Expr:
        weight, of_u, at = Named("W_hh", s.w_hh), s.named("δu", du), (0, n, k)
        rows = range(3 * units if after else 2 * units)
        terms: list[Expr] = [of_h[at] * names["z"][at]]
        terms += [weight[row, k] * of_u[0, n, row] for row in rows]
        if not after:
            value = dz[0, n, 2 * units :] @ s.w_hh[2 * units :, k]
            terms.append(Num(value, s.error * (1 + abs(value)), "q", at) * names["r"][at])
        return total(terms)

    s.finish(dz, du, "Xu 9.19-9.25", to_h0, None if after else r * s.before)


def _pair(a: Named, at: Index) -> tuple[float, float]:
    leaf = a[at]
    return leaf.number, leaf.error
