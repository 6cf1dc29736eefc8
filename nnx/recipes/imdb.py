"""imdb-gru, imdb-gru-dropout, imdb-bigru-dropout: is a film review positive?  (Xu, chapter 9)

The textbook's three stages: three layers of GRU overfit; dropout helps; reading in both directions
helps more.  They differ in nothing else, so that their learning curves can be compared:

    nnx plot curves runs/imdb-gru-1 runs/imdb-gru-dropout-1 runs/imdb-bigru-dropout-1 --out imdb.png
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .. import nn, ops, optim
from ..backends import backend_of
from ..data import train_test_split
from ..datasets import load_imdb
from ..optim.lr_scheduler import CosineAnnealingLR
from ..random import default_generator
from ..tensor import Tensor
from ..text import STOP_WORDS, TextEncoder, Tokenizer, Vocabulary, read_glove
from ..train import Callback, ClipGradNorm, Schedule
from .recipe import Data, Option, Options, Prediction, Recipe, Trained

CLASSES = ("negative", "positive")


class ReviewGRU(nn.Module):
    """Word numbers (N, T) and how many of them are words (N,) -> logits (N, 2).

        words -> vectors (N, T, E) -> three layers of GRU (N, T, S H)
              -> their mean over the words of the text (N, S H) -> two classes

    S is 2 for both directions, else 1.  Dropout acts on the vectors, between the layers and on the
    mean; and some words are read as the unknown word, so that no judgement hangs on one of them.

    Args:
        words: the size of the vocabulary.
        embedding, hidden: E and H.
        dropout: the probability to drop a number in training.
        word_dropout: the probability to read a word as unknown in training.
        bidirectional: whether texts are read from their end as well.
        reset_after: whether the reset gate acts after the product (Xu 9.8) or before it (Xu 9.4).
    """

    def __init__(
        self,
        words: int,
        embedding: int,
        hidden: int,
        dropout: float,
        word_dropout: float,
        bidirectional: bool,
        reset_after: bool = True,
    ) -> None:
        self.word_dropout = word_dropout
        self.embedding = nn.Embedding(words, embedding, padding_idx=Vocabulary.padding)
        self.embedding.weight.data *= 0.1  # with N(0, 1) each word's noise drowns what it learns
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(
            embedding,
            hidden,
            num_layers=3,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
            reset_after=reset_after,
        )
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), len(CLASSES))

    def forward(self, numbers: Tensor, lengths: Tensor) -> Tensor:
        if self.training and self.word_dropout:
            numbers = self._forget(numbers)
        x = self.dropout(self.embedding(numbers))  # (N, T) -> (N, T, E)
        y, _ = self.gru(x, lengths=lengths)  # (N, T, S H), 0 beyond the words
        count = ops.astype(ops.expand_dims(lengths, axis=1), y.dtype)  # (N, 1)
        scores: Tensor = self.head(self.dropout(ops.sum(y, axis=1) / count))  # (N, S H) -> (N, 2)
        return scores

    def _forget(self, numbers: Tensor) -> Tensor:
        array = numbers.data
        xp = backend_of(array).xp
        kept = default_generator().bernoulli(1 - self.word_dropout, numbers.shape, like=array)
        return Tensor(xp.where(kept, array, xp.full_like(array, Vocabulary.unknown)))


class ImdbRecipe(Recipe):
    """What the three stages share.

    A tenth of the training reviews is set aside for validation; the vocabulary is made of the
    others.  The learning rate falls to nothing along a cosine, so the last epoch is the one to keep
    and no epoch is picked.
    """

    source = "Xu, chapter 9"
    classes = CLASSES
    epochs, batch_size, lr = 8, 64, 2e-3
    options = (
        Option("hidden", 32, "units of each layer and direction"),
        Option("embedding", 32, "numbers in a word's vector; GloVe's decide where they are given"),
        Option("vocabulary", 5000, "words that are known, the most frequent ones", least=2),
        Option("length", 120, "words of a review that are read"),
        Option("beginning", False, "keep the beginning of a longer review, not its end"),
        Option("keep_stop_words", False, "read the, of, is ... too (Xu 9.8.1 leaves them out)"),
        Option("glove", "", "a GloVe text file to begin the word vectors with"),
        Option("freeze_embedding", False, "leave the word vectors as they begin, as Xu does"),
        Option(
            "gru",
            "after",
            "reset after the product (Xu 9.8), or before it (Xu 9.4)",
            choices=("after", "before"),
        ),
    )
    dropout: ClassVar[float] = 0.5
    word_dropout: ClassVar[float] = 0.3
    bidirectional: ClassVar[bool] = False

    def all_options(self) -> list[Option]:
        """The stages have their own dropout."""
        return [
            *super().all_options(),
            Option(
                "dropout", self.dropout, "the probability to drop a number in training", most=1.0
            ),
            Option(
                "word_dropout",
                self.word_dropout,
                "the probability to read a word as unknown",
                most=1.0,
            ),
        ]

    def data(self, o: Options) -> Data:
        train, test = load_imdb()
        texts, held_out, labels, held_out_labels = train_test_split(
            np.asarray(train.texts, dtype=object),
            train.labels,
            test=0.1,
            stratify=train.labels,
            seed=0,
        )
        tokenizer = Tokenizer(() if o.keep_stop_words else STOP_WORDS)
        vocabulary = Vocabulary.build(map(tokenizer, texts), max_size=o.vocabulary)
        encoder = TextEncoder(
            tokenizer, vocabulary, o.length, truncation="post" if o.beginning else "pre"
        )
        embedding = o.embedding
        if o.glove:
            embedding = read_glove(o.glove, vocabulary).matrix.shape[1]
        return Data(
            train=(*encoder(list(texts)), labels),
            validation=(*encoder(list(held_out)), held_out_labels),
            test=(*encoder(test.texts), test.labels),
            assets={"encoder": encoder.to_dict(), "embedding": embedding},
        )

    def model(self, o: Options) -> nn.Module:
        model = ReviewGRU(
            len(o.assets["encoder"]["words"]) + 2,
            o.assets["embedding"],
            o.hidden,
            o.dropout,
            o.word_dropout,
            self.bidirectional,
            reset_after=o.gru == "after",
        )
        if o.freeze_embedding:
            model.embedding.weight.requires_grad_(False)
        return model

    def begin(self, model: nn.Module, o: Options) -> None:
        """GloVe's vectors in place of drawn ones; training goes on from them."""
        if o.glove:
            vocabulary = Vocabulary(o.assets["encoder"]["words"])
            vectors = read_glove(o.glove, vocabulary).matrix
            model.load_state_dict({"embedding.weight": vectors}, strict=False)

    def optimizer(self, model: nn.Module, o: Options) -> optim.Optimizer:
        return optim.Adam(model.parameters(), lr=o.lr)

    def callbacks(self, optimizer: optim.Optimizer, o: Options) -> list[Callback]:
        return [Schedule(CosineAnnealingLR(optimizer, o.epochs)), ClipGradNorm(1.0)]

    def predict_text(self, run: Trained, text: str) -> Prediction:
        """How a sentence is judged, and what of it was not understood."""
        encoder = TextEncoder.from_dict(run.options.assets.get("encoder", {}))
        logits = run.predict(encoder([text])).data  # (1, 2)
        z = backend_of(logits).to_numpy(logits).astype(np.float64)[0]
        p = 1 / (1 + np.exp(z[::-1] - z))  # (2,): the softmax of two
        best = int(np.argmax(p))
        words = encoder.tokenizer(text)
        notes = [f"{len(words)} words read"]
        if len(words) > encoder.length:
            end = "first" if encoder.truncation == "post" else "last"
            notes = [f"the {end} {encoder.length} of {len(words)} words read"]
        unknown = encoder.unknown_words(text)
        if unknown:
            more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
            notes.append(f"unknown: {', '.join(unknown[:10])}{more}")
        if len(unknown) == len(set(words)):
            notes.append("not a word of it is known, so this says nothing of the text")
        shown = text if len(text) <= 60 else text[:57] + "..."
        row = (shown, CLASSES[best], f"{p[best]:.1%}")
        return Prediction(["text", "class", "probability"], [row], notes)


class ImdbGRU(ImdbRecipe):
    name = "imdb-gru"
    about = "film reviews, positive or negative; three layers of GRU, which overfit"
    source = "Xu, chapter 9: 75%"
    dropout = word_dropout = 0.0


class ImdbGRUDropout(ImdbRecipe):
    name = "imdb-gru-dropout"
    about = "the same with dropout"
    source = "Xu, chapter 9: 80%"


class ImdbBiGRUDropout(ImdbRecipe):
    name = "imdb-bigru-dropout"
    about = "the same with dropout and in both directions"
    source = "Xu, chapter 9: 82%"
    bidirectional = True
