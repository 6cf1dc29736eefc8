"""char-lm: which character comes next (Mikolov et al. 2010, character by character), and text of
the model's own.

By option a GRU, an LSTM or a Transformer reads a text; each position says what follows it.  The
figure is bits per character, the cross-entropy by the logarithm to base 2; beside it stand counts
of the characters before (`CountedContexts`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn, ops, optim
from ..autograd import no_grad
from ..backends import backend_of
from ..datasets import load_alice
from ..io import read_text
from ..nn.module import temporary_modes
from ..optim.lr_scheduler import CosineAnnealingLR
from ..random import Generator, default_generator
from ..tensor import Tensor
from ..text import sample
from ..train import Callback, ClipGradNorm, Schedule, Trainer
from .recipe import Data, Option, Options, Prediction, Recipe, Trained
from .series import teller

State = Any  # of a recurrent layer; of a Transformer, the characters it looks back at
LONGEST_COUNTED = 6


class CharacterModel(nn.Module):
    """The scores of the next character at each position: x (N, T) of numbers -> (N, C, T).

        embedding  (N, T) -> (N, T, H)
        body       layers of GRU or LSTM, or of a causal Transformer with learned positions
        head       (N, T, H) -> (N, T, C)

    Args:
        characters: C.
        kind: "gru", "lstm" or "transformer".
        hidden: H.
        layers: how many layers.
        heads: of a Transformer's layer.
        context: how many characters a Transformer sees at most.
        dropout: the probability to drop a number in training.
    """

    def __init__(
        self,
        characters: int,
        kind: str,
        hidden: int,
        layers: int,
        heads: int,
        context: int,
        dropout: float,
    ) -> None:
        self.kind, self.context = kind, context
        self.embedding = nn.Embedding(characters, hidden)
        self.embedding.weight.data *= 0.1  # N(0, 1) drowns what positions and layers add
        self.dropout = nn.Dropout(dropout)
        between = dropout if layers > 1 else 0.0
        self.positions: nn.Module | None = None
        if kind == "transformer":
            self.positions = nn.LearnedPositionalEncoding(hidden, context, batch_first=True)
            layer = nn.TransformerEncoderLayer(
                hidden, heads, 4 * hidden, dropout, "gelu", batch_first=True, norm_first=True
            )
            self.body: nn.Module = nn.TransformerEncoder(layer, layers, nn.LayerNorm(hidden))
        else:
            recurrent = {"gru": nn.GRU, "lstm": nn.LSTM}[kind]
            self.body = recurrent(hidden, hidden, layers, batch_first=True, dropout=between)
        self.head = nn.Linear(hidden, characters)

    def forward(self, x: Tensor) -> Tensor:
        return ops.permute_dims(self._scores(x, None)[0], (0, 2, 1))

    def _scores(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """(N, T, C), and a recurrent layer's last state."""
        y = self.embedding(x)
        if self.positions is not None:
            y = self.body(self.dropout(self.positions(y)), is_causal=True)
        else:
            y, state = self.body(self.dropout(y), state)
        scores: Tensor = self.head(self.dropout(y))
        return scores, state

    def read(self, numbers: list[int], state: State = None) -> tuple[np.ndarray, State]:
        """The scores (C,) of what follows some characters, and the state after them.

        Args:
            numbers: the characters, one at least.
            state: what `read` gave for those before; None: there are none.
        """
        home = backend_of(self.embedding.weight.data)
        if self.positions is not None:
            state = [*(state or []), *numbers][-self.context :]
            numbers = state
        x = Tensor(home.from_numpy(np.asarray([numbers], np.int64)))
        scores, after = self._scores(x, state if self.positions is None else None)
        last = np.asarray(home.to_numpy(scores[0, -1].data), np.float64)
        return last, state if self.positions is not None else after


def generate(
    model: CharacterModel,
    numbers: list[int],
    length: int,
    temperature: float,
    generator: Generator | None = None,
) -> Iterator[int]:
    """What a model writes after some characters, one number after the other.

    Args:
        model: a trained one.
        numbers: the characters before, one at least.
        length: how many it writes.
        temperature: what the logarithms of the probabilities are divided by; 0: always the most
            probable character.
        generator: what is drawn from; None: the shared one.

    Raises:
        ValueError: the temperature is negative.
    """
    drawn = generator or default_generator()
    chances = drawn.host_integers(0, 2**31, (length,)) / 2**31
    state = None
    for chance in chances:
        with no_grad(), temporary_modes(model):
            model.eval()
            scores, state = model.read(numbers, state)
        numbers = [sample(scores, temperature, float(chance))]
        yield numbers[0]


class CountedContexts:
    """p(c | the k characters before), by counts: Witten and Bell's smoothing (1991).

        p_k(c | h) = (n(h c) + u(h) p_{k-1}(c | h')) / (n(h) + u(h))

    with n(h c) how often c followed h, n(h) their sum, u(h) how many different ones did, and h' h
    without its first character; p_{-1} is 1/C.

    Args:
        numbers: a text (M,).
        characters: C.
        longest: the largest k.
    """

    def __init__(self, numbers: np.ndarray, characters: int, longest: int) -> None:
        self.characters, self.longest = characters, longest
        self.counts: list[dict[bytes, np.ndarray]] = []
        for k in range(longest + 1):
            table: dict[bytes, np.ndarray] = {}
            keys = np.asarray(numbers, np.uint16)
            for t in range(k, len(keys)):
                h = keys[t - k : t].tobytes()
                if h not in table:
                    table[h] = np.zeros(characters, np.int32)
                table[h][keys[t]] += 1
            self.counts.append(table)

    def bits(self, numbers: np.ndarray, k: int) -> float:
        """Bits per character of a text (M,), each seen with the k before it."""
        keys, total = np.asarray(numbers, np.uint16), 0.0
        for t in range(len(keys)):
            p = 1 / self.characters
            for j in range(min(k, t) + 1):
                counts = self.counts[j].get(keys[t - j : t].tobytes())
                if counts is None:
                    break
                n, u = int(counts.sum()), int(np.count_nonzero(counts))
                p = (int(counts[keys[t]]) + u * p) / (n + u)
            total -= math.log2(p)
        return total / len(keys)


def windows(numbers: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """A text (M,) cut into stretches, and what follows each of their characters: both (N,
    length).  What is left over at the end is not in them."""
    count = (len(numbers) - 1) // length
    return (
        numbers[: count * length].reshape(count, length),
        numbers[1 : count * length + 1].reshape(count, length),
    )


class CharLM(Recipe):
    name = "char-lm"
    about = "the next character of a text, by a GRU, an LSTM or a Transformer; writes text"
    source = ""
    epochs, batch_size, lr = 30, 16, 3e-3
    options = (
        Option("model", "gru", "what reads", choices=("gru", "lstm", "transformer")),
        Option("hidden", 128, "units of each layer"),
        Option("layers", 2, "layers"),
        Option("heads", 4, "of a Transformer's layer; they divide HIDDEN"),
        Option("length", 128, "characters of a stretch, and all that a Transformer sees"),
        Option("dropout", 0.1, "the probability to drop a number in training", most=1.0),
        Option("text", "", "a text file to learn from, UTF-8; without it, Alice in Wonderland"),
    )
    keep = "best"

    def data(self, o: Options) -> Data:
        """Nine tenths of the text to train on, then a twentieth each to validate and to test."""
        text = read_text(Path(o.text)) if o.text else load_alice()
        alphabet = sorted(set(text))
        number = {c: k for k, c in enumerate(alphabet)}
        numbers = np.asarray([number[c] for c in text], np.int64)
        cuts = [len(numbers) * 18 // 20, len(numbers) * 19 // 20]
        if min(cuts[1] - cuts[0], len(numbers) - cuts[1]) <= o.length:
            raise ValueError(
                f"char-lm: a twentieth of the text must be longer than length={o.length}; the text "
                f"has {len(text)} characters"
            )
        train, validation, test = np.split(numbers, cuts)
        return Data(
            train=windows(train, o.length),
            validation=windows(validation, o.length),
            test=windows(test, o.length),
            assets={"alphabet": "".join(alphabet)},
        )

    def model(self, o: Options) -> nn.Module:
        return CharacterModel(
            len(o.assets["alphabet"]), o.model, o.hidden, o.layers, o.heads, o.length, o.dropout
        )

    def optimizer(self, model: nn.Module, o: Options) -> optim.Optimizer:
        return optim.Adam(model.parameters(), lr=o.lr)

    def callbacks(self, optimizer: optim.Optimizer, o: Options) -> list[Callback]:
        return [Schedule(CosineAnnealingLR(optimizer, o.epochs)), ClipGradNorm(1.0)]

    def report(self, trainer: Trainer, data: Data, o: Options) -> tuple[dict[str, float], str]:
        """Bits per character, beside those of counts; and what the model writes."""
        tell = teller(trainer)
        values = trainer.evaluate(data.test)
        values["bits"] = values["loss"] / math.log(2)
        characters = len(o.assets["alphabet"])
        counted = CountedContexts(data.train[1].reshape(-1), characters, LONGEST_COUNTED)
        test = data.test[1].reshape(-1)
        bits = {k: counted.bits(test, k) for k in range(LONGEST_COUNTED + 1)}
        best = min(bits, key=lambda k: bits[k])
        for k in sorted({0, best}):
            tell(f"counts of the {k} characters before:  {bits[k]:.3f} bits per character")
        values |= {"bits_letters": bits[0], "bits_counts": bits[best]}
        model = trainer.model
        if isinstance(model, CharacterModel):
            for line in _continued(model, o, "\n", 200, 0.7, Generator(o.seed)).splitlines():
                tell(line)
        return values, f"test {values['bits']:.3f} bits per character"

    def predict_text(self, run: Trained, text: str) -> Prediction:
        """How the model goes on: three times, each drawn anew."""
        model = run.model()
        lines: list[str] = []
        for k in range(3):
            drawn = Generator(k)
            lines += [*_continued(model, run.options, text, 200, 0.7, drawn).splitlines(), "--"]
        return Prediction([], [], lines[:-1])

    def generate(
        self, run: Trained, text: str, length: int, temperature: float, seed: int
    ) -> Iterator[str]:
        """What a trained run writes after a text, a character at a time.

        Args:
            run: the trained model.
            text: what goes before; characters that it does not know are left out.
            length: how many characters it writes.
            temperature: below 1 the probable becomes more probable; 0: the most probable always.
            seed: of what is drawn.

        Raises:
            ValueError: the temperature is negative.
        """
        return _written(run.model(), run.options, text, length, temperature, Generator(seed))


def _written(
    model: Any, o: Options, text: str, length: int, temperature: float, generator: Generator
) -> Iterator[str]:
    alphabet = o.assets.get("alphabet", "")
    number = {c: k for k, c in enumerate(alphabet)}
    numbers = [number[c] for c in text if c in number] or [number.get("\n", 0)]
    for k in generate(model, numbers, length, temperature, generator):
        yield alphabet[k]


def _continued(
    model: Any, o: Options, text: str, length: int, temperature: float, generator: Generator
) -> str:
    return text + "".join(_written(model, o, text, length, temperature, generator))
