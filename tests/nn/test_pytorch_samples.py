"""PyTorch's own samples of its modules, run through the layers here of the same name.

Every sample that PyTorch itself computes must give the same outputs, gradients of inputs and of
parameters, and buffers, in training and in evaluation, in float64 and in float32.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from pytorch_internals import own_samples

import nnx
from nnx import nn

torch = pytest.importorskip("torch")

WITHOUT = set(  # what PyTorch has no samples of
    """AlphaDropout ChannelShuffle CosineSimilarity Dropout Dropout1d Dropout2d Dropout3d
    EmbeddingBag FeatureAlphaDropout Flatten Fold Hardsigmoid Identity MaxUnpool1d MaxUnpool2d
    MaxUnpool3d Module ModuleDict ModuleList PairwiseDistance Parameter ParameterDict ParameterList
    PixelShuffle PixelUnshuffle RReLU Sequential SyncBatchNorm TransformerDecoder
    TripletMarginLoss TripletMarginWithDistanceLoss Unflatten Unfold Upsample
    UpsamplingBilinear2d UpsamplingNearest2d init utils""".split()
)
SHARED = sorted(set(dir(torch.nn)) & set(nn.__all__) - WITHOUT)
TOLERANCE = {"float64": 1e-7, "float32": 3e-5}  # PyTorch's softplus is 2e-9 off above 20
CANCELLING = (
    3e-4  # of gradients that are small beside their terms PyTorch's are as far from float64
)
pytestmark = pytest.mark.filterwarnings("ignore")


@cache
def described():
    """PyTorch's description of each of its modules; not at import, which would take seconds."""
    return {i.module_cls.__name__: i for i in own_samples("common_modules").module_db}


def host(a):
    return a.detach().numpy()


def given(value, made):
    """A sample's arguments with tensors of ours; those that want a gradient are noted in `made`."""
    if isinstance(value, torch.Tensor):
        made.append((value, nnx.Tensor(host(value).copy(), value.requires_grad)))
        return made[-1][1]
    if isinstance(value, tuple | list):
        return type(value)(given(v, made) for v in value)
    return value


def option(value):
    """An argument of a constructor: an array of a tensor, our layer or function of PyTorch's."""
    if isinstance(value, torch.nn.TransformerEncoderLayer):
        first = value.self_attn
        return nn.TransformerEncoderLayer(
            first.embed_dim, first.num_heads, value.linear1.out_features, value.dropout.p,
            value.activation.__name__, value.norm1.eps, first.batch_first, value.norm_first,
            value.linear1.bias is not None,
        )  # fmt: skip
    if callable(value):
        return getattr(nnx.functional, value.__name__)
    return host(value) if isinstance(value, torch.Tensor) else value


def flat(value):
    if isinstance(value, tuple | list):
        return [part for v in value for part in flat(v)]
    return [value]


def samples(info, dtype, training):
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    return info.module_inputs_func(
        info, device="cpu", dtype=kind, requires_grad=True, training=training
    )


def theirs_of(info, sample, kind, training):
    """PyTorch's module and its outputs, with gradients of a random cotangent; None: it refuses."""
    arguments = sample.constructor_input
    try:
        module = info.module_cls(*arguments.args, **arguments.kwargs).to(kind).train(training)
        state = {key: host(value).copy() for key, value in module.state_dict().items()}
        outputs = flat(module(*sample.forward_input.args, **sample.forward_input.kwargs))
    except (RuntimeError, ValueError, TypeError):
        return None
    return module, state, outputs


def compare(name, sample, dtype, training):
    """Assert that ours and theirs agree; False where PyTorch refuses the sample."""
    info, kind = described()[name], getattr(torch, dtype)
    found = theirs_of(info, sample, kind, training)
    if found is None:
        return False
    theirs, state, expected = found
    arrays = [option(a) for a in sample.constructor_input.args]
    options = {
        key: option(a)
        for key, a in sample.constructor_input.kwargs.items()
        if key not in ("device", "dtype")
    }
    ours = getattr(nn, name)(*arrays, **options).to(dtype=dtype).train(training)
    ours.load_state_dict(state)
    made = []
    forward = dict(sample.forward_input.kwargs)
    first = [forward.pop("input")] if "input" in forward else []  # its name here is x
    keywords = {key: given(value, made) for key, value in forward.items()}
    outputs = flat(
        ours(*[given(a, made) for a in (*first, *sample.forward_input.args)], **keywords)
    )
    assert [tuple(u.shape) for u in expected] == [y.shape for y in outputs]
    if name.startswith("Dropout") and training:
        return True  # other random numbers

    def close(actual, wanted):
        limit = TOLERANCE[dtype]
        if dtype == "float32" and ("ransformer" in name or "ttention" in name):
            limit = CANCELLING
        scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
        np.testing.assert_allclose(actual, wanted, rtol=limit, atol=limit * scale)

    total_y = total_u = None
    rng = np.random.default_rng(0)
    for y, u in zip(outputs, expected, strict=True):
        close(y.detach().numpy(), host(u))
        if not u.requires_grad:
            continue
        g = rng.uniform(0.5, 1.5, y.shape).astype(dtype)
        part_y, part_u = (y * nnx.Tensor(g)).sum(), (u * torch.tensor(g)).sum()
        total_y = part_y if total_y is None else total_y + part_y
        total_u = part_u if total_u is None else total_u + part_u
    if total_u is not None:
        total_y.backward()
        total_u.backward()
    for u, y in made:
        if u.requires_grad and u.is_leaf and u.grad is not None:
            close(y.grad, u.grad.numpy())
    mine = dict(ours.named_parameters())
    for key, parameter in theirs.named_parameters():
        if parameter.grad is not None:
            close(mine[key].grad, parameter.grad.numpy())
    after = ours.state_dict()
    for key, buffer in theirs.named_buffers():
        if "num_batches" not in key or outputs[0].size:  # an empty batch is counted there
            close(after[key], buffer.numpy())
    return True


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SHARED)
def test_every_sample(name, dtype):
    info = described()[name]
    compared = 0
    for training in (True, False) if info.train_and_eval_differ else (True,):
        for k, sample in enumerate(samples(info, dtype, training)):
            if k % 8 and name == "LinearCrossEntropyLoss":
                continue  # it has 857, of which every eighth is tried
            try:
                compared += compare(name, sample, dtype, training)
            except Exception as error:
                raise AssertionError(
                    f"{name}: {sample.desc!r}, {sample.constructor_input}, {sample.forward_input}"
                ) from error
    assert compared


def test_all_that_have_samples_are_compared():
    assert set(described()) & set(nn.__all__) == set(SHARED)
    assert len(SHARED) > 45
