"""Multi-head attention, Transformers and positions: PyTorch's, with the same weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from gradients import check_gradients

import nnx
from nnx import nn

RNG = np.random.default_rng(6)


def drawn(*shape):
    return RNG.standard_normal(shape)


def pair(name, *arguments, **options):
    """Ours and PyTorch's, both in float64, with the same values: all of them, biases too, drawn."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*arguments, **options).to(torch.float64)
    state = {k: drawn(*v.shape) / 2 for k, v in theirs.state_dict().items()}
    theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    ours = getattr(nn, name)(*arguments, **options).to(dtype="float64")
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    return ours, theirs


def assert_equal(ours, theirs, *arrays, rtol=1e-9, **options):
    """Outputs, gradients of the inputs and of all parameters."""
    torch = pytest.importorskip("torch")

    xs = [nnx.Tensor(a, True) for a in arrays]
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    given = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    y, u = ours(*xs, **options), theirs(*ts, **given)
    y, u = (r if isinstance(r, tuple) else (r,) for r in (y, u))
    for mine, wanted in zip(y, u, strict=True):
        if wanted is None:
            assert mine is None
        else:
            np.testing.assert_allclose(
                mine.detach().numpy(), wanted.detach().numpy(), rtol=rtol, atol=1e-10
            )
    g = drawn(*y[0].shape)
    y[0].backward(g, retain_graph=len(y) > 1)
    u[0].backward(torch.tensor(g), retain_graph=len(u) > 1)
    if len(y) > 1 and y[1] is not None:
        y[1].sum(axis=-1).backward(np.ones(y[1].shape[:-1]))
    for x, t in zip(xs, ts, strict=True):
        np.testing.assert_allclose(x.grad, t.grad.numpy(), rtol=rtol, atol=1e-9)
    mine = dict(ours.named_parameters())
    for key, parameter in theirs.named_parameters():
        np.testing.assert_allclose(mine[key].grad, parameter.grad.numpy(), rtol=rtol, atol=1e-9)


L, S, N, E, H = 5, 7, 2, 6, 3
UNSEEN = RNG.random((L, S)) < 0.4
UNSEEN[:, 0] = False
PADDED = np.arange(S) >= np.asarray([[7], [4]])
OPTIONS = {
    "plain": {},
    "all": {"add_bias_kv": True, "add_zero_attn": True},
    "no bias": {"bias": False, "add_bias_kv": True},
    "other features": {"kdim": 4, "vdim": 5},
    "batch first": {"batch_first": True, "add_zero_attn": True},
}
MASKS = {
    "none": {},
    "booleans": {"attn_mask": UNSEEN},
    "padding": {"key_padding_mask": PADDED},
    "both": {"attn_mask": UNSEEN, "key_padding_mask": PADDED},
    "numbers": {"attn_mask": drawn(N * H, L, S), "key_padding_mask": drawn(N, S)},
    "mixed": {"attn_mask": drawn(L, S), "key_padding_mask": PADDED},
    "mixed otherwise": {"attn_mask": UNSEEN, "key_padding_mask": drawn(N, S)},
}


@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("options", OPTIONS)
def test_multihead_attention_is_pytorchs(options, masks, need_weights):
    ours, theirs = pair("MultiheadAttention", E, H, **OPTIONS[options])
    order = (lambda a: a.swapaxes(0, 1)) if options == "batch first" else (lambda a: a)
    q, k, v = (order(drawn(n, N, d)) for n, d in ((L, E), (S, ours.kdim), (S, ours.vdim)))
    average = masks != "both"
    assert_equal(
        ours, theirs, q, k, v, **MASKS[masks], need_weights=need_weights,
        average_attn_weights=average,
    )  # fmt: skip


def test_self_attention_is_pytorchs():
    """One product makes queries, keys and values."""
    ours, theirs = pair("MultiheadAttention", E, H)
    torch = pytest.importorskip("torch")
    x = drawn(L, N, E)
    a, t = nnx.Tensor(x, True), torch.tensor(x, requires_grad=True)
    y, u = ours(a, a, a)[0], theirs(t, t, t)[0]
    y.sum().backward()
    u.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), u.detach().numpy(), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(a.grad, t.grad.numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("need_weights", [True, False])
def test_one_sequence_is_pytorchs(need_weights):
    for options in ({}, {"batch_first": True}):
        ours, theirs = pair("MultiheadAttention", E, H, **options)
        assert_equal(
            ours, theirs, drawn(L, E), drawn(S, E), drawn(S, E),
            need_weights=need_weights, key_padding_mask=PADDED[1], attn_mask=UNSEEN,
        )  # fmt: skip


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_query_that_may_look_nowhere_gets_what_pytorch_gives(need_weights):
    torch = pytest.importorskip("torch")
    ours, theirs = pair("MultiheadAttention", E, H)
    arrays, unseen = [drawn(n, N, E) for n in (L, S, S)], UNSEEN.copy()
    unseen[2] = True
    for mask in (unseen, np.where(unseen, -np.inf, 0.0)):
        y, _ = ours(*map(nnx.Tensor, arrays), attn_mask=mask, need_weights=need_weights)
        u, _ = theirs(*map(torch.tensor, arrays), attn_mask=torch.tensor(mask),
                      need_weights=need_weights)  # fmt: skip
        np.testing.assert_allclose(y.detach().numpy(), u.detach().numpy(), rtol=1e-9, atol=1e-10)
        assert np.isnan(y.detach().numpy()[2]).all() == need_weights


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True, "add_zero_attn": True}])
@pytest.mark.parametrize("need_weights", [True, False])
def test_causal_is_the_causal_mask(options, need_weights):
    nnx.manual_seed(1)
    attention = nn.MultiheadAttention(E, H, **options, dtype="float64")
    x = nnx.Tensor(drawn(L, N, E))
    mask = nn.Transformer.generate_square_subsequent_mask(L, "float64")
    assert np.isneginf(mask.numpy()).sum() == L * (L - 1) // 2
    masks = ({"is_causal": True}, {"attn_mask": mask}, {"attn_mask": mask, "is_causal": True})
    y, *others = [attention(x, x, x, None, need_weights, **m)[0].detach().numpy() for m in masks]
    for other in others:
        np.testing.assert_allclose(y, other, rtol=1e-12, atol=1e-12)
    later = x.numpy().copy()
    later[3:] += 1
    z, _ = attention(nnx.Tensor(later), *[nnx.Tensor(later)] * 2, None, need_weights, **masks[0])
    np.testing.assert_allclose(z.detach().numpy()[:3], y[:3], rtol=1e-12)
    assert np.abs(z.detach().numpy()[3:] - y[3:]).max() > 1e-3


def test_dropout_of_weights_in_training_only(backend):
    attention = nn.MultiheadAttention(E, H, dropout=0.5)
    x = backend.tensor(drawn(L, N, E).astype("f4"))
    for need_weights in (True, False):
        runs = [attention(x, x, x, need_weights=need_weights) for _ in range(2)]
        y, z = (backend.to_numpy(r[0]) for r in runs)
        assert np.abs(y - z).max() > 1e-3
        if need_weights:
            weights = backend.to_numpy(attention(x, x, x, average_attn_weights=False)[1])
            assert 0.2 < (weights == 0).mean() < 0.8
    attention.eval()
    y, z = (backend.to_numpy(attention(x, x, x, need_weights=k)[0]) for k in (True, False))
    np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("need_weights", [True, False])
def test_gradients_by_differences(backend, need_weights):
    backend.skip_without_float64()
    attention = nn.MultiheadAttention(E, H, add_bias_kv=True, dtype="float64")
    mask = nnx.Tensor(backend.asarray(PADDED))

    def function(q, k, v):
        return attention(q, k, v, mask, need_weights)[0]

    check_gradients(function, drawn(L, N, E), drawn(S, N, E), drawn(S, N, E), wrap=backend.asarray)


def test_where_values_start():
    nnx.manual_seed(0)
    attention = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    bound = np.sqrt(6 / (64 + 3 * 64))
    w = attention.in_proj_weight.detach().numpy()
    assert 0.95 * bound < np.abs(w).max() <= bound
    assert not np.any(attention.in_proj_bias.data) and not np.any(attention.out_proj.bias.data)
    assert np.any(attention.bias_k.data)


# ---- Transformers ----

CAUSAL = np.triu(np.full((L, L), -np.inf), 1)
ENDS = np.arange(L) >= np.asarray([[5], [3]])


@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_layers_are_pytorchs(norm_first, activation, batch_first):
    options = {"norm_first": norm_first, "activation": activation, "batch_first": batch_first,
               "dropout": 0.0, "bias": not norm_first}  # fmt: skip
    order = (lambda a: a.swapaxes(0, 1)) if batch_first else (lambda a: a)
    x, memory = order(drawn(L, N, E)), order(drawn(S, N, E))
    ours, theirs = pair("TransformerEncoderLayer", E, H, 8, **options)
    assert_equal(ours, theirs, x, src_mask=CAUSAL, src_key_padding_mask=ENDS)
    ours, theirs = pair("TransformerDecoderLayer", E, H, 8, **options)
    assert_equal(
        ours, theirs, x, memory, tgt_mask=CAUSAL, tgt_key_padding_mask=ENDS,
        memory_mask=UNSEEN, memory_key_padding_mask=PADDED,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.filterwarnings("ignore:Support for mismatched")
def test_the_whole_is_pytorchs():
    ours, theirs = pair("Transformer", E, H, 2, 2, 8, 0.0, norm_first=True)
    x, y = drawn(S, N, E), drawn(L, N, E)
    assert_equal(
        ours, theirs, x, y, tgt_mask=CAUSAL, src_key_padding_mask=PADDED,
        memory_key_padding_mask=PADDED, rtol=1e-7,
    )  # fmt: skip
    alone = ours(nnx.Tensor(x), nnx.Tensor(y), tgt_is_causal=True).detach().numpy()
    masked = ours(nnx.Tensor(x), nnx.Tensor(y), tgt_mask=CAUSAL).detach().numpy()
    np.testing.assert_allclose(alone, masked, rtol=1e-10)


def test_a_stack_holds_copies_and_a_norm():
    layer = nn.TransformerEncoderLayer(E, H, 8, 0.0)
    stack = nn.TransformerEncoder(layer, 2, nn.LayerNorm(E))
    assert len({id(p) for p in [*stack.parameters(), *layer.parameters()]}) == 3 * 12 + 2
    x = nnx.Tensor(drawn(L, N, E).astype("f4"))
    expected = stack.norm(layer(layer(x))).detach().numpy()
    np.testing.assert_allclose(stack(x).detach().numpy(), expected, rtol=1e-6)
    assert "norm.weight" in stack.state_dict()
    bare = nn.TransformerEncoder(layer, 2)
    assert bare.norm is None and not [k for k in bare.state_dict() if k.startswith("norm.")]
    assert type(copy.deepcopy(stack)(x)) is nnx.Tensor


def test_dropout_stands_where_it_should(backend):
    """Each of the places: with all of it dropped, only the ways round are left."""
    x = backend.tensor(drawn(L, N, E).astype("f4"))
    for layer, given in (
        (nn.TransformerEncoderLayer(E, H, 8, 1.0, norm_first=True), (x,)),
        (nn.TransformerDecoderLayer(E, H, 8, 1.0, norm_first=True), (x, x)),
    ):
        np.testing.assert_array_equal(backend.to_numpy(layer(*given)), backend.to_numpy(x))
        for name in ("dropout1", "dropout2"):  # of all weights, out_proj.bias is left, 0
            getattr(layer, name).p = 0.0
        layer.linear2.bias.data = layer.linear2.bias.data + 1
        changed = backend.to_numpy(layer(*given)) - backend.to_numpy(x)
        decoder = isinstance(layer, nn.TransformerDecoderLayer)
        np.testing.assert_array_equal(changed.any(), not decoder)


# ---- positions ----


def test_positions_are_added(backend):
    encoding = nn.PositionalEncoding(5, max_len=9)
    x = backend.tensor(np.zeros((4, 2, 5), "f4"))
    y = backend.to_numpy(encoding(x, start=3))
    for t in range(4):
        for i in range(5):
            angle = (t + 3) / 10000 ** ((i - i % 2) / 5)
            expected = np.cos(angle) if i % 2 else np.sin(angle)
            np.testing.assert_allclose(y[t, :, i], expected, atol=1e-6)
    batch_first = nn.PositionalEncoding(5, max_len=9, batch_first=True)
    np.testing.assert_array_equal(
        backend.to_numpy(batch_first(backend.tensor(np.zeros((2, 4, 5), "f4")), start=3)),
        y.swapaxes(0, 1),
    )
    assert encoding.state_dict() == {}
    with pytest.raises(ValueError, match="positions 6 to 9 are not all below max_len = 9"):
        encoding(x, start=6)


def test_learned_positions_learn(backend):
    encoding = nn.LearnedPositionalEncoding(3, 6, batch_first=True)
    x = backend.tensor(np.zeros((2, 4, 3), "f4"))
    y = encoding(x, start=1)
    np.testing.assert_array_equal(
        backend.to_numpy(y)[1], backend.to_numpy(encoding.weight.data)[1:5]
    )
    y.sum().backward()
    rows = backend.to_numpy(encoding.weight.grad)
    np.testing.assert_array_equal(rows, [[0] * 3, *[[2] * 3] * 4, [0] * 3])


def test_rotary_products_depend_on_distance(backend):
    rotary = nn.RotaryEmbedding(6)
    q, k = (np.tile(drawn(6).astype("f4"), (1, 5, 1)) for _ in range(2))
    a, b = (backend.to_numpy(rotary(backend.tensor(x))) for x in (q, k))
    scores = a[0] @ b[0].T
    for lag in range(-3, 4):
        diagonal = np.diagonal(scores, lag)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(a[0, 0], q[0, 0])
    np.testing.assert_allclose(np.linalg.norm(a, axis=-1), np.linalg.norm(q, axis=-1), rtol=1e-5)
    later = backend.to_numpy(rotary(backend.tensor(q), start=2))
    np.testing.assert_allclose(later[0, 0], a[0, 2], rtol=1e-5)
    angle = 1 / 10000 ** (2 / 6)
    np.testing.assert_allclose(
        a[0, 1, 2], q[0, 1, 2] * np.cos(angle) - q[0, 1, 3] * np.sin(angle), rtol=1e-5, atol=1e-6
    )
    if backend.float64:
        check_gradients(rotary, drawn(2, 3, 6), wrap=backend.asarray)


# ---- errors ----


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.MultiheadAttention(6, 4), "num_heads must divide embed_dim; got 6, 4, 6 and 6"),
        (lambda: nn.MultiheadAttention(6, 2, dropout=1.5), "between 0 and 1, got 1.5"),
        (lambda: nn.TransformerEncoderLayer(6, 2, activation="tanh"), "got 'tanh'"),
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2), 0), "positive, got 0"),
        (lambda: nn.PositionalEncoding(0), "positive; got 0 and 5000"),
        (lambda: nn.RotaryEmbedding(5), "even and positive, got 5"),
    ],
)
def test_options_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "shapes, masks, message",
    [
        (((5, 2, 4), (7, 2, 6), (7, 2, 6)), {}, r"query must be \(L, N, 6\).*shape \(5, 2, 4\)"),
        (((5, 2, 6), (7, 3, 6), (7, 3, 6)), {}, r"key \(7, 3, 6\)"),
        (((5, 2, 6), (7, 2, 6), (8, 2, 6)), {}, r"value \(8, 2, 6\)"),
        (((5, 6), (7, 2, 6), (7, 2, 6)), {}, r"query has shape \(5, 6\)"),
        (
            ((5, 2, 6), (7, 2, 6), (7, 2, 6)),
            {"attn_mask": (5, 5)},
            r"attn_mask must have shape \(5, 7\) or \(6, 5, 7\).*it has shape \(5, 5\)",
        ),
        (
            ((5, 2, 6), (7, 2, 6), (7, 2, 6)),
            {"key_padding_mask": (7, 2)},
            r"key_padding_mask must have shape \(2, 7\).*it has shape \(7, 2\)",
        ),
    ],
)
def test_shapes_that_do_not_fit(shapes, masks, message):
    attention = nn.MultiheadAttention(E, H)
    tensors = [nnx.Tensor(np.ones(shape, "f4")) for shape in shapes]
    given = {k: nnx.Tensor(np.zeros(shape, bool)) for k, shape in masks.items()}
    with pytest.raises(ValueError, match="MultiheadAttention: .*" + message):
        attention(*tensors, **given)


def test_masks_of_integers_are_refused():
    """0 and 1 would be added to the scores."""
    x = nnx.Tensor(np.ones((L, N, E), "f4"))
    with pytest.raises(TypeError, match=r"attn_mask must be of booleans, or of numbers.*int64"):
        nn.MultiheadAttention(E, H)(x, x, x, attn_mask=np.zeros((L, L), np.int64))
