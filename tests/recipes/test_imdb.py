"""The film reviews' three stages, on small files in the real ones' forms."""

from __future__ import annotations

import csv
import gzip
import io
import json

import numpy as np
import pytest

import nnx
from nnx import recipes
from nnx.cli.main import run as command
from nnx.recipes import Run, find
from nnx.recipes.imdb import ReviewGRU
from nnx.text import TextEncoder

STAGES = ("imdb-gru", "imdb-gru-dropout", "imdb-bigru-dropout")
SMALL = {
    "hidden": 4, "embedding": 6, "vocabulary": 40, "length": 8, "batch_size": 16, "lr": 0.02,
    "epochs": 4, "progress": False,
}  # fmt: skip

WORDS = {1: "good great fine 👍".split(), 0: "bad poor dull awful".split()}


def reviews(count, seed):
    """(label, text): some words that judge among some that do not."""
    draws = np.random.default_rng(seed)
    rows = []
    for k in range(count):
        label = k % 2
        words = [*draws.choice(WORDS[label], 3), *draws.choice("the film plot actor".split(), 3)]
        draws.shuffle(words)
        rows.append((label, f"The movie:<br /> {' '.join(words)}!"))
    return rows


def write_csv(path, rows):
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("label", "review"), *rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(out.getvalue().encode()))


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Drawing takes longer than the training here, and is tested elsewhere."""
    monkeypatch.setattr("nnx.train.LearningCurve.on_fit_end", lambda self, trainer: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder for NNX_DATA, with 240 reviews to train on and 60 to test on."""
    folder = tmp_path_factory.mktemp("data")
    write_csv(folder / "imdb" / "train.csv.gz", reviews(240, 0))
    write_csv(folder / "imdb" / "test.csv.gz", [*reviews(59, 1), (1, "onlyhere good fine great")])
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A run of the last stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNX_DATA", str(data))
        patch.setattr("nnx.train.LearningCurve.on_fit_end", lambda self, trainer: None)
        return recipes.train(STAGES[2], out=tmp_path_factory.mktemp("runs"), **SMALL)


def test_the_stages_differ_in_dropout_and_direction_alone(monkeypatch, data):
    monkeypatch.setenv("NNX_DATA", str(data))
    plans, models = [], []
    for name in STAGES:
        recipe = find(name)
        options = recipe.make_options()
        plan = options.to_dict()
        plans.append({key: plan[key] for key in plan.keys() - {"dropout", "word_dropout"}})
        options.assets = recipe.data(options).assets
        models.append(recipe.model(options))
    assert plans[0] == plans[1] == plans[2]
    assert [m.dropout.p for m in models] == [m.gru.dropout for m in models] == [0, 0.5, 0.5]
    assert [m.word_dropout > 0 for m in models] == [False, True, True]
    assert [m.gru.bidirectional for m in models] == [False, False, True]
    assert [(m.gru.num_layers, m.gru.hidden_size) for m in models] == [(3, 32)] * 3


def test_it_learns_and_says_the_accuracy(trained):
    assert trained.result["accuracy"] > 0.9
    assert trained.config["line"] == f"test accuracy {100 * trained.result['accuracy']:.2f}%"


def test_nothing_of_the_test_or_validation_reviews_is_known(monkeypatch, data, trained):
    monkeypatch.setenv("NNX_DATA", str(data))
    parts = trained.recipe.data(trained.options)
    assert [len(part[2]) for part in (parts.train, parts.validation, parts.test)] == [216, 24, 60]
    words = parts.assets["encoder"]["words"]
    assert "good" in words and "👍" in words and "onlyhere" not in words
    numbers, lengths, labels = parts.test
    assert numbers[-1].tolist()[:2] == [1, words.index("good") + 2]
    assert lengths[-1] == 4 and labels[-1] == 1


def test_the_validation_reviews_make_no_words(monkeypatch, tmp_path):
    """Every review has a word of its own: only those of the part to train on are known."""
    monkeypatch.setenv("NNX_DATA", str(tmp_path))
    rows = [(k % 2, f"own{k} film") for k in range(100)]
    write_csv(tmp_path / "imdb" / "train.csv.gz", rows)
    write_csv(tmp_path / "imdb" / "test.csv.gz", rows)
    recipe = find("imdb-gru")
    parts = recipe.data(recipe.make_options())
    assert len(parts.assets["encoder"]["words"]) == 90 + 1
    assert (parts.train[0][:, 0] != 1).all() and (parts.validation[0][:, 0] == 1).all()


def test_the_published_folder_is_read_as_well(monkeypatch, tmp_path):
    monkeypatch.setenv("NNX_DATA", str(tmp_path))
    for part in ("train", "test"):
        for k, (label, text) in enumerate(reviews(40, 0)):
            folder = tmp_path / "aclImdb" / part / ("neg", "pos")[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{k}_7.txt").write_text(text, "utf-8")
    run = recipes.train("imdb-gru", out=tmp_path / "runs", **SMALL | {"epochs": 1})
    assert 0 <= run.result["accuracy"] <= 1


def test_which_words_are_read(monkeypatch, data):
    monkeypatch.setenv("NNX_DATA", str(data))
    recipe = find("imdb-gru")

    def read(**options):
        return TextEncoder.from_dict(recipe.data(recipe.make_options(**options)).assets["encoder"])

    assert "the" not in read().vocabulary and "the" in read(keep_stop_words=True).vocabulary
    end, beginning = read(length=2), read(length=2, beginning=True)
    text = "good film awful plot"
    assert end.vocabulary.decode(end([text])[0][0]) == ["awful", "plot"]
    assert beginning.vocabulary.decode(beginning([text])[0][0]) == ["good", "film"]
    assert len(read(vocabulary=5).vocabulary) == 5


def model(**options):
    return ReviewGRU(
        **{"words": 9, "embedding": 3, "hidden": 2, "dropout": 0.0, "word_dropout": 0.0}
        | {"bidirectional": True, **options}
    )


NUMBERS = np.asarray([[2, 3, 4, 5, 6], [7, 8, 0, 0, 0]])
LENGTHS = np.asarray([5, 2])


def test_padding_has_no_say():
    """Longer padding, or something that stands in it, changes nothing."""
    net = model()
    y = net(nnx.tensor(NUMBERS), nnx.tensor(LENGTHS)).data
    wider = np.pad(NUMBERS, ((0, 0), (0, 3)))
    np.testing.assert_allclose(net(nnx.tensor(wider), nnx.tensor(LENGTHS)).data, y, rtol=1e-5)
    wider[:, 5:] = 4
    np.testing.assert_allclose(net(nnx.tensor(wider), nnx.tensor(LENGTHS)).data, y, rtol=1e-5)
    alone = net(nnx.tensor(NUMBERS[1:, :2]), nnx.tensor(LENGTHS[1:])).data
    np.testing.assert_allclose(alone[0], y[1], rtol=1e-5)


def test_words_are_forgotten_in_training_only():
    net = model(word_dropout=0.4, words=100)
    numbers = nnx.tensor(np.full((50, 200), 7))
    nnx.manual_seed(0)
    forgotten = net._forget(numbers).data
    assert set(np.unique(forgotten)) == {1, 7}
    assert np.mean(forgotten == 1) == pytest.approx(0.4, abs=0.02)
    lengths = nnx.tensor(np.full(50, 200))
    net.eval()
    np.testing.assert_array_equal(net(numbers, lengths).data, net(numbers, lengths).data)
    net.train()
    assert (net(numbers, lengths).data != net(numbers, lengths).data).any()


def test_vectors_of_a_glove_file(monkeypatch, data, tmp_path):
    """Training begins with them and changes them, and afterwards the file is not needed."""
    monkeypatch.setenv("NNX_DATA", str(data))
    glove = tmp_path / "glove.txt"
    glove.write_text("good 1 2 3 4 5\nbad -1 -2 -3 -4 -5\n")
    options = SMALL | {"glove": str(glove), "epochs": 1, "lr": 1e-6}
    run = recipes.train("imdb-gru", out=tmp_path / "runs", **options)
    glove.unlink()
    again = Run(run.folder)
    weight = again.model().embedding.weight.data
    rows = [2 + again.options.assets["encoder"]["words"].index(word) for word in ("good", "bad")]
    expected = np.asarray([[1, 2, 3, 4, 5], [-1, -2, -3, -4, -5]])
    np.testing.assert_allclose(weight[rows], expected, atol=1e-3)
    assert (weight[rows] != expected).any(axis=1).all() and (weight[0] == 0).all()
    assert said(again, "good")[2] == ["1 words read"]


# ---- prediction ----


def said(run, text):
    """(class, probability in percent, notes) of a text."""
    prediction = run.recipe.predict_text(run, text)
    ((_, kind, share),) = prediction.rows
    return kind, float(share.rstrip("%")), prediction.notes


def test_a_sentence_is_judged_from_the_run_folder_alone(monkeypatch, trained, tmp_path):
    monkeypatch.delenv("NNX_DATA", raising=False)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("config.json", "assets.json", "last.safetensors"):
        (folder / name).write_bytes((trained.folder / name).read_bytes())
    run = Run(folder)
    kind, share, notes = said(run, "A great, fine film. Good!")
    assert kind == "positive" and share > 60 and notes == ["5 words read"]
    kind, share, notes = said(run, "Bad actor, poor plot, <b>awful</b>")
    assert kind == "negative" and share > 60
    assert said(run, "👍👍👍")[0] == "positive"
    json.loads((folder / "assets.json").read_text("utf-8"))


@pytest.mark.parametrize("text", ["", "   ", "<br />", "...", "Qwertz uiop"])
def test_a_text_without_a_known_word_is_said_to_be_one(trained, text):
    kind, share, notes = said(trained, text)
    assert kind in ("negative", "positive") and 50 <= share <= 100
    assert notes[-1] == "not a word of it is known, so this says nothing of the text"


def test_unknown_words_are_listed(trained):
    notes = said(trained, "good zebra film Yak zebra")[2]
    assert notes == ["5 words read", "unknown: zebra, yak"]
    many = " ".join(f"w{k}" for k in range(30))
    assert said(trained, f"good {many}")[2][1].endswith("w9 and 20 more")


def test_a_very_long_review(trained):
    text = "bad " * 20_000 + "great " * 8
    kind, _, notes = said(trained, text)
    assert kind == "positive" and notes == ["the last 8 of 20008 words read"]
    shown = trained.recipe.predict_text(trained, text).rows[0][0]
    assert len(shown) == 60 and shown.endswith("...")


def test_the_command_says_how_a_sentence_is_judged(trained, capsys):
    assert command(["predict", str(trained.folder), "--text", "great fine film"]) == 0
    out = capsys.readouterr().out
    assert "positive" in out and "3 words read" in out
    assert command(["predict", str(trained.folder), "picture.png"]) == 1
    assert "imdb-bigru-dropout does not predict from files" in capsys.readouterr().err


def test_three_learning_curves_in_one_picture(monkeypatch, data, trained, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("NNX_DATA", str(data))
    folders = [str(trained.folder)]
    for name in STAGES[:2]:
        run = recipes.train(name, out=tmp_path, **SMALL | {"epochs": 1})
        folders.append(str(run.folder))
    picture = tmp_path / "stages.png"
    assert command(["plot", "curves", *folders, "--out", str(picture)]) == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_the_textbooks_gru_dropout_and_fixed_vectors():
    recipe = find("imdb-gru-dropout")
    options = recipe.make_options(gru="before", dropout=0.2, freeze_embedding=True)
    options.assets = {"encoder": {"words": ["good", "bad"]}, "embedding": 4}
    model = recipe.model(options)
    assert not model.gru.reset_after and model.dropout.p == 0.2 and model.word_dropout == 0.3
    assert not model.embedding.weight.requires_grad and model.head.weight.requires_grad
    plain = recipe.make_options()
    plain.assets = options.assets
    assert recipe.model(plain).gru.reset_after and plain.dropout == 0.5
    assert find("imdb-gru").make_options().dropout == 0.0
    with pytest.raises(ValueError, match="gru must be one of after, before, got 'both'"):
        recipe.make_options(gru="both")
