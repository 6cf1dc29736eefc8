"""Photographs of digits: what a network says of them is what it says of the digits themselves."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import photographs
import pytest
from PIL import Image

import nnx
from nnx import nn, optim
from nnx.cli.main import run as command
from nnx.datasets import load_digits, load_mnist
from nnx.recipes import Run, train
from nnx.recipes.figures import NoFigure, find_figure
from nnx.recipes.mnist import MnistRecipe
from nnx.recipes.pictures import lay_out, read_pictures

MIXTURES = (
    ("falling light", "specks"), ("camera", "vignette"), ("pencil", "ruled"),
    ("turned", "dark frame"), ("dark edge", "camera"), ("chalk", "falling light"),
    ("dark frame", "falling light"), ("table", "camera"), ("shadow", "pencil"),
)  # fmt: skip
EACH = 24


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return train("digits", out=tmp_path_factory.mktemp("a"), progress=False)


@pytest.mark.parametrize("kinds", [*[(k,) for k in photographs.KINDS], *MIXTURES], ids="+".join)
def test_a_photograph_says_what_its_digit_says(digits, tmp_path, kinds):
    """Within 5 points: of 24 examples, all but one of those that are right themselves."""
    rng = np.random.default_rng(20_11)
    test = load_digits().test
    chosen = rng.permutation(len(test.labels))[:EACH]
    paths = [tmp_path / f"{k}.jpg" for k in range(EACH)]
    for path, k in zip(paths, chosen, strict=True):
        path.write_bytes(photographs.photograph(test.scaled()[k], kinds, rng))
    said = digits.recipe.predict_files(digits, paths)
    assert not said.failed
    themselves = np.argmax(digits.predict(test.scaled()[chosen]).numpy(), axis=1)
    right = np.array([int(row[1]) for row in said.rows]) == test.labels[chosen]
    assert np.sum(right) >= np.sum(themselves == test.labels[chosen]) - 0.05 * EACH


@pytest.fixture(scope="module")
def mnist():
    """A network of one hidden layer, right 19 times out of 20, and the pictures to test it on."""
    if not (Path(os.environ.get("NNX_DATA", "no data")) / "mnist").is_dir():
        pytest.skip("MNIST is not in NNX_DATA")
    train, test = load_mnist()
    nnx.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    trainer = nnx.Trainer(
        model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=3e-3), progress=False
    )
    trainer.fit((train.scaled()[:20_000], train.labels[:20_000]), epochs=2, batch_size=64)
    return trainer, test.scaled()[:2000], test.labels[:2000]


@pytest.mark.parametrize("kinds", [*[(k,) for k in photographs.KINDS], *MIXTURES], ids="+".join)
def test_so_does_one_of_mnist_enlarged_six_times(mnist, tmp_path, kinds):
    """No paper around it: a frame is 24 pixels from the figure, or fewer."""
    trainer, images, labels = mnist
    rng = np.random.default_rng(28_28)
    chosen = rng.choice(len(labels), EACH, replace=False)
    laid = []
    for k in chosen:
        path = tmp_path / "photograph.jpg"
        path.write_bytes(photographs.photograph(images[k], kinds, rng, (168, 168), 168, 0))
        (picture,) = read_pictures(path)
        laid.append(lay_out(picture, MnistRecipe.size, MnistRecipe.box, MnistRecipe.middle).pixels)
    right, themselves = [
        np.sum(np.argmax(trainer.predict(x).numpy(), axis=1) == labels[chosen])
        for x in (np.stack(laid), images[chosen])
    ]
    assert right >= themselves - 0.08 * EACH


def test_a_clean_photograph_keeps_the_pixels_of_its_digit(tmp_path):
    """Size, place and sharpness: means over whole pixels, or another middle, miss it by more."""
    part = load_digits().train
    rng = np.random.default_rng(5)
    away = []
    for x in part.scaled()[:60]:
        (tmp_path / "a.jpg").write_bytes(photographs.photograph(x, ("clean",), rng))
        (picture,) = read_pictures(tmp_path / "a.jpg")
        away.append(np.abs(lay_out(picture, (8, 8), (8, 8), (3.48, 3.57)).pixels - x).mean())
    assert np.mean(away) < 0.078


def disc(rows, columns, y, x, r):
    a, b = np.mgrid[:rows, :columns]
    return ((a - y) ** 2 + (b - x) ** 2 < r * r).astype(np.float32)


def test_nothing_and_several_figures_are_said(digits, tmp_path, capsys):
    two = 1 - 0.9 * (disc(200, 300, 100, 80, 30) + disc(200, 300, 100, 220, 30))
    noise = 0.8 + np.random.default_rng(0).normal(0, 0.02, (200, 300))
    good = 1 - 0.9 * disc(200, 300, 100, 80, 30)
    for name, x in (("white", np.ones((200, 300))), ("two", two), ("noise", noise), ("good", good)):
        Image.fromarray(np.uint8(255 * np.clip(x, 0, 1))).save(tmp_path / f"{name}.png")
    names = ("white", "two", "good", "noise", "gone")
    paths = [str(tmp_path / f"{name}.png") for name in names]
    assert command(["predict", str(digits.folder), *paths]) == 1
    out, err = capsys.readouterr()
    assert "good.png" in out and not any(f"{name}.png" in out for name in ("white", "two", "noise"))
    lines = err.strip().splitlines()
    assert len(lines) == 4 and "white.png: there is nothing on this picture of 200×300" in lines[0]
    assert "two.png: there are 2 figures, not one" in lines[1]
    assert "noise.png: there is nothing" in lines[2] and "gone.png" in lines[3]


def test_a_frame_and_specks_are_told():
    x = 0.9 - 0.8 * disc(200, 300, 100, 80, 40) * (1 - disc(200, 300, 100, 80, 25))
    x[3:6, 290:293] = 0.1
    found = find_figure(x)
    assert found.dark and found.dropped == ["1 speck"]
    assert abs(found.ink.shape[0] - found.ink.shape[1]) <= 1
    x[:8] = x[-8:] = x[:, :8] = x[:, -8:] = 0.05
    found = find_figure(x)
    assert found.dark and found.dropped == ["a frame"]
    assert abs(found.ink.shape[0] - found.ink.shape[1]) <= 1
    with pytest.raises(NoFigure, match="nothing"):
        find_figure(np.full((40, 30), 0.5))


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (3, 400), (5, 41), (200, 7), (361, 2)])
def test_strips_of_a_few_pixels_are_judged_too(shape):
    """The paper's brightness has as many terms as so few pixels can tell apart."""
    rng = np.random.default_rng(3)
    for x in (rng.random(shape), 1.0 * (rng.random(shape) > 0.5), np.eye(*shape), np.ones(shape)):
        with suppress(NoFigure):
            assert np.isfinite(find_figure(x.astype(np.float32)).ink).all()
    faint = np.ones((28, 40), np.float32)
    faint[3, 4] = 0.93  # all but level, so Otsu's threshold has no two classes
    with pytest.raises(NoFigure):
        find_figure(faint)


def test_scattered_pixels_are_hardly_ever_a_figure():
    named = 0
    for seed in range(434, 454):
        salt = np.random.default_rng(seed).random((28, 16)) < 0.1
        with suppress(NoFigure):
            assert np.isfinite(find_figure(salt.astype(np.float32)).ink).all()
            named += 1
    assert named <= 2


@pytest.mark.parametrize("part", ["find_figure", "_judged"])
def test_a_fault_of_the_program_is_no_bad_picture(digits, tmp_path, monkeypatch, part):
    def faulty(*arguments):
        raise ValueError("a fault")

    Image.fromarray(np.uint8(255 * (1 - disc(200, 300, 100, 80, 30)))).save(tmp_path / "a.png")
    monkeypatch.setattr(f"nnx.recipes.pictures.{part}", faulty)
    with pytest.raises(ValueError, match=r"^a fault$"):
        digits.recipe.predict_files(digits, [tmp_path / "a.png"])


def test_every_frame_and_every_row_is_read(digits, tmp_path, capsys):
    test = load_digits().test
    frames = [
        Image.fromarray(np.uint8(255 * np.kron(np.pad(x, 2), np.ones((10, 10)))))
        for x in test.scaled()[:3]
    ]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    np.save(tmp_path / "rows.npy", test.images[:3].reshape(3, 64))
    np.save(tmp_path / "one.npy", test.images[0][:, :, None])
    files = [str(tmp_path / name) for name in ("a.tif", "rows.npy", "one.npy")]
    shown = tmp_path / "seen.png"
    pytest.importorskip("matplotlib")
    assert command(["predict", str(digits.folder), *files, "--show", str(shown)]) == 0
    out = capsys.readouterr().out
    for name in ("a.tif[0]", "a.tif[2]", "rows.npy[0]", "rows.npy[2]", "one.npy "):
        assert name in out
    assert shown.read_bytes()[:4] == b"\x89PNG"


def test_weights_that_are_not_numbers_name_no_digit(digits, tmp_path, capsys):
    run = Run(shutil.copytree(digits.folder, tmp_path / "run"))
    state = nnx.load(run.weights())
    nnx.save({name: np.full_like(x, np.nan) for name, x in state.items()}, run.weights())
    np.save(tmp_path / "a.npy", load_digits().test.images[0])
    assert command(["predict", str(run.folder), str(tmp_path / "a.npy")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "the network's answers are not finite numbers" in err


def test_a_blurred_stroke_ends_at_half_its_ink():
    """Or a picture that was enlarged would be cut out too large, and its figure laid too small."""
    a, b = np.mgrid[:200, :300]
    away = np.sqrt((a - 100) ** 2 + (b - 120) ** 2)
    ring = np.clip(1 - np.abs(away - 40) / 30, 0, 1)  # full on a circle, a half at 25 and at 55
    found = find_figure(0.9 - 0.8 * ring)
    assert np.abs(np.subtract(found.ink.shape, 2 * 55)).max() <= 5


def test_ink_is_as_dark_in_the_shade():
    """Dark of the paper around it, not of the page: where less light falls, less is missing."""
    a, b = np.mgrid[:240, :300]
    away = np.sqrt((a - 120) ** 2 + (b - 150) ** 2)
    ring = np.clip((12 - np.abs(away - 80)) / 4 + 0.5, 0, 1)
    ink = find_figure((0.9 - 0.6 * ring) * np.linspace(1.0, 0.4, 300)).ink
    sides = [part[part > 0.3].mean() for part in (ink[:, :20], ink[:, -20:])]
    assert min(sides) > 0.85 and abs(sides[0] - sides[1]) < 0.1
