"""curve-rnn and csi300-lstm: parts that follow each other in time, and honest company."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, recipes
from nnx.cli.main import run as cli
from nnx.data import Scaling
from nnx.datasets import load_curve
from nnx.recipes import Data, find
from nnx.recipes.csi300_lstm import windows
from nnx.recipes.series import LastStep, ridge

DAYS = 1200  # 960 before the border, 240 after it; 96 of the first to validate


def write_days(folder, close):
    """An index in the file's form: day, close, volume, turnover."""
    path = folder / "hs300" / "hs300.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{k + 1} , {c:.4f} , {50 + k % 7} , {c / 20:.4f}" for k, c in enumerate(close)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def days(tmp_path, monkeypatch):
    monkeypatch.setenv("NNX_DATA", str(tmp_path))
    write_days(tmp_path, np.arange(DAYS) + 1000.0)
    return tmp_path


def closing(arrays, assets):
    """The closing values of windows, whole ones: (N, 84) in index points."""
    scaling = Scaling.from_dict(assets["scaling"])
    inputs, targets = arrays
    both = np.concatenate([inputs[:, :, 0], targets], axis=1)
    return np.rint(both * scaling.scale[0, 0] + scaling.shift[0, 0])


def test_the_last_step_is_what_counts():
    x = nnx.tensor(np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32))
    model = LastStep(nn.LSTM(3, 4, num_layers=2, batch_first=True), outputs=6)
    _, (h, _) = model.recurrent(x)
    np.testing.assert_allclose(model(x).data, model.head(h[-1]).data, rtol=1e-6)
    assert model(x).shape == (2, 6)
    model.change = True
    expected = model.head(h[-1]).data + x.data[:, -1, :1]
    np.testing.assert_allclose(model(x).data, expected, rtol=1e-6)


def test_windows_of_days():
    values = np.arange(90 * 3, dtype=np.float32).reshape(90, 3)
    inputs, targets = windows(values)
    assert inputs.shape == (7, 64, 3) and targets.shape == (7, 20)
    np.testing.assert_array_equal(inputs[6], values[6:70])
    np.testing.assert_array_equal(targets[6], values[70:90, 0])
    assert len(windows(values[:84])[0]) == 1
    with pytest.raises(ValueError, match="a part of the data has 83 days"):
        windows(values[:83])


def test_the_parts_of_the_index_follow_each_other(days):
    """The closing value is the number of the day, so every window says where it lies."""
    data = find("csi300-lstm").data(find("csi300-lstm").make_options())
    train, validation, test = (
        closing(part, data.assets) for part in (data.train, data.validation, data.test)
    )
    for part, first, last in ((train, 0, 863), (validation, 864, 959), (test, 960, 1199)):
        assert part.min() == 1000 + first and part.max() == 1000 + last
        np.testing.assert_array_equal(np.diff(part, axis=1), 1)
        assert len(part) == last - first + 1 - 83


def test_what_is_scaled_is_learnt_on_the_days_trained_on(days):
    recipe = find("csi300-lstm")
    before = recipe.data(recipe.make_options())
    close = np.arange(DAYS) + 1000.0
    close[864:] *= 7
    write_days(days, close)
    after = recipe.data(recipe.make_options())
    assert after.assets == before.assets
    np.testing.assert_array_equal(after.train[0], before.train[0])
    assert (after.test[1] != before.test[1]).all()
    np.testing.assert_allclose(after.assets["scaling"]["shift"][0][0], 1000 + 863 / 2)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Drawing takes longer than the training here, and is tested elsewhere."""
    monkeypatch.setattr("nnx.train.LearningCurve.on_fit_end", lambda self, trainer: None)


def test_the_index_beside_its_baselines(days, tmp_path, capsys):
    """A straight line: ridge regression continues it; "tomorrow is today" is wrong by 1 to 20."""
    options = {"hidden": 4, "epochs": 1, "batch_size": 64, "change": True}
    run = recipes.train("csi300-lstm", out=tmp_path / "runs", **options)
    result, lines = run.result, capsys.readouterr().out.splitlines()
    assert result["rmse_today"] == pytest.approx(np.sqrt(np.mean(np.arange(1, 21) ** 2)), rel=1e-3)
    assert result["rmse_ridge"] < 0.2
    assert lines[-1] == f"test rmse {result['rmse']:.1f}"
    assert lines[-2].startswith("the network is worse than the better of the two without one, by ")
    today = next(line for line in lines if line.startswith("tomorrow is today"))
    assert today.split()[3:6] == ["12.0", "1.0", "20.0"]
    targets = run.recipe.data(run.options).test[1]
    scale = Scaling.from_dict(run.options.assets["scaling"]).scale[0, 0]
    predicted = run.predict(run.recipe.data(run.options).test[0]).numpy()
    expected = np.sqrt(np.mean((predicted - targets) ** 2)) * scale
    assert result["rmse"] == pytest.approx(expected, rel=1e-4)

    # `nnx predict RUN`: the days after the last one; with a file, after the file's
    recipe = run.recipe
    coming = recipe.predict_files(run, [])
    assert [row[0] for row in coming.rows] == [str(DAYS + k) for k in range(1, 21)]
    assert {row[2] for row in coming.rows} == {str(1000 + DAYS - 1)}  # tomorrow is today
    line = [float(row[3]) for row in coming.rows]
    np.testing.assert_allclose(line, 1000 + DAYS - 1 + np.arange(1, 21), atol=1.5)
    own = tmp_path / "own.csv"
    own.write_text("".join(f"{d},{3000 + d},1,1\n" for d in range(1, 101)))
    assert recipe.predict_files(run, [own]).rows[0][:3:2] == ("101", "3100")
    own.write_text("1,2,3,4\n2,2,3,4\n")
    refused = recipe.predict_files(run, [own])
    assert not refused.rows and "64 days are needed, it has 2" in str(refused.failed[0])
    refused = recipe.predict_files(run, [tmp_path / "nowhere.csv"])
    assert isinstance(refused.failed[0], FileNotFoundError)
    assert cli(["predict", str(run.folder), "--limit", "3"]) == 0
    said = capsys.readouterr().out
    assert "tomorrow is today" in said and "and 17 more" in said


def test_a_silent_run_prints_nothing(days, tmp_path, capsys):
    recipes.train("csi300-lstm", out=tmp_path, progress=False, hidden=2, epochs=1, batch_size=256)
    assert capsys.readouterr().out == ""


def test_ridge_regression_is_the_solution_of_its_equations():
    """The gradient of |X W - T|² + λ |W|² vanishes for one of the λ, and centring is right."""
    draw = np.random.default_rng(0).normal
    inputs, targets = draw(3, 1, (50, 2, 3)), draw(-5, 1, (50, 4))
    data = Data((inputs, targets), (inputs, targets), (inputs[:20], targets[:20]))
    predicted = ridge(data)(inputs)
    x = inputs.reshape(50, 6) - inputs.reshape(50, 6).mean(axis=0)
    w = np.linalg.lstsq(x, predicted - predicted.mean(axis=0), rcond=None)[0]
    np.testing.assert_allclose(predicted.mean(axis=0), targets.mean(axis=0))
    gradient = x.T @ (x @ w - (targets - targets.mean(axis=0)))
    strength = -gradient / w
    np.testing.assert_allclose(strength, np.broadcast_to(strength[0, 0], strength.shape), rtol=1e-4)
    assert min(abs(np.log10(strength[0, 0]) - np.arange(-2, 5))) < 1e-3


def test_the_strength_of_ridge_is_chosen_on_the_validation_part():
    """Where the training targets are noise, the strongest penalty is the best."""
    draw = np.random.default_rng(0).normal
    x = draw(size=(40, 10, 1))
    noise = draw(size=(40, 1))
    flat = np.full((40, 1), noise.mean())
    weak = ridge(Data((x, noise), test=(x, flat), validation=(x, noise)))(x)
    strong = ridge(Data((x, noise), test=(x, noise), validation=(x, flat)))(x)
    assert np.std(strong) < 0.02 < np.std(weak)


def test_the_parts_of_the_curve_have_no_value_in_common():
    recipe = find("curve-rnn")
    data = recipe.data(recipe.make_options())
    train, validation, test = (
        {*x.ravel().tolist(), *t.ravel().tolist()}
        for x, t in (data.train, data.validation, data.test)
    )
    assert len(validation) > 1000
    assert not train & validation and not train & test and not validation & test
    everything = load_curve().train
    np.testing.assert_array_equal(data.validation[1], everything.targets[-1000:])


def test_curve_rnn_learns(tmp_path, capsys):
    """Two short epochs; the full plan is in docs/sequences.md."""
    run = recipes.train("curve-rnn", out=tmp_path, epochs=2, batch_size=128, lr=0.02)
    lines = capsys.readouterr().out.splitlines()
    result = run.result
    assert result["mse"] < 0.02
    assert result["mse_noise"] == pytest.approx(0.05**2 / 3)
    assert result["mse_noise"] < result["mse_ridge"] < result["mse_last"] < 0.0025
    assert lines[-1] == f"test mse {result['mse']:.4g}"
    assert any(line.startswith("ridge regression") for line in lines)
    test = load_curve().test
    mse = np.mean((run.predict(test.inputs).numpy() - test.targets) ** 2)
    assert result["mse"] == pytest.approx(mse, rel=1e-4)
    pytest.importorskip("matplotlib")
    assert (run.folder / "prediction.png").read_bytes()[:4] == b"\x89PNG"
