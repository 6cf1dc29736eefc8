"""Attention against PyTorch and against its definition, in blocks so small that there are many."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from gradients import check_gradients
from pytorch import assert_same

import nnx
from nnx import ops
from nnx.backends import kernels
from nnx.backends.cpu.attention import NumpyAttention
from nnx.backends.portable import attention as blocks
from nnx.ops.attention import HeadsApart, HeadsTogether
from nnx.random import Generator

RNG = np.random.default_rng(4)


def drawn(*shape):
    return RNG.standard_normal(shape)


Q, K, V = drawn(2, 3, 9, 4), drawn(2, 3, 13, 4), drawn(2, 3, 13, 5)
SEEN = RNG.random((9, 13)) < 0.5
SEEN[2] = False  # a query that may look nowhere
PADDING = np.arange(13) < np.asarray([13, 7])[:, None, None, None]  # (2, 1, 1, 13)

# name -> (arrays, mask, keywords); a mask of numbers is an operand with a gradient
CASES = {
    "plain": ([Q, K, V], None, {}),
    "scale": ([Q, K, V], None, {"scale": 0.3}),
    "causal": ([Q, K, V], None, {"is_causal": True}),
    "causal, more queries": ([K, Q, V[:, :, :9]], None, {"is_causal": True}),
    "booleans": ([Q, K, V], SEEN, {}),
    "padding": ([Q, K, V], PADDING, {}),
    "numbers": ([Q, K, V, drawn(9, 13)], None, {}),
    "numbers of heads": ([Q, K, V, drawn(1, 3, 1, 13)], None, {}),
    "one head": ([Q[0, 0], K[0, 0], V[0, 0]], SEEN, {}),
    "groups": ([drawn(2, 6, 9, 4), K, V], SEEN, {"enable_gqa": True}),
    "groups with a mask": (
        [drawn(2, 6, 9, 4), K, V, drawn(2, 6, 9, 13)],
        None,
        {"enable_gqa": True},
    ),
    "other groups": (
        [drawn(2, 6, 9, 4), K, V[:, :1]],
        None,
        {"enable_gqa": True, "is_causal": True},
    ),
}


@pytest.fixture
def small(monkeypatch):
    """Blocks of 4 queries and 6 keys, a row of the batch or two at a time."""
    monkeypatch.setattr(blocks, "QUERIES", 4)
    monkeypatch.setattr(blocks, "KEYS", 6)
    for kind in (blocks.AttentionKernels, NumpyAttention):
        monkeypatch.setattr(kind, "attention_block", 50)


def attend(mask, keywords, wrap=nnx.Tensor):
    def function(q, k, v, added=None):
        m = wrap(mask) if added is None and mask is not None else added
        return ops.scaled_dot_product_attention(q, k, v, m, **keywords)

    return function


def definition(q, k, v, mask=None, causal=False, scale=None):
    """Written out, without blocks: the weights and what they give."""
    s = q @ np.swapaxes(k, -1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if causal:
        s = np.where(np.tri(*s.shape[-2:], dtype=bool), s, -np.inf)
    e = np.where(s == -np.inf, 0, np.exp(s - np.max(s, axis=-1, keepdims=True, initial=-1e3)))
    total = e.sum(-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    return p, p @ v


@pytest.mark.parametrize("blocks", ["small", "whole"])
@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(backend, blocks, name, request):
    torch = pytest.importorskip("torch")
    if blocks == "small":
        request.getfixturevalue("small")
    arrays, mask, keywords = CASES[name]

    def theirs(q, k, v, added=None):
        m = added if mask is None else torch.tensor(mask)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, m, **keywords)

    ours = attend(mask, keywords, lambda m: nnx.Tensor(backend.asarray(m)))
    rtol = 1e-5 if not backend.float64 else 1e-11
    assert_same(backend, ours, theirs, *arrays, rtol=rtol)


@pytest.mark.parametrize("name", CASES)
def test_gradient(backend, small, name):
    """scaled_dot_product_attention by finite differences."""
    backend.skip_without_float64()
    arrays, mask, keywords = CASES[name]
    ours = attend(mask, keywords, lambda m: nnx.Tensor(backend.asarray(m)))
    check_gradients(ours, *arrays, wrap=backend.asarray)


@pytest.mark.parametrize("mask, causal", [(None, False), (SEEN, False), (PADDING, True)])
def test_is_its_definition(backend, small, mask, causal):
    """A mask and the causal one together, too."""
    m = None if mask is None else nnx.Tensor(backend.asarray(mask))
    q, k, v = (backend.tensor(a.astype("f4")) for a in (Q, K, V))
    y = ops.scaled_dot_product_attention(q, k, v, m, is_causal=causal)
    np.testing.assert_allclose(
        backend.to_numpy(y), definition(Q, K, V, mask, causal)[1], rtol=2e-5, atol=1e-6
    )


def test_the_batch_broadcasts(backend, small):
    q, k, v = Q, K[:1], V[:, :1]
    y = ops.scaled_dot_product_attention(*[backend.tensor(a) for a in (q, k, v)])
    np.testing.assert_allclose(
        backend.to_numpy(y), definition(q, k, v)[1], rtol=1e-5 if not backend.float64 else 1e-10
    )
    if backend.float64:
        check_gradients(ops.scaled_dot_product_attention, q, k, v, wrap=backend.asarray)
        check_gradients(ops.scaled_dot_product_attention, Q[0, 0], K[0], V[0], wrap=backend.asarray)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("parts", [1, 3])
def test_heads_go_apart_and_together(backend, parts, batch_first):
    x = drawn(2, 5, parts * 4 * 3)
    apart = HeadsApart(parts, 4, batch_first)(backend.tensor(x))
    first = x if batch_first else x.swapaxes(0, 1)
    whole = first.reshape(*first.shape[:2], parts, 4, 3)  # (N, L, k, H, d)
    assert len(apart) == parts
    for k, part in enumerate(apart):
        expected = whole[:, :, k].swapaxes(1, 2).astype(x.dtype)
        np.testing.assert_allclose(backend.to_numpy(part.data), expected, rtol=1e-6)
        together = backend.to_numpy(HeadsTogether(batch_first)(part).data)
        there = whole[:, :, k].reshape(*first.shape[:2], 12)
        np.testing.assert_allclose(
            together, there if batch_first else there.swapaxes(0, 1), rtol=1e-6
        )


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("parts", [1, 3])
def test_gradient_of_heads(parts, batch_first):
    check_gradients(lambda y: HeadsTogether(batch_first)(y), drawn(2, 3, 4, 5))
    check_gradients(
        lambda x: ops.concat(HeadsApart(parts, 2, batch_first)(x), axis=-1), drawn(2, 3, parts * 8)
    )


def test_a_query_that_is_infinitely_far_from_all_keys():
    """Its scores are -inf, though no mask says so: 0, as for one that may look nowhere."""
    q = np.array([[-np.inf, 0.5]]).T
    k, v = np.abs(drawn(3, 1)), drawn(3, 2)
    fast = ops.scaled_dot_product_attention(nnx.tensor(q), nnx.tensor(k), nnx.tensor(v))
    with kernels("portable"):
        slow = ops.scaled_dot_product_attention(nnx.tensor(q), nnx.tensor(k), nnx.tensor(v))
    np.testing.assert_array_equal(fast.data[0], 0)
    np.testing.assert_allclose(fast.data, slow.data, rtol=1e-6)


def test_large_scores(backend, small):
    """Their exponentials overflow; and a later block may have much larger ones than the first."""
    q, k, v = 40 * Q, K * np.linspace(1, 40, 13)[:, None], V
    y = ops.scaled_dot_product_attention(*[backend.tensor(a.astype("f4")) for a in (q, k, v)])
    expected = definition(*[a.astype("f4").astype("f8") for a in (q, k, v)])[1]
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(0, 2, 5), (2, 0, 5), (2, 3, 0)])
def test_nothing_to_look_at(backend, shape):
    """An empty batch, no query, no key: what comes back is empty, or 0."""
    n, queries, keys = shape
    q, k = backend.tensor(np.ones((n, queries, 4), "f4"), requires_grad=True), np.ones((n, keys, 4))
    y = ops.scaled_dot_product_attention(q, backend.tensor(k, "f4"), backend.tensor(k, "f4"))
    np.testing.assert_array_equal(backend.to_numpy(y), np.ones((n, queries, 4)) * bool(keys))
    y.sum().backward()
    assert tuple(q.grad.shape) == (n, queries, 4)


# ---- dropout ----


def test_dropout_drops_weights_and_its_gradient_knows_which(backend, small):
    backend.skip_without_float64()
    identity = np.broadcast_to(np.eye(13), (2, 3, 13, 13))
    q, k, v = (backend.tensor(a, "float64") for a in (Q, K, identity))
    options = {"dropout_p": 0.3, "attn_mask": nnx.Tensor(backend.asarray(SEEN))}
    dropped = ops.scaled_dot_product_attention(q, k, v, **options, generator=Generator(3))
    found = backend.to_numpy(dropped)  # the weights themselves
    p = definition(Q, K, identity, SEEN)[0]
    kept = found != 0
    np.testing.assert_allclose(found[kept], (p / 0.7)[kept], rtol=1e-10)
    share = kept.sum() / (p != 0).sum()
    assert 0.6 < share < 0.8
    rows = kept.reshape(-1, 13)
    assert len({row.tobytes() for row in rows}) > len(rows) // 2  # no block repeats another
    check_gradients(
        lambda q, k, v: ops.scaled_dot_product_attention(
            q, k, v, dropout_p=0.3, generator=Generator(3)
        ),
        Q, K, V, wrap=backend.asarray,
    )  # fmt: skip


def test_dropout_is_the_same_on_every_backend_and_moves_on():
    found = []
    for mode in ("fast", "portable"):
        with nnx.backends.kernels(mode):
            g = Generator(1)
            q, k, v = (nnx.Tensor(a.astype("f4")) for a in (Q, K, V))
            for _ in range(2):
                y = ops.scaled_dot_product_attention(q, k, v, dropout_p=0.5, generator=g)
                found.append(y.numpy())
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], found[3], rtol=1e-5, atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_nothing_is_drawn_twice():
    """Words of two blocks, or of the next draw, have no place in common."""
    scores = [np.empty((2, 3, 300, 1)), np.empty((2, 1, 1100, 1)), np.empty((1, 3, 1100, 1))]
    cut = blocks.Blocks(*scores, causal=False)
    seen = []
    for _, first, count in cut.parts(2**17):
        for i, _ in enumerate(blocks.spans(300, blocks.QUERIES)):
            for j, _ in cut.columns((0, 300)):
                begin = 4 * cut.drawn_at(i, j, first)
                seen.append((begin, begin + count * cut.words))
    seen.sort()
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(seen))
    assert seen[0][0] == 0 and seen[-1][1] == cut.all_words()
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        ops.scaled_dot_product_attention(*[nnx.Tensor(a) for a in (Q, K, V)], dropout_p=1.5)


@pytest.mark.parametrize("most", [1, 7, 30, 10**6])
def test_parts_are_the_batch(most):
    cut = blocks.Blocks(np.empty((2, 3, 5, 2, 1)), np.empty((2, 3, 5, 1, 1)),
                        np.empty((2, 3, 5, 1, 1)), False)  # fmt: skip
    numbered, seen = np.arange(30).reshape(2, 3, 5), []
    for part, first, count in cut.parts(most * cut.words):
        rows = numbered[part].reshape(-1).tolist()
        assert rows == list(range(first, first + count)) and len(rows) <= most
        seen += rows
    assert seen == list(range(30))


# ---- memory, errors ----


def test_scores_are_never_held():
    """Two sequences of 3,000: their scores would take 36 MB."""
    q, k, v = (nnx.Tensor(drawn(1, 3000, 8).astype("f4"), requires_grad=True) for _ in range(3))
    tracemalloc.start()
    try:
        ops.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6


@pytest.mark.parametrize(
    "shapes, mask, message",
    [
        (((2, 4), (3, 5), (3, 4)), None, r"query has shape \(2, 4\), key \(3, 5\)"),
        (((2, 4), (3, 4), (5, 4)), None, r"value \(5, 4\)"),
        (((4,), (3, 4), (3, 4)), None, r"query has shape \(4,\)"),
        (((2, 2, 4), (3, 3, 4), (3, 3, 4)), None, r"axis -1 has the lengths \[2, 3\]"),
        (((2, 4), (3, 4), (3, 4)), (3, 3), r"axis -2 has the lengths \[2, 3\]"),
        (((2, 4), (3, 4), (3, 4)), (5, 2, 3), r"must broadcast to the scores, \(2, 3\).*\(5, 2, 3"),
    ],
)
def test_shapes_that_do_not_fit(shapes, mask, message):
    tensors = [nnx.Tensor(np.ones(shape, "f4")) for shape in shapes]
    with pytest.raises(ValueError, match="scaled_dot_product_attention: .*" + message):
        ops.scaled_dot_product_attention(
            *tensors, None if mask is None else nnx.Tensor(np.ones(mask, bool))
        )


def test_heads_that_make_no_groups():
    q, k = (nnx.Tensor(np.ones((n, 2, 4), "f4")) for n in (5, 2))
    with pytest.raises(ValueError, match=r"5 heads.*\(5, 2, 4\).*\(2, 2, 4\)"):
        ops.scaled_dot_product_attention(q, k, k, enable_gqa=True)


def test_dtypes_that_differ():
    q, k = nnx.Tensor(np.ones((2, 4), "f4")), nnx.Tensor(np.ones((2, 4)))
    with pytest.raises(TypeError, match="must have one dtype; query is float32, key float64"):
        ops.scaled_dot_product_attention(q, k, k)
    with pytest.raises(TypeError, match="attn_mask must be of booleans or of query's dtype"):
        ops.scaled_dot_product_attention(q, q, q, nnx.Tensor(np.ones((2, 2), int)))
