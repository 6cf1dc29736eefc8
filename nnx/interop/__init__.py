"""Weights and models of other programs: theirs here, and ours there.

    model = nnx.interop.torch.from_torch(theirs)       the equal model, and back with to_torch
    state = nnx.interop.torch.load("weights.pt")
    nnx.interop.keras.load_weights("model.weights.h5", model)
    nnx.interop.chainer.load_npz("model.npz", model)
    nnx.interop.textbook.set_params(lstm, params)

The other library is imported when one of these is called, and not before.  `docs/weights.md` has
what each program means by its numbers.
"""

from . import chainer, keras, textbook, torch

__all__ = ["chainer", "keras", "textbook", "torch"]
