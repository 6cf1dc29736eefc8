"""nn.RNNCell, LSTMCell and GRUCell against PyTorch and against the layers."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn

CASES = [
    ("RNNCell", {}),
    ("RNNCell", {"nonlinearity": "relu", "bias": False}),
    ("LSTMCell", {}),
    ("LSTMCell", {"bias": False}),
    ("GRUCell", {}),
    ("GRUCell", {"bias": False}),
]


@pytest.mark.parametrize("kind, options", CASES)
@pytest.mark.parametrize("batch", [(3,), ()])
def test_equals_pytorch(backend, kind, options, batch):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(2, 4, **options)
    ours = getattr(nn, kind)(2, 4, **options)
    ours.load_state_dict({name: a.numpy() for name, a in theirs.state_dict().items()})
    x = torch.randn(*batch, 2, requires_grad=True)
    states = [torch.randn(*batch, 4, requires_grad=True) for _ in range(1 + (kind == "LSTMCell"))]
    expected = theirs(x, tuple(states) if len(states) == 2 else states[0])
    expected = list(expected) if len(states) == 2 else [expected]
    gs = [torch.randn_like(e) for e in expected]
    sum((e * g).sum() for e, g in zip(expected, gs, strict=True)).backward()

    tx, *ts = [backend.tensor(a.detach().numpy(), requires_grad=True) for a in (x, *states)]
    got = ours(tx, tuple(ts) if len(ts) == 2 else ts[0])
    got = list(got) if len(ts) == 2 else [got]
    total = None
    for o, g in zip(got, gs, strict=True):
        part = (o * backend.tensor(g.numpy())).sum()
        total = part if total is None else total + part
    total.backward()
    for o, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(backend.to_numpy(o.detach()), e.detach().numpy(), atol=1e-6)
    for t, e in zip([tx, *ts], [x, *states], strict=True):
        np.testing.assert_allclose(backend.to_numpy(t.grad), e.grad.numpy(), atol=1e-5)
    for name, p in theirs.named_parameters():
        grad = backend.to_numpy(getattr(ours, name).grad)
        np.testing.assert_allclose(grad, p.grad.numpy(), atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "kind, options",
    [("RNN", {}), ("LSTM", {}), ("GRU", {}), ("GRU", {"reset_after": False})],
)
def test_a_loop_over_cells_is_the_layer(backend, kind, options):
    nnx.random.manual_seed(0)
    layer = getattr(nn, kind)(2, 4, **options)
    cell = getattr(nn, kind + "Cell")(2, 4, **options)
    cell.load_state_dict({k.removesuffix("_l0"): a for k, a in layer.state_dict().items()})
    x = backend.tensor(np.random.default_rng(0).standard_normal((5, 3, 2)).astype("float32"))
    y, _ = layer(x)
    state, outs = None, []
    for t in range(5):
        state = cell(x[t], state)
        outs.append(state[0] if kind == "LSTM" else state)
    looped = np.stack([backend.to_numpy(o.detach()) for o in outs])
    np.testing.assert_allclose(looped, backend.to_numpy(y.detach()), atol=1e-6)
    y.sum().backward()
    total = outs[0]
    for o in outs[1:]:
        total = total + o
    total.sum().backward()
    for name, p in cell.named_parameters():
        expected = backend.to_numpy(getattr(layer, name + "_l0").grad)
        np.testing.assert_allclose(backend.to_numpy(p.grad), expected, atol=1e-5, err_msg=name)


def test_errors():
    cell = nn.GRUCell(2, 4)
    with pytest.raises(ValueError, match=r"GRUCell: x must be .*input_size = 2.*\(3, 5\)"):
        cell(nnx.Tensor(np.zeros((3, 5), "f4")))
    with pytest.raises(ValueError, match=r"a state must be \(3, 4\).*\(3, 2\).*\(2, 4\)"):
        cell(nnx.Tensor(np.zeros((3, 2), "f4")), nnx.Tensor(np.zeros((2, 4), "f4")))
    with pytest.raises(ValueError, match="must be positive; got 0 and 4"):
        nn.LSTMCell(0, 4)
