"""Packed sequences: PyTorch's `nn.utils.rnn`, alone and in the recurrent layers."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import check_gradients

import nnx
from nnx import nn
from nnx.nn.utils import rnn

RNG = np.random.default_rng(3)
LENGTHS = [3, 5, 1, 3]
X = RNG.standard_normal((5, 4, 2))
FALLING = [5, 3, 3, 1]


def both(backend, x, dtype="float32"):
    torch = pytest.importorskip("torch")
    x = np.asarray(x, dtype)
    return backend.tensor(x), torch.tensor(x), torch.nn.utils.rnn


def same_packed(backend, ours, theirs):
    np.testing.assert_array_equal(backend.to_numpy(ours.data), theirs.data.detach().numpy())
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        mine, wanted = getattr(ours, name), getattr(theirs, name)
        assert (mine is None) == (wanted is None)
        if wanted is not None:
            np.testing.assert_array_equal(mine, wanted.numpy())
            assert mine.dtype == np.int64


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths, falling", [(LENGTHS, False), (FALLING, True)])
def test_packing_and_padding_are_pytorchs(backend, batch_first, lengths, falling):
    x, t, theirs = both(backend, X.swapaxes(0, 1) if batch_first else X)
    ours = rnn.pack_padded_sequence(x, lengths, batch_first, falling)
    counts = pytest.importorskip("torch").tensor(lengths)
    wanted = theirs.pack_padded_sequence(t, counts, batch_first, falling)
    same_packed(backend, ours, wanted)
    for options in ({}, {"padding_value": -1.5, "total_length": 7}):
        y, counts = rnn.pad_packed_sequence(ours, batch_first, **options)
        u, n = theirs.pad_packed_sequence(wanted, batch_first, **options)
        np.testing.assert_array_equal(backend.to_numpy(y), u.numpy())
        np.testing.assert_array_equal(counts, n.numpy())
    for y, u in zip(rnn.unpack_sequence(ours), theirs.unpack_sequence(wanted), strict=True):
        np.testing.assert_array_equal(backend.to_numpy(y), u.numpy())


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_sequences_of_their_own(backend, side, batch_first):
    arrays = [RNG.standard_normal((n, 2)).astype("f4") for n in LENGTHS]
    ours = [backend.tensor(a) for a in arrays]
    torch = pytest.importorskip("torch")
    theirs = [torch.tensor(a) for a in arrays]
    y = rnn.pad_sequence(ours, batch_first, 9.0, side)
    u = torch.nn.utils.rnn.pad_sequence(theirs, batch_first, 9.0, side)
    np.testing.assert_array_equal(backend.to_numpy(y), u.numpy())
    same_packed(
        backend,
        rnn.pack_sequence(ours, enforce_sorted=False),
        torch.nn.utils.rnn.pack_sequence(theirs, enforce_sorted=False),
    )
    if side == "right":
        for x, a in zip(rnn.unpad_sequence(y, LENGTHS, batch_first), arrays, strict=True):
            np.testing.assert_array_equal(backend.to_numpy(x), a)


def test_integers_stay_integers(backend):
    words = backend.tensor(np.arange(20).reshape(5, 4))
    packed = rnn.pack_padded_sequence(words, LENGTHS, enforce_sorted=False)
    padded, _ = rnn.pad_packed_sequence(packed, padding_value=-1)
    assert padded.dtype == packed.data.dtype == words.dtype
    assert (backend.to_numpy(padded) == -1).sum() == 20 - sum(LENGTHS)


def test_gradients_by_differences(backend):
    backend.skip_without_float64()

    def there_and_back(x):
        packed = rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
        packed = packed._replace(data=packed.data * packed.data)
        return rnn.pad_packed_sequence(packed, padding_value=3.0)[0]

    check_gradients(there_and_back, X, wrap=backend.asarray)
    check_gradients(
        lambda *xs: rnn.pad_sequence(xs), X[:3, 0], X[:5, 1], X[:1, 2], wrap=backend.asarray
    )


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_layers_take_and_give_packed_sequences(kind, batch_first, falling):
    """Two layers, both ways, with states: outputs, states and every gradient are PyTorch's."""
    torch = pytest.importorskip("torch")
    options = {"num_layers": 2, "bidirectional": True, "batch_first": batch_first}
    theirs = getattr(torch.nn, kind)(2, 3, **options).to(torch.float64)
    ours = getattr(nn, kind)(2, 3, **options).to(dtype="float64")
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    lengths = FALLING if falling else LENGTHS
    x = X.swapaxes(0, 1) if batch_first else X
    states = [RNG.standard_normal((4, 4, 3)) for _ in range(2 if kind == "LSTM" else 1)]

    def run(layer, library, make, packs):
        a, hs = make(x), [make(h) for h in states]
        packed = packs.pack_padded_sequence(a, library(lengths), batch_first, falling)
        y, last = layer(packed, tuple(hs) if kind == "LSTM" else hs[0])
        assert type(y) is type(packed)
        last = list(last) if kind == "LSTM" else [last]
        return a, hs, y, last

    a, hs, y, last = run(ours, list, lambda v: nnx.Tensor(v, True), rnn)
    t, gs, u, ends = run(
        theirs, torch.tensor, lambda v: torch.tensor(v, requires_grad=True), torch.nn.utils.rnn
    )
    total = total_u = 0
    for mine, wanted in zip([y.data, *last], [u.data, *ends], strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), wanted.detach().numpy(), rtol=1e-9)
        g = RNG.standard_normal(mine.shape)
        total = total + (mine * nnx.Tensor(g)).sum()
        total_u = total_u + (wanted * torch.tensor(g)).sum()
    np.testing.assert_array_equal(y.batch_sizes, u.batch_sizes.numpy())
    total.backward()
    total_u.backward()
    mine = dict(ours.named_parameters())
    pairs = [(a.grad, t.grad), *[(h.grad, g.grad) for h, g in zip(hs, gs, strict=True)]]
    pairs += [(mine[k].grad, p.grad) for k, p in theirs.named_parameters()]
    for one, other in pairs:
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-8, atol=1e-10)


def test_a_packed_batch_is_a_padded_one_with_lengths(backend):
    """Also in an order of equal lengths that is not ours."""
    gru = nn.GRU(2, 3)
    x = backend.tensor(X.astype("f4"))
    y, h = gru(x, lengths=LENGTHS)
    packed = rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    order = np.asarray([1, 3, 0, 2])
    rows = packed.data[np.asarray([0, 2, 1, 3, 4, 6, 5, 7, 9, 8, 10, 11]).tolist()]
    other = rnn.PackedSequence(rows, packed.batch_sizes, order, rnn.invert_permutation(order))
    for given in (packed, other):
        z, last = gru(given)
        for mine, wanted in ((rnn.pad_packed_sequence(z)[0], y), (last, h)):
            np.testing.assert_allclose(
                backend.to_numpy(mine.detach()),
                backend.to_numpy(wanted.detach()),
                rtol=1e-5,
                atol=1e-6,
            )
        np.testing.assert_array_equal(z.sorted_indices, given.sorted_indices)


def test_what_does_not_fit():
    x = nnx.Tensor(X)
    with pytest.raises(ValueError, match=r"must fall.*lengths \[3, 5, 1, 3\]"):
        rnn.pack_padded_sequence(x, LENGTHS)
    with pytest.raises(ValueError, match=r"lengths\[1\] is 6"):
        rnn.pack_padded_sequence(x, [5, 6, 1, 1])
    with pytest.raises(ValueError, match=r"lengths\[3\] is 0"):
        rnn.pack_padded_sequence(x, [5, 5, 1, 0])
    packed = rnn.pack_padded_sequence(x, FALLING)
    with pytest.raises(ValueError, match="at least the longest sequence's 5 steps, got 4"):
        rnn.pad_packed_sequence(packed, total_length=4)
    with pytest.raises(ValueError, match=r"\[4, 3, 3, 1, 1\], data has shape \(11, 2\)"):
        rnn.pad_packed_sequence(packed._replace(data=packed.data[:11]))
    with pytest.raises(ValueError, match="each of the 4 sequences once"):
        rnn.pad_packed_sequence(packed._replace(sorted_indices=np.asarray([0, 1, 1, 2])))
    with pytest.raises(TypeError, match="needs a PackedSequence, got Tensor"):
        rnn.pad_packed_sequence(x)
    with pytest.raises(ValueError, match="all alike but for the first axis; shapes none"):
        rnn.pad_sequence([])
    with pytest.raises(ValueError, match=r"shapes \(5, 4, 2\), \(4, 2, 3\)"):
        rnn.pack_sequence([x, nnx.Tensor(np.ones((4, 2, 3)))])
    with pytest.raises(ValueError, match="LSTM: a packed x has its lengths with it"):
        nn.LSTM(2, 3, dtype="float64")(packed, lengths=FALLING)
