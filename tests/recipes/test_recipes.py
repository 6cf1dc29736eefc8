"""Experiments: every one is whole, digits learns, and a run folder is enough to go on from."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import nnx
from nnx import nn, recipes
from nnx.datasets import load_digits, write_idx
from nnx.io import CorruptFile, load, load_state
from nnx.recipes import NAMES, Data, Option, Recipe, Run, find
from nnx.recipes.runner import resume
from nnx.train.history import read_steps


class Tiny(Recipe):
    """A regression with an asset: not a picture, not an accuracy."""

    name = "tiny"
    about = "a line through noisy points"
    epochs, batch_size, lr = 3, 8, 0.1
    options = (Option("slope", 2.0, "of the line"),)
    metrics = ("mae",)
    measure = "mae"
    keep = "best"

    def data(self, o):
        x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
        return Data((x, o.slope * x), (x, o.slope * x), assets={"shift": [0.5]})

    def model(self, o):
        assert o.assets == {"shift": [0.5]}
        return nn.Sequential(nn.Linear(1, 1))

    def loss(self, o):
        return lambda y, t: ((y - t) * (y - t)).mean()

    def draw(self, trainer, data, o, folder):
        (folder / "line.png").write_bytes(b"")
        return [folder / "line.png"]

    def predict_text(self, run, text):
        return recipes.Prediction(["text", "value"], [[text, "1"]])


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr("nnx.recipes.run.find", lambda name: Tiny())
    return Tiny()


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_is_whole(name):
    recipe = find(name)
    assert recipe.name == name and recipe.about and len(recipe.about) < 90
    options = recipe.make_options()
    assert options.epochs >= 1 and options.batch_size >= 1 and options.lr > 0 and options.seed == 0
    for option in recipe.all_options():
        assert option.help and type(option.default) in (int, float, str, bool)
        assert json.loads(json.dumps(getattr(options, option.name))) == option.default


@pytest.mark.parametrize("name", ["digits", "mnist-softmax", "mnist-mlp"])
def test_a_model_takes_its_pictures(name):
    recipe = find(name)
    options = recipe.make_options()
    model = recipe.model(options)
    x = np.zeros((2, *recipe.size), np.float32)
    assert model(nnx.tensor(recipe.to_input(x))).shape == (2, len(recipe.classes))
    assert recipe.optimizer(model, options).param_groups[0]["lr"] == options.lr


def test_the_penalty_is_on_weights_alone():
    recipe = find("mnist-mlp")
    options = recipe.make_options()
    weights, biases = recipe.optimizer(recipe.model(options), options).param_groups
    assert [p.ndim for p in weights["params"]] == [2, 2] and weights["weight_decay"] == 1e-4
    assert [p.ndim for p in biases["params"]] == [1, 1] and biases["weight_decay"] == 0


def test_digits_learns(short_run):
    assert short_run.result["accuracy"] >= 0.93
    assert short_run.config["line"] == f"test accuracy {100 * short_run.result['accuracy']:.2f}%"


def test_digits_keeps_its_parts_apart():
    data = find("digits").data(find("digits").make_options())
    parts = [p[0].reshape(len(p[0]), -1) for p in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == 1797
    seen = [{row.tobytes() for row in part} for part in parts]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_a_run_folder_has_what_it_promises(short_run):
    names = {path.name for path in short_run.folder.iterdir()}
    promised = {"config.json", "last.safetensors", "best.safetensors", "history.csv", "steps.csv"}
    assert names - {"curves.png"} == promised
    config = json.loads((short_run.folder / "config.json").read_text())
    assert config["experiment"] == "digits" and config["options"]["epochs"] == 6
    assert config["backend"] == "numpy" and config["nnx"] == nnx.__version__
    assert config["result"] == short_run.result
    with (short_run.folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == list("123456")
    _, header = load(short_run.folder / "best.safetensors")
    assert header["config"]["experiment"] == "digits"


def test_pictures_are_there_with_matplotlib(short_run):
    pytest.importorskip("matplotlib")
    assert (short_run.folder / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_predicts_from_its_folder_alone(short_run, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("config.json", "last.safetensors"):
        (folder / name).write_bytes((short_run.folder / name).read_bytes())
    test = load_digits().test
    nnx.manual_seed(123)
    output = Run(folder).predict(test.scaled())
    accuracy = np.mean(np.argmax(output.numpy(), axis=1) == test.labels)
    assert accuracy == pytest.approx(short_run.result["accuracy"])


def test_predictions_from_files(short_run, tmp_path):
    test = load_digits().test
    write_idx(tmp_path / "digits.gz", test.images[:40])
    said = short_run.recipe.predict_files(short_run, [tmp_path / "digits.gz"])
    assert len(said.rows) == 40
    right = [row[1] == str(label) for row, label in zip(said.rows, test.labels[:40], strict=True)]
    assert np.mean(right) > 0.85
    name, best, share, second, how = said.rows[3]
    assert name == "digits.gz[3]" and share.endswith("%") and "(" in second
    assert how == "values from 0 to 16 scaled to 0 to 1"
    assert best != second[0]
    assert said.notes[0].startswith("40 images; per class 0: ")


def test_numbers_of_run_folders_go_up(tmp_path, tiny):
    options = tiny.make_options()
    for name in ("tiny-7", "tiny-x", "tiny-2"):
        (tmp_path / name).mkdir()
    assert Run.create(tmp_path, tiny, options).folder.name == "tiny-8"
    assert Run.create(tmp_path, tiny, options).folder.name == "tiny-9"


def test_a_task_of_another_kind(tmp_path, tiny, capsys):
    run = recipes.train(tiny, out=tmp_path, slope=3.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny: 32 to train on, 32 to test; 2 parameters; backend numpy"
    assert lines[-2].endswith("line.png")
    assert lines[-1] == run.config["line"] and lines[-1].startswith("test mae 0.")
    assert json.loads((run.folder / "assets.json").read_text()) == {"shift": [0.5]}
    again = Run(run.folder)
    assert again.options.slope == 3.0
    x = np.asarray([[1.0]], np.float32)
    best = load(run.folder / "best.safetensors")[0]
    expected = best["0.weight"] + best["0.bias"]
    np.testing.assert_allclose(again.predict(x).numpy(), expected)
    assert again.recipe.predict_text(again, "hello").rows == [["hello", "1"]]


def test_the_best_weights_are_those_that_count(tmp_path, tiny):
    """With a rate so high that the loss jumps: the last epoch is not the best."""
    run = recipes.train(tiny, out=tmp_path, progress=False, lr=1.15, epochs=7)
    x, t = tiny.data(run.options).test
    best, _ = load(run.folder / "best.safetensors")
    last = load_state(run.checkpoint)[1]
    errors = [np.abs(x * w["0.weight"] + w["0.bias"] - t).mean() for w in (best, last)]
    assert errors[0] < 0.9 * errors[1]
    assert run.result["mae"] == pytest.approx(errors[0], rel=1e-4)


def bits(path):
    state, weights, _ = load_state(path)
    optimizer = state["optimizer"]["state"]
    arrays = {**weights, **{f"{k}/{n}": v for k, s in optimizer.items() for n, v in s.items()}}
    return {name: np.asarray(a).tobytes() for name, a in arrays.items()}


def test_5_epochs_and_5_more_are_10(tmp_path, monkeypatch):
    monkeypatch.setattr("nnx.train.LearningCurve.on_fit_end", lambda self, trainer: None)
    options = {"out": tmp_path, "progress": False, "hidden": 16}
    whole = recipes.train("digits", epochs=10, **options)
    half = recipes.train("digits", epochs=5, **options)
    nnx.manual_seed(77)
    resume(Run(half.folder), epochs=10, progress=False)
    assert bits(half.checkpoint) == bits(whole.checkpoint)
    assert Run(half.folder).result == whole.result
    assert Run(half.folder).history["val_loss"] == whole.history["val_loss"]


def test_killed_before_the_first_checkpoint_it_begins_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nnx.train.LearningCurve.on_fit_end", lambda self, trainer: None)
    whole = recipes.train("digits", out=tmp_path, progress=False, hidden=8, epochs=1)
    killed = Run.create(tmp_path, whole.recipe, whole.options)
    nnx.manual_seed(77)
    resume(killed)
    assert "was ended before its first checkpoint: it begins again" in capsys.readouterr().out
    assert bits(killed.checkpoint) == bits(whole.checkpoint)


def test_fewer_epochs_are_refused_and_nothing_is_rewritten(tmp_path, monkeypatch):
    monkeypatch.setattr("nnx.train.LearningCurve.on_fit_end", lambda self, trainer: None)
    run = recipes.train("digits", out=tmp_path, progress=False, hidden=8, epochs=2)
    before = (run.folder / "config.json").read_bytes()
    with pytest.raises(ValueError, match="was begun with 2 epochs; resumed, it can have more, not"):
        resume(Run(run.folder), epochs=1, progress=False)
    run.checkpoint.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="safetensors"):
        resume(Run(run.folder), epochs=5, progress=False)
    assert (run.folder / "config.json").read_bytes() == before


def test_the_losses_of_all_steps_are_kept_in_the_run(short_run, tmp_path):
    losses = short_run.history.step_losses
    state = load_state(short_run.checkpoint)[0]
    assert losses == state["history"]["step_losses"].tolist() and len(losses) == state["step"]
    for text, message in (
        ("", "the first line must be step,loss"),
        ("step,loss\n2,0.5\n", "line 2: it is step 1, not 2"),
        ("step,loss\n1,much\n", "line 2: could not convert"),
    ):
        with pytest.raises(CorruptFile, match=rf"some\.csv: {message}"):
            read_steps(text, "some.csv")


def test_the_seed_decides(tmp_path, monkeypatch):
    monkeypatch.setattr("nnx.train.LearningCurve.on_fit_end", lambda self, trainer: None)
    options = {"out": tmp_path, "progress": False, "hidden": 8, "epochs": 1}
    runs = [recipes.train("digits", seed=seed, **options) for seed in (1, 1, 2)]
    first, same, other = (bits(run.checkpoint) for run in runs)
    assert first == same != other


def test_what_cannot_be_run_is_said(tmp_path, short_run):
    with pytest.raises(ValueError, match=r"no experiment 'mnist-mpl'; did you mean 'mnist-mlp'\?"):
        find("mnist-mpl")
    with pytest.raises(ValueError, match="digits has no option hiden; it has epochs"):
        recipes.train("digits", hiden=3)
    with pytest.raises(FileNotFoundError, match=r"there is no run folder .*nowhere"):
        Run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"is no run folder: it has no config\.json"):
        Run(tmp_path)
    for text, match in (
        ("{", r"config\.json is damaged"),
        ("[]", "holds no JSON object"),
        ("{}", r"config\.json: has no 'experiment'"),
        ('{"experiment": "os.system", "options": {}}', "no experiment 'os.system'"),
        ('{"experiment": "digits", "options": {"x": 1}}', "digits has no option x"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=match):
            Run(tmp_path)
    (tmp_path / "config.json").write_bytes((short_run.folder / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"no trained model yet: no last\.safetensors"):
        Run(tmp_path).model()
    whole = short_run.checkpoint.read_bytes()
    (tmp_path / "last.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"last\.safetensors is not a whole safetensors file"):
        Run(tmp_path).model()
    with pytest.raises(ValueError, match="digits does not predict from text"):
        short_run.recipe.predict_text(short_run, "seven")


# ---- the textbook's plan, by options ----


def test_the_textbooks_plan_of_mnist_mlp():
    recipe = find("mnist-mlp")
    options = recipe.make_options(momentum=0.0, decay=1.0, init="book")
    nnx.manual_seed(0)
    model = recipe.new_model(options)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert not p.data.any()
        else:
            assert np.std(p.data) == pytest.approx(0.01, rel=0.05) and abs(np.mean(p.data)) < 1e-3
    optimizer = recipe.new_optimizer(model, options)
    assert {g["momentum"] for g in optimizer.param_groups} == {0.0}
    (schedule,) = recipe.callbacks(optimizer, options)
    schedule.scheduler.step()
    assert optimizer.param_groups[0]["lr"] == options.lr


def test_an_optimizer_by_name_keeps_groups_and_rate():
    recipe = find("mnist-mlp")
    options = recipe.make_options(optimizer="rmsprop", lr=0.003)
    made = recipe.new_optimizer(recipe.new_model(options), options)
    assert type(made) is nnx.optim.RMSprop
    assert [(g["lr"], g["weight_decay"]) for g in made.param_groups] == [(0.003, 1e-4), (0.003, 0)]
    for name, wanted in (("momentum", 0.9), ("sgd", 0.0)):
        options = recipe.make_options(optimizer=name)
        made = recipe.new_optimizer(recipe.new_model(options), options)
        assert made.param_groups[0]["momentum"] == wanted
    with pytest.raises(ValueError, match=r"optimizer must be one of .*, momentum, .* got 'addam'"):
        recipe.make_options(optimizer="addam")
    with pytest.raises(ValueError, match="init must be one of pytorch, book, got 'zero'"):
        recipe.make_options(init="zero")


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_takes_an_optimizer_by_name(name):
    recipe = find(name)
    assert {"optimizer", "init"} <= {option.name for option in recipe.all_options()}
