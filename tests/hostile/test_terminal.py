"""Bad command lines and bad files: one line each, status 1 or 2, nothing written, no traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nnx
from nnx.cli.main import run
from nnx.io import printable, save
from nnx.recipes import train

ROOT = Path(__file__).parent.parent.parent
ESCAPE = "\x1b]0;owned\x07\x1b[31m\u202e\u2028\x9b"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return train("digits", out=tmp_path_factory.mktemp("a"), progress=False, epochs=2, hidden=4)


@pytest.fixture
def nnx_(capsys, monkeypatch, tmp_path):
    """Runs a command in a folder of its own: (exit code, stdout, stderr)."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("nnx.train.LearningCurve.on_fit_end", lambda self, trainer: None)

    def command(*arguments):
        with nnx.use_backend(nnx.active_backend()):
            code = run(list(arguments))
        out, err = capsys.readouterr()
        for text in (out, err):
            assert not set(text) & set("\x1b\x07\x9b\u202e\u2028"), text
            assert "Traceback" not in text
        return code, out, err

    return command


def refused(done, codes=(1, 2)):
    code, _, err = done
    assert code in codes, done
    assert len(err.strip().splitlines()) == 1 and len(err) <= 1700, err
    assert not list(Path().iterdir()), list(Path().iterdir())
    return err


VALUES = ["", "-1", "0", "nan", "inf", "-inf", "1e999", "9" * 400, "x", "²", "1.5", "0x10", ESCAPE]
WORDS = [ESCAPE, "a" * 100_000, "\udcff", "中文", "..", "/", "nowhere/at/all", "$(id)", "%s%n", "-"]
LINES = [
    *[["train", "digits", f"--{o}", v] for o in ("epochs", "hidden", "batch-size") for v in VALUES],
    *[["train", "curve-rnn", "--steps", v] for v in ("0", "-3", "99999999", "many")],
    *[["train", "curve-rnn", "--noise", v] for v in ("-1", "nan", "inf", "x")],
    *[["train", "digits", "--lr", v] for v in VALUES if v != "1.5"],
    *[["train", "digits", "--seed", v] for v in VALUES if v not in ("0",)],
    *[["train", "mnist-cnn-bn", "--dropout", v] for v in ("1.01", "-0.1", "nan")],
    *[["train", "--backend", v] for v in ["numpy:cuda", "torch:foo", "json", "a.b", ":", *WORDS]],
    *[["train", word] for word in WORDS],
    *[["train", "--resume", word] for word in WORDS],
    *[[word] for word in WORDS],
    *[["predict", word, "x.png"] for word in WORDS],
    *[["plot", kind, word] for word in WORDS for kind in ("curves", "filters", "errors")],
    ["train", "--resume"],
    ["train", "digits", "--resume"],
    ["train", "--epochs"],
    ["train", "digits", "extra"],
    ["train", "digits", "--hidden", "2147483647"],
    ["train", "digits", "--hidden", "99999999999"],
    ["train", "digits", "--out", "/dev/null/x"],
    ["train", "digits", "--no-such"],
    ["predict"],
    ["predict", "x"],
    ["predict", "x", "y", "--limit", "-1"],
    ["predict", "x", "y", "--limit", "many"],
    ["plot"],
    ["plot", "curves"],
    ["plot", "spectrum", "x"],
    ["bench"],
    ["bench", "conv", "--batch-size", "0"],
    ["bench", "conv", "--repeats", "-1"],
    ["bench", "conv", "--out", "/"],
    ["info", "extra"],
    ["doctor", "--fast"],
    ["--no-such"],
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: printable(" ".join(line), 60))
def test_bad_lines(nnx_, line):
    if line in (["plot"], ["bench"]):  # a group shows its help
        assert nnx_(*line)[0] in (0, 2)
        return
    refused(nnx_(*line))


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_links_that_lead_nowhere_and_folders_in_place_of_files(nnx_, digits, tmp_path):
    """Asked where a loop of links leads, Python raises RuntimeError, not OSError."""
    loop, dangling, broken = tmp_path / "loop", tmp_path / "dangling", tmp_path / "broken"
    loop.symlink_to(loop)
    dangling.symlink_to(tmp_path / "nowhere")
    shutil.copytree(digits.folder, broken)
    for name in ("history.csv", "last.safetensors"):
        (broken / name).unlink()
        (broken / name).mkdir()
    for run_ in map(str, (loop, dangling, broken)):
        for begin in (["plot", "curves"], ["plot", "curves", "--steps"], ["plot", "errors"],
                      ["train", "--resume"]):  # fmt: skip
            refused(nnx_(*begin, run_))
        refused(nnx_("predict", run_, "x.png"))
    for path in map(str, (loop, dangling, tmp_path)):
        refused(nnx_("predict", str(digits.folder), path), (1,))
    for out in map(str, (loop, digits.folder / "config.json")):
        refused(nnx_("train", "digits", "--epochs", "1", "--hidden", "4", "--out", out))


def test_a_failed_run_leaves_no_folder(nnx_):
    code, _, err = nnx_("train", "digits", "--lr", "1e30", "--epochs", "2", "--out", "deep/down")
    assert code == 1 and "training failed" in err and not list(Path().iterdir())


@pytest.mark.parametrize("epochs", ["99999999999", "-1", "0", "x"])
def test_a_run_is_not_given_epochs_that_it_could_not_be_read_with(nnx_, digits, tmp_path, epochs):
    """The configuration was rewritten with a number that it refuses to be read with."""
    shutil.copytree(digits.folder, tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    refused(nnx_("train", "digits", "--resume", str(tmp_path / "run"), "--epochs", epochs))
    assert (tmp_path / "run" / "config.json").read_bytes() == before


# ---- files of a run that were damaged ----

CONFIGS = [
    "", "[]", "null", "{", '"x"', "{}", '{"experiment": []}', '{"experiment": "digits"}',
    '{"experiment": "digits", "options": 3}', '{"experiment": {}, "options": {}}',
    '{"experiment": "' + "x" * 100_000 + '", "options": {}}',
    json.dumps({"experiment": ESCAPE, "options": {}}),
    '{"experiment": "digits", "options": {"assets": {}}}',
    "[" * 100_000, "\udcff", '{"experiment": "digits", "options": {"\\ud800": 1}}',
    *[
        json.dumps({"experiment": "digits", "options": {"hidden": value}})
        for value in ("4", None, [], 4.0, -1, 0, 10**30, True, {}, 2**31, 5)
    ],
    *[
        json.dumps({"experiment": "digits", "options": {"lr": value}})
        for value in (float("nan"), float("inf"), -1, "fast", 10**400)
    ],
]  # fmt: skip
ASSETS = ["[]", "{", "3", "\x00", "{}" * 3]


@pytest.mark.parametrize("k", range(len(CONFIGS)))
def test_damaged_configurations(nnx_, digits, tmp_path, k):
    shutil.copytree(digits.folder, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_bytes(CONFIGS[k].encode("utf-8", "surrogateescape"))
    np.save(tmp_path / "x.npy", np.zeros((1, 8, 8)))
    err = refused(nnx_("predict", str(tmp_path / "run"), str(tmp_path / "x.npy")), (1,))
    assert "run" in err
    refused(nnx_("train", "--resume", str(tmp_path / "run")))


@pytest.mark.parametrize("text", ASSETS)
def test_damaged_assets(nnx_, digits, tmp_path, text):
    shutil.copytree(digits.folder, tmp_path / "run")
    (tmp_path / "run" / "assets.json").write_text(text)
    assert "assets.json" in refused(nnx_("plot", "filters", str(tmp_path / "run")), (1,))


HISTORIES = [
    "", "x", "loss\n1\n", "epoch,loss\n1,x\n", "epoch,loss\nnan,1\n", "epoch,loss\n1\n",
    'epoch,loss\n1,"2\n', "epoch,loss,loss\n1,2,3\n", "epoch," + ",".join(map(str, range(3000))),
    "epoch,loss\n1,2,3,4\n", "epoch\n-1\n", f"epoch,{ESCAPE}\n1,x\n", "epoch,loss\n1e400,1\n",
    "\udcff\udcfe",
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(HISTORIES)))
def test_damaged_histories(nnx_, digits, tmp_path, k):
    pytest.importorskip("matplotlib")
    shutil.copytree(digits.folder, tmp_path / "run")
    content = HISTORIES[k].encode("utf-8", "surrogateescape")
    (tmp_path / "run" / "history.csv").write_bytes(content)
    refused(nnx_("plot", "curves", str(tmp_path / "run"), "--out", "a.png"), (1,))


def test_infinite_values_are_drawn(nnx_, digits, tmp_path):
    pytest.importorskip("matplotlib")
    shutil.copytree(digits.folder, tmp_path / "run")
    (tmp_path / "run" / "history.csv").write_text("epoch,loss\n1,inf\n2,1\n3,nan\n4,-1e308\n")
    assert nnx_("plot", "curves", str(tmp_path / "run"), "--out", "a.png")[0] == 0


def weights_of(digits):
    return nnx.load(digits.folder / "last.safetensors")


@pytest.mark.parametrize(
    "kind", ["cut", "text", "shape", "name", "nan", "bfloat16", "empty", "gone"]
)
def test_damaged_weights(nnx_, digits, tmp_path, kind):
    shutil.copytree(digits.folder, tmp_path / "run")
    path = tmp_path / "run" / "last.safetensors"
    weights = weights_of(digits)
    first = next(iter(weights))
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif kind == "text":
        path.write_text(ESCAPE)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "gone":
        path.unlink()
    elif kind == "bfloat16":
        header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    else:
        changed = {
            "shape": {**weights, first: np.zeros((1, 1), np.float32)},
            "name": {**weights, ESCAPE * 200_000: np.zeros(1)},
            "nan": {**weights, first: weights[first] * np.float32("nan")},
        }[kind]
        save(path, changed)
    np.save(tmp_path / "x.npy", np.eye(8)[None])
    err = refused(nnx_("predict", str(tmp_path / "run"), str(tmp_path / "x.npy")), (1,))
    assert "run" in err


def test_bad_pictures(nnx_, digits, tmp_path):
    picture = tmp_path / f"{ESCAPE[:6]}.png"
    Image.fromarray(np.eye(20) > 0).save(tmp_path / "good.png")
    good = (tmp_path / "good.png").read_bytes()
    for content in (b"", b"GIF89a", good[:60], good[:-20] + bytes(9), b"\0\0\x08\x03", b"\x93NUMPY",
                    b"\x1f\x8b\x08", b"<svg/>", b"%PDF-1.4", b"II*\0" + b"\xff" * 40):  # fmt: skip
        picture.write_bytes(content)
        refused(nnx_("predict", str(digits.folder), str(picture)), (1,))
    for name in ("nowhere.png", "/", "/dev/zero", "a" * 5000):
        refused(nnx_("predict", str(digits.folder), name), (1,))


# ---- two runs of one name, forms of pictures, titles ----


def test_runs_of_one_name_are_told_apart(nnx_, digits, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = {}
    monkeypatch.setattr(
        "nnx.cli.plot.compare_curves", lambda rows, path, title: drawn.update({"runs": list(rows)})
    )
    for name in ("a", "b"):
        shutil.copytree(digits.folder, tmp_path / name / "digits-1")
    runs = [str(tmp_path / name / "digits-1") for name in "ab"]
    assert nnx_("plot", "curves", *runs, "--out", "c.png")[0] == 0
    assert drawn["runs"] == ["a/digits-1", "b/digits-1"]


@pytest.mark.parametrize(
    ("name", "start"),
    [("c.pdf", b"%PDF"), ("c.svg", b"<?xml"), ("c.png", b"\x89PNG"), ("c", b"\x89PNG")],
)
def test_the_name_decides_the_form(nnx_, digits, name, start):
    pytest.importorskip("matplotlib")
    assert nnx_("plot", "curves", str(digits.folder), "--out", name)[0] == 0
    assert Path(name).read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["c.xyz", "c.docx", "nowhere/c.png", "."])
def test_a_picture_that_cannot_be_written(nnx_, digits, name):
    pytest.importorskip("matplotlib")
    refused(nnx_("plot", "curves", str(digits.folder), "--out", name))


@pytest.mark.parametrize("name", ["a $ b", r"$\frac{", "中文", "_x", "a\nb", "\udcff", "é" * 60])
def test_titles_of_any_text(nnx_, digits, tmp_path, name):
    """Warnings are errors here, so a glyph that is missing would be one."""
    pytest.importorskip("matplotlib")
    for folder in (name, f"{name}2"):
        shutil.copytree(digits.folder, tmp_path / folder)
    runs = [str(tmp_path / name), str(tmp_path / f"{name}2")]
    assert nnx_("plot", "curves", runs[0], "--out", "a.png")[0] == 0
    assert nnx_("plot", "curves", *runs, "--out", "b.png")[0] == 0


# ---- streams ----


def shell(line, folder, **environment):
    return subprocess.run(
        ["sh", "-c", 'nnx() { "$PYTHON" -m nnx "$@"; }; ' + line],
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        timeout=120,
    )


@pytest.mark.skipif(os.name != "posix", reason="a shell")
def test_closed_and_full_streams(tmp_path, digits):
    for line, code in (
        ("nnx info >&-", 0),
        ("nnx info 2>&-", 0),
        ("nnx info <&- >&- 2>&-", 0),
        ("nnx bogus 2>&-", 2),
        ("nnx train digits --epochs 1 --hidden 4 --out c >&- 2>&-", 0),
    ):
        done = shell(line, tmp_path)
        assert done.returncode == code and b"Traceback" not in done.stderr, (line, done)
    if Path("/dev/full").exists():
        done = shell("nnx info >/dev/full", tmp_path)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1


# Three commands in one process: each start takes as long as what it shows.
THREE = """
import sys
from nnx.cli.main import run
for line in (["predict", *sys.argv[1:]], ["predict", "--help"], ["train", "--list"]):
    print(line[:2], run(line), file=sys.stderr)
"""


@pytest.mark.skipif(os.name != "posix", reason="a shell")
def test_narrow_encodings_and_terminals(tmp_path, digits):
    odd = os.fsencode(tmp_path) + b"/\xff\xe4.png"
    x = Image.fromarray(np.uint8(255 * np.eye(20)))
    x.save(tmp_path / "x.png")
    Path(os.fsdecode(odd)).write_bytes((tmp_path / "x.png").read_bytes())
    for environment in (
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"COLUMNS": "20"},
        {"COLUMNS": "1"},
        {"COLUMNS": "wide"},
    ):
        done = shell(f"$PYTHON -c '{THREE}' '{digits.folder}' *.png", tmp_path, **environment)
        assert done.returncode == 0 and b"Traceback" not in done.stderr, (environment, done)
        assert done.stderr.count(b"] 0\n") == 3, (environment, done)
        assert rb"\xff\xe4.png" in done.stdout


def test_printable():
    assert printable("plain 中文 é 👩‍🚀") == "plain 中文 é 👩‍🚀"
    assert printable("\x1b[31m\n\t\r\x00\x9b") == r"\x1b[31m\n\t\r\x00\x9b"
    assert printable("\udcff\ud800\u202e\u2028\u200b") == r"\xff\ud800\u202e\u2028\u200b"
    long = printable("x" * 10**7)
    assert len(long) < 1500 and "characters" in long
    for code in [*range(0x300), *range(0x2000, 0x2070), 0xFEFF, 0xE0001]:
        assert re.fullmatch(r"[^\x00-\x1f\x7f-\x9f]+", printable(chr(code)))
