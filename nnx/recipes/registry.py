"""Which experiments there are.  To add one: write its file, and a line here."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from .recipe import Recipe

DEFAULT = "digits-cnn"

_HOMES = {  # name -> the file in this folder, and the class in it
    "digits": ("digits", "Digits"),
    "digits-cnn": ("digits_cnn", "DigitsCNN"),
    "mnist-softmax": ("mnist_softmax", "MnistSoftmax"),
    "mnist-mlp": ("mnist_mlp", "MnistMLP"),
    "mnist-cnn": ("mnist_cnn", "MnistCNN"),
    "mnist-cnn-bn": ("mnist_cnn", "MnistCNNBN"),
    "curve-rnn": ("curve_rnn", "CurveRNN"),
    "csi300-lstm": ("csi300_lstm", "Csi300LSTM"),
    "imdb-gru": ("imdb", "ImdbGRU"),
    "imdb-gru-dropout": ("imdb", "ImdbGRUDropout"),
    "imdb-bigru-dropout": ("imdb", "ImdbBiGRUDropout"),
    "char-lm": ("char_lm", "CharLM"),
    "seq2seq": ("seq2seq", "Seq2Seq"),
}
NAMES = tuple(_HOMES)


def find(name: str) -> Recipe:
    """The experiment of this name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if not isinstance(name, str) or name not in _HOMES:
        near = get_close_matches(str(name)[:60], NAMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"there is no experiment {name!r:.60}{hint} `nnx train --list` shows them all"
        )
    module, kind = _HOMES[name]
    recipe: Recipe = getattr(import_module(f".{module}", __package__), kind)()
    return recipe
