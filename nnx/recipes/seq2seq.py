"""seq2seq: one sequence of characters from another, with attention and beam search (Sutskever et
al. 2014; Luong et al. 2015).

Three tasks whose data are made: dates as people write them to ISO 8601, sums of two numbers, and
digits the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn, ops, optim
from ..autograd import no_grad
from ..backends import backend_of
from ..metrics import Accuracy
from ..nn.module import temporary_modes
from ..optim.lr_scheduler import CosineAnnealingLR
from ..plots import attention
from ..random import Generator
from ..tensor import Tensor
from ..text.beam import Found, beam_search
from ..train import Callback, ClipGradNorm, Schedule, Trainer
from .recipe import Data, Option, Options, Prediction, Recipe, Trained
from .series import teller

PADDING, BEGIN, END = 0, 1, 2  # numbers of no character
FIRST = 3  # of the characters
SIZES = {"train": 20_000, "validation": 1_000, "test": 2_000}
SEARCHED = 500  # of the test examples, by beam search
LONGEST = 40  # characters that are said at most

Pair = tuple[str, str]
Draw = Callable[[int], int]  # a whole number below another


# ---- the tasks ----

DAYS = (date(2100, 1, 1) - date(1900, 1, 1)).days


def dated(below: Draw) -> Pair:
    """A day of the years 1900 to 2099 in one of ten ways, and as ISO 8601 writes it."""
    day = date(1900, 1, 1) + timedelta(days=below(DAYS))
    d, y, month, week = day.day, day.year, MONTHS[day.month - 1], WEEK[day.weekday()]
    ending = {1: "st", 2: "nd", 3: "rd"}.get(d % 10 if d not in (11, 12, 13) else 0, "th")
    ways = (
        f"{d} {month} {y}",
        f"{month} {d}, {y}",
        f"{month[:3]} {d}, {y}",
        f"{d} {month[:3]} {y}",
        f"the {d}{ending} of {month}, {y}",
        f"{week}, {d} {month} {y}",
        f"{week[:3]} {month[:3]} {d} {y}",
        f"{d:02}.{day.month:02}.{y}",
        f"{y}/{day.month}/{d}",
        f"{d}-{month[:3].upper()}-{y}",
    )
    return ways[below(len(ways))], day.isoformat()


def added(below: Draw) -> Pair:
    """Two numbers of one to three digits, and their sum."""
    a, b = below(10 ** (1 + below(3))), below(10 ** (1 + below(3)))
    return f"{a}+{b}", str(a + b)


def turned(below: Draw) -> Pair:
    """Three to twelve digits, and the same from the last to the first."""
    digits = "".join(str(below(10)) for _ in range(3 + below(10)))
    return digits, digits[::-1]


MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TASKS: dict[str, Callable[[Draw], Pair]] = {"dates": dated, "sums": added, "reversed": turned}


def pairs(task: str, count: int) -> list[Pair]:
    """`count` different examples of a task, the same every time.

    Args:
        task: "dates", "sums" or "reversed".
        count: how many.
    """
    words: Iterator[int] = iter(())
    generator, found = Generator(0).fork("seq2seq", task), dict[str, str]()

    def below(n: int) -> int:
        nonlocal words
        word = next(words, -1)
        if word < 0:
            words = iter(generator.host_integers(0, 2**31, (4096,)).tolist())
            word = next(words)
        return word * n >> 31

    while len(found) < count:
        source, target = TASKS[task](below)
        found[source] = target
    return list(found.items())


# ---- the model ----


class Translator(nn.Module):
    """An encoder that reads both ways, a decoder that looks back at what it read.

        memory   GRU, both ways, of the source's embeddings: (N, S) -> (N, S, H)
        states   GRU of the target's, from tanh(W_b [last states]): (N, T) -> (N, T, H)
        seen     softmax(states W_q memoryᵀ / √H) memory, over the source's characters: (N, T, H)
        scores   W_o tanh(W_c [states; seen]): (N, C, T)

    (Luong et al. 2015, with the general score, and no feeding of the last step's attention.)

    Args:
        sources: how many symbols a source has.
        targets: C, how many a target has.
        embedding: of both, numbers of a symbol's vector.
        hidden: H, even.
        dropout: the probability to drop a number of a vector in training.
        attention: False: `seen` is 0, and the decoder has its first state alone.
    """

    def __init__(
        self,
        sources: int,
        targets: int,
        embedding: int,
        hidden: int,
        dropout: float,
        attention: bool = True,
    ) -> None:
        if hidden % 2:
            raise ValueError(f"Translator: hidden must be even, got {hidden}")
        self.attention = attention
        self.source = nn.Embedding(sources, embedding, padding_idx=PADDING)
        self.target = nn.Embedding(targets, embedding, padding_idx=PADDING)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.GRU(embedding, hidden // 2, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(hidden, hidden)
        self.decoder = nn.GRU(embedding, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.combine = nn.Linear(2 * hidden, hidden)
        self.head = nn.Linear(hidden, targets)

    def forward(self, source: Tensor, lengths: Tensor, given: Tensor) -> Tensor:
        memory, state = self.encode(source, lengths)
        scores, _, _ = self.decode(given, state, memory, source)
        return ops.permute_dims(scores, (0, 2, 1))

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """memory (N, S, H) of a source (N, S) with lengths (N,), and the decoder's first state,
        (N, H).

        Args:
            source: numbers, padded.
            lengths: how many of each count.
        """
        memory, last = self.encoder(self.dropout(self.source(source)), lengths=lengths)
        both = ops.concat([last[0], last[1]], axis=1)  # (2, N, H/2) -> (N, H)
        return memory, ops.tanh(self.bridge(both))

    def decode(
        self, given: Tensor, state: Tensor, memory: Tensor, source: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The scores (N, T, C) of what follows each symbol, the last state (N, H), and the states
        of all steps (N, T, H).

        Args:
            given: the symbols before, (N, T).
            state: the decoder's, (N, H).
            memory, source: what is looked at, (N, S, H), and which of it is padding, (N, S).
        """
        embedded = self.dropout(self.target(given))
        states, last = self.decoder(embedded, ops.expand_dims(state, axis=0))
        seen = ops.zeros_like(states)
        if self.attention:
            there = ops.expand_dims(ops.not_equal(source, PADDING), axis=1)  # (N, 1, S)
            seen = ops.scaled_dot_product_attention(self.query(states), memory, memory, there)
        both = ops.tanh(self.combine(ops.concat([states, seen], axis=-1)))
        return self.head(self.dropout(both)), last[0], states

    def looks(self, states: Tensor, memory: Tensor) -> Tensor:
        """The weights (T, S) with which one target's states (1, T, H) look at memory (1, S, H)."""
        q, scale = self.query(states), memory.shape[-1] ** -0.5
        return ops.softmax(ops.matmul(q * scale, ops.matrix_transpose(memory)))[0]


# ---- the experiment ----


class Seq2Seq(Recipe):
    name = "seq2seq"
    about = "dates, sums or reversed digits, by an encoder and a decoder with attention"
    epochs, batch_size, lr = 4, 64, 3e-3
    options = (
        Option("task", "dates", "what is learnt", choices=tuple(TASKS)),
        Option("hidden", 128, "units of encoder and decoder; even", least=2),
        Option("embedding", 32, "numbers in a character's vector"),
        Option("dropout", 0.1, "the probability to drop a number in training", most=1.0),
        Option("no_attention", False, "nothing but the encoder's last state"),
        Option("beam", 4, "beginnings that the search keeps"),
        Option("examples", SIZES["train"], "examples to train on"),
    )
    keep = "best"

    def data(self, o: Options) -> Data:
        """Different examples to train on, to validate and to test.

        They are dealt out in an order of their own: of short ones there are few, so that those
        that are drawn first have more of them than the others.
        """
        made = pairs(o.task, SIZES["test"] + SIZES["validation"] + o.examples)
        order = Generator(0).fork("seq2seq", o.task, "order").host_permutation(len(made))
        made = [made[k] for k in order.tolist()]
        alphabets = ["".join(sorted({c for pair in made for c in pair[k]})) for k in (0, 1)]
        assets = {"source": alphabets[0], "target": alphabets[1]}
        widths = [max(len(pair[k]) for pair in made) for k in (0, 1)]
        cuts = [SIZES["test"], SIZES["test"] + SIZES["validation"]]
        test, validation, train = (
            _numbered(part, alphabets, widths)
            for part in (made[: cuts[0]], made[cuts[0] : cuts[1]], made[cuts[1] :])
        )
        return Data(train, test, validation, assets)

    def model(self, o: Options) -> nn.Module:
        return Translator(
            FIRST + len(o.assets["source"]),
            FIRST + len(o.assets["target"]),
            o.embedding,
            o.hidden,
            o.dropout,
            not o.no_attention,
        )

    def loss(self, o: Options) -> Any:
        return nn.CrossEntropyLoss(ignore_index=PADDING)

    def optimizer(self, model: nn.Module, o: Options) -> optim.Optimizer:
        return optim.Adam(model.parameters(), lr=o.lr)

    def callbacks(self, optimizer: optim.Optimizer, o: Options) -> list[Callback]:
        return [Schedule(CosineAnnealingLR(optimizer, o.epochs)), ClipGradNorm(1.0)]

    def trainer(
        self,
        model: nn.Module,
        loss: Any,
        optimizer: optim.Optimizer,
        metrics: Sequence[Any],
        callbacks: Sequence[Callback],
        progress: bool,
    ) -> Trainer:
        """Padding is no answer: characters alone are counted."""
        return super().trainer(
            model, loss, optimizer, [Accuracy(ignore_index=PADDING)], callbacks, progress
        )

    def report(self, trainer: Trainer, data: Data, o: Options) -> tuple[dict[str, float], str]:
        """How many of the first test examples are right to the last character."""
        values, tell = trainer.evaluate(data.test), teller(trainer)
        source, lengths, _, target = (a[:SEARCHED] for a in data.test)
        alphabets = o.assets["source"], o.assets["target"]
        found: dict[int, list[str]] = {}
        for width in sorted({1, o.beam}):
            found[width] = [
                _said(search(trainer.model, s, int(n), width)[0].ids, alphabets[1])
                for s, n in zip(source, lengths, strict=True)
            ]
            right = [
                ours == _said([k for k in t.tolist() if k >= FIRST], alphabets[1])
                for ours, t in zip(found[width], target, strict=True)
            ]
            values[f"exact_{width}"] = sum(right) / max(len(right), 1)
            tell(
                f"beam of {width}: {100 * values[f'exact_{width}']:.1f}% of {len(right)} right to "
                "the last character"
            )
        for s, ours in list(zip(source, found[o.beam], strict=True))[:3]:
            tell(f"  {_said([k for k in s.tolist() if k >= FIRST], alphabets[0])} -> {ours}")
        return values, f"test {100 * values[f'exact_{o.beam}']:.1f}% right to the last character"

    def draw(self, trainer: Trainer, data: Data, o: Options, folder: Path) -> list[Path]:
        """Where the decoder looks, for the first test example."""
        model: Any = trainer.model
        if o.no_attention or not isinstance(model, Translator):
            return []
        source, said = ([k for k in a[0].tolist() if k >= FIRST] for a in data.test[::3])
        path = folder / "attention.png"
        rows, columns = (
            [*_said(said, o.assets["target"]), "end"],
            [*_said(source, o.assets["source"])],
        )
        attention(looked(model, source, said), rows, columns, path)
        return [path]

    def looks(self, run: Trained, text: str | None) -> tuple[Any, list[str], list[str]]:
        """Where the decoder looks as it says the best that the search finds."""
        o, model = run.options, run.model()
        if o.no_attention:
            raise ValueError("this run was trained without attention")
        if text is None:
            source = [k for k in self.data(o).test[0][0].tolist() if k >= FIRST]
        else:
            source = _known(text, o.assets.get("source", ""))[0].tolist()
        best = search(model, np.asarray(source), len(source), o.beam)[0]
        said = [k for k in best.ids if k >= FIRST]
        rows = [*_said(said, o.assets["target"]), "end"]
        return looked(model, source, said), rows, [*_said(source, o.assets["source"])]

    def predict_text(self, run: Trained, text: str) -> Prediction:
        """What the search finds for a text, the most probable first."""
        o = run.options
        numbers, unknown = _known(text, o.assets.get("source", ""))
        found = search(run.model(), numbers, len(numbers), o.beam)
        rows = [
            (text, _said(one.ids, o.assets["target"]) + ("" if one.ended else " ..."),
             f"{np.exp(one.log_prob):.1%}")
            for one in found
        ]  # fmt: skip
        notes = [f"unknown, left out: {' '.join(unknown)}"] if unknown else []
        return Prediction(["text", "said", "probability"], rows, notes)


def search(model: Any, source: np.ndarray, length: int, width: int) -> list[Found]:
    """What a model says to a source (S,), of which `length` count, by beam search.

    Args:
        model: a `Translator`.
        source: numbers.
        length: how many of them there are.
        width: how many beginnings are kept.
    """
    with no_grad(), temporary_modes(model):
        model.eval()
        read = Tensor(_on(model, np.asarray(source[None, :length], np.int64)))
        memory, state = model.encode(read, np.asarray([length]))

        def step(ids: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
            n = ids.shape[0]
            seen = ops.broadcast_to(memory, (n, *memory.shape[1:]))
            known = ops.broadcast_to(read, (n, length))
            scores, last, _ = model.decode(ops.expand_dims(ids, axis=1), parts[0], seen, known)
            return ops.log_softmax(scores[:, 0]), (last,)

        return beam_search(step, (state,), BEGIN, END, width, LONGEST)


def looked(model: Any, source: Sequence[int], said: Sequence[int]) -> Any:
    """The weights (T + 1, S) with which a model looks at a source as it says something and ends.

    Args:
        model: a `Translator`.
        source, said: S and T numbers of characters.
    """
    with no_grad(), temporary_modes(model):
        model.eval()
        read, given = (
            Tensor(_on(model, np.asarray([numbers], np.int64)))
            for numbers in (source, [BEGIN, *said])
        )
        memory, state = model.encode(read, np.asarray([len(source)]))
        states = model.decode(given, state, memory, read)[2]
        return backend_of(memory.data).to_numpy(model.looks(states, memory).data)


def _known(text: str, known: str) -> tuple[np.ndarray, list[str]]:
    """The numbers of a text's characters, and which it has that have none.

    Raises:
        ValueError: none has one.
    """
    unknown = sorted({c for c in text if c not in known})
    numbers = np.asarray([FIRST + known.index(c) for c in text if c in known], np.int64)
    if not len(numbers):
        raise ValueError(f"not a character of {text!r:.60} is known; known are {known!r}")
    return numbers, unknown


def _on(model: Any, host: np.ndarray) -> Any:
    return backend_of(model.head.weight.data).from_numpy(host)


def _numbered(
    part: list[Pair], alphabets: list[str], widths: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sources (N, S), their lengths (N,), targets after BEGIN, and with END, both (N, T + 1)."""
    number = [{c: FIRST + k for k, c in enumerate(alphabet)} for alphabet in alphabets]
    source = np.zeros((len(part), widths[0]), np.int64)
    given = np.zeros((len(part), widths[1] + 1), np.int64)
    target = np.zeros_like(given)
    given[:, 0] = BEGIN
    lengths = np.asarray([len(a) for a, _ in part], np.int64)
    for row, (a, b) in enumerate(part):
        source[row, : len(a)] = [number[0][c] for c in a]
        target[row, : len(b)] = given[row, 1 : len(b) + 1] = [number[1][c] for c in b]
        target[row, len(b)] = END
    return source, lengths, given, target


def _said(numbers: list[int], alphabet: str) -> str:
    return "".join(alphabet[k - FIRST] if k >= FIRST else "?" for k in numbers)
