"""The character-level language model and sequence to sequence, on little text."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import nnx
from nnx import recipes
from nnx.cli.main import run as command
from nnx.datasets import load_alice
from nnx.random import Generator
from nnx.recipes import Run, find, seq2seq
from nnx.recipes.char_lm import CountedContexts, generate, windows

KINDS = ["gru", pytest.param("lstm", marks=pytest.mark.ci), "transformer"]
TEXT = "".join(f"{n} and {n + 1} are {2 * n + 1}.\n" for n in range(120))
SMALL = {"hidden": 32, "layers": 1, "heads": 2, "length": 16, "batch_size": 16, "epochs": 4,
         "lr": 0.01, "dropout": 0.0, "progress": False}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def no_curves():
    """Drawing takes longer than the training here, and is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnx.train.LearningCurve.on_fit_end", lambda self, trainer: None)
        patch.setattr("nnx.recipes.runner.can_draw", lambda: False)
        patch.setitem(seq2seq.SIZES, "test", 60)
        patch.setitem(seq2seq.SIZES, "validation", 60)
        yield


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "sums.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def written(book, tmp_path_factory):
    """A run of a kind, made when it is first wanted."""
    out = tmp_path_factory.mktemp("runs")
    return functools.cache(
        lambda kind: recipes.train("char-lm", out=out, model=kind, text=str(book), **SMALL)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_learns(written, kind):
    """Better than the frequencies of the letters, in bits by base 2 of the test loss."""
    result = written(kind).result
    assert result["bits"] == pytest.approx(result["loss"] / math.log(2))
    assert result["bits"] < 0.75 * result["bits_letters"]
    assert written(kind).config["line"] == f"test {result['bits']:.3f} bits per character"


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_later_has_no_say(written, kind):
    model = written(kind).model().eval()
    x = np.random.default_rng(0).integers(0, 10, (2, 16))
    other = x.copy()
    other[:, 9:] = (x[:, 9:] + 1) % 10
    y, z = (model(nnx.tensor(a)).detach().numpy() for a in (x, other))
    np.testing.assert_allclose(y[:, :, :9], z[:, :, :9], rtol=1e-4, atol=1e-5)
    assert np.abs(y[:, :, 9:] - z[:, :, 9:]).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_character_at_a_time_is_the_whole_at_once(written, kind):
    """State is carried, or the characters are: the scores are those of the whole stretch."""
    model = written(kind).model().eval()
    numbers = list(range(10))
    whole = model(nnx.tensor(np.asarray([numbers]))).detach().numpy()[0]
    state = None
    for t, k in enumerate(numbers):
        scores, state = model.read([k], state)
        np.testing.assert_allclose(scores, whole[:, t], rtol=1e-3, atol=1e-4)


def test_generated_text_repeats_by_its_seed(written):
    model = written("gru").model()
    model.train()
    texts = [list(generate(model, [1], 30, 0.8, Generator(seed))) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2] and model.training
    cold = [list(generate(model, [1], 30, 0.0, Generator(seed))) for seed in (1, 2)]
    assert cold[0] == cold[1]
    assert len(set(written("gru").options.assets["alphabet"]) - set(TEXT)) == 0


def test_commands_write(written, capsys):
    folder = str(written("transformer").folder)
    arguments = ["generate", folder, "--text", "1 and ", "--length", "40", "--temperature", "0"]
    assert command(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 and ") and len(out) == 6 + 40 + 1
    assert command(["predict", folder, "--text", "1 and "]) == 0
    assert capsys.readouterr().out.count("1 and ") >= 3
    assert command(["generate", folder, "--temperature", "-1"]) == 2
    capsys.readouterr()


def test_counts_are_witten_and_bells():
    numbers = np.asarray([0, 1, 0, 1, 0, 2])
    counted = CountedContexts(numbers, 3, 1)
    unigram = [(3 + 3 / 3) / 9, (2 + 3 / 3) / 9, (1 + 3 / 3) / 9]
    after_0 = (1 + 2 * unigram[2]) / (3 + 2)
    assert counted.bits(np.asarray([0, 2]), 0) == pytest.approx(
        -(math.log2(unigram[0]) + math.log2(unigram[2])) / 2
    )
    assert counted.bits(np.asarray([0, 2]), 1) == pytest.approx(
        -(math.log2(unigram[0]) + math.log2(after_0)) / 2
    )
    assert 2 ** -counted.bits(np.asarray([2, 0, 0]), 1) < 1  # a context never seen


def test_parts_of_the_text_are_apart():
    o = find("char-lm").make_options()
    data = find("char-lm").data(o)
    text = "".join(data.assets["alphabet"][k] for k in data.test[0].reshape(-1))
    assert text in load_alice()[-9000:] and load_alice().endswith("THE END\n")
    x, y = data.train
    np.testing.assert_array_equal(x[0, 1:], y[0, :-1])
    np.testing.assert_array_equal(x[1:, 0], y[:-1, -1])
    inputs, following = windows(np.arange(10), 3)
    assert inputs.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert following.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_a_text_that_is_too_short_is_refused(tmp_path, capsys):
    path = tmp_path / "short.txt"
    path.write_text("a few words", encoding="utf-8")
    assert command(["train", "char-lm", "--text", str(path), "--out", str(tmp_path)]) == 1
    assert "a twentieth of the text must be longer than length=128" in capsys.readouterr().err


# ---- sequence to sequence ----


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    return recipes.train(
        "seq2seq", out=tmp_path_factory.mktemp("runs"), task="reversed", examples=3000, hidden=64,
        epochs=8, batch_size=32, lr=0.01, dropout=0.0, progress=False,
    )  # fmt: skip


@pytest.mark.ci
def test_it_learns_to_look_backwards(turned):
    assert turned.result["exact_4"] >= 0.6
    assert turned.result["exact_4"] >= turned.result["exact_1"] - 0.05
    assert f"{100 * turned.result['exact_4']:.1f}% right" in turned.config["line"]


@pytest.mark.ci
def test_where_it_looks(turned):
    """At the character that it says next."""
    model = turned.model().eval()
    digits = "31415926"
    numbers = [seq2seq.FIRST + int(c) for c in digits]
    given = nnx.tensor(np.asarray([[seq2seq.BEGIN, *numbers[::-1]]]))
    memory, state = model.encode(nnx.tensor(np.asarray([numbers])), np.asarray([8]))
    _, _, states = model.decode(given, state, memory, nnx.tensor(np.asarray([numbers])))
    weights = model.looks(states, memory).detach().numpy()
    assert (np.argmax(weights[:8], axis=1) == np.arange(8)[::-1]).mean() >= 0.7


def test_padding_has_no_say():
    o = find("seq2seq").make_options(hidden=8)
    o.assets = {"source": "0123456789", "target": "0123456789"}
    model = find("seq2seq").model(o).eval()
    source = np.asarray([[4, 5, 6, 7], [4, 5, 0, 0]])
    given = np.asarray([[1, 7, 6], [1, 5, 4]])
    both = model(nnx.tensor(source), np.asarray([4, 2]), nnx.tensor(given)).detach().numpy()
    alone = model(nnx.tensor(source[1:, :2]), np.asarray([2]), nnx.tensor(given[1:]))
    np.testing.assert_allclose(both[1:], alone.detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.ci
def test_prediction_lists_what_the_beam_found(turned, capsys):
    said = Run(turned.folder).recipe.predict_text(turned, "1234")
    assert len(said.rows) == 4 and said.rows[0][0] == "1234" and not said.notes
    shares = [float(row[2].rstrip("%")) for row in said.rows]
    assert shares == sorted(shares, reverse=True) and sum(shares) <= 100.1
    assert command(["predict", str(turned.folder), "--text", "12x34"]) == 0
    assert "unknown, left out: x" in capsys.readouterr().out
    assert command(["predict", str(turned.folder), "--text", "xyz"]) == 1
    assert "not a character of 'xyz' is known" in capsys.readouterr().err
    assert command(["generate", str(turned.folder)]) == 1
    assert "seq2seq does not write text" in capsys.readouterr().err


def test_examples_are_what_they_say():
    for task in seq2seq.TASKS:
        made = seq2seq.pairs(task, 300)
        assert made == seq2seq.pairs(task, 400)[:300] and len({a for a, _ in made}) == 300
        for source, target in made:
            if task == "sums":
                a, b = source.split("+")
                assert int(a) + int(b) == int(target)
            elif task == "reversed":
                assert source == target[::-1] and 3 <= len(source) <= 12
            else:
                y, m, d = target.split("-")
                assert y in source and str(int(d)) in source
                assert (
                    seq2seq.MONTHS[int(m) - 1][:3].lower() in source.lower()
                    or m.lstrip("0") in source
                )
    assert len({len(a) for a, _ in seq2seq.pairs("dates", 300)}) > 8


def test_attention_is_what_makes_the_difference():
    """Without it the decoder's first state must hold everything."""
    o = find("seq2seq").make_options(no_attention=True)
    o.assets = {"source": "0123456789", "target": "0123456789"}
    model = find("seq2seq").model(o).eval()
    source = nnx.tensor(np.asarray([[4, 5, 6]]))
    given = nnx.tensor(np.asarray([[1, 6, 5]]))
    memory, state = model.encode(source, np.asarray([3]))
    y, _, _ = model.decode(given, state, memory * 0.0, source)
    z, _, _ = model.decode(given, state, memory, source)
    np.testing.assert_array_equal(y.detach().numpy(), z.detach().numpy())
