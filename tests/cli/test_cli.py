"""The command as a user meets it: what it prints, how it fails, and its exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nnx
from nnx.bench import conv as conv_bench
from nnx.cli.main import run
from nnx.datasets import load_digits
from nnx.io import load_state
from nnx.recipes import NAMES, Run, train

ROOT = Path(__file__).parent.parent.parent
LAST = re.compile(r"test accuracy \d+\.\d\d%")


@pytest.fixture
def nnx_(capsys, monkeypatch, tmp_path):
    """Runs a command in an empty folder: (exit code, stdout, stderr).

    Runs draw no curves here, since that takes longer than the training.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nnx.train.LearningCurve.on_fit_end", lambda self, trainer: None)

    def command(*arguments):
        with nnx.use_backend(nnx.active_backend()):  # --backend is for this command alone
            code = run(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return command


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train("digits", out=tmp_path_factory.mktemp("cli"), progress=False, epochs=5).folder


def one_line(err):
    assert len(err.strip().splitlines()) == 1, err
    assert "Traceback" not in err
    return err.strip()


# ---- train ----


def test_train_without_a_name_trains_a_small_network(nnx_):
    code, out, err = nnx_("train", "--epochs", "2", "--channels", "2", "--batch-size", "128")
    lines = [line for line in out.splitlines() if not line.startswith("compiling ")]
    assert code == 0 and err == ""
    assert lines[0].startswith("digits-cnn: 1,299 to train on, 143 to validate, 355 to test; ")
    assert lines[1] == f"run folder {Path('runs', 'digits-cnn-1')}"
    assert lines[2].startswith("epoch 1/2  loss ") and lines[3].startswith("epoch 2/2  loss ")
    assert LAST.fullmatch(lines[-1]) and len(lines) == 5
    code, out, _ = nnx_("train", "digits", "--epochs", "1", "--out", "other")
    assert code == 0 and str(Path("other", "digits-1")) in out


def test_the_list_and_the_help(nnx_):
    code, out, _ = nnx_("train", "--list")
    assert code == 0
    for name in NAMES:
        assert re.search(rf"^ ?{name} ", out, re.MULTILINE)
        code, text, _ = nnx_("train", name, "--help")
        assert code == 0
        for option in (
            "--epochs",
            "--batch-size",
            "--lr",
            "--seed",
            "--backend",
            "--out",
            "--resume",
        ):
            assert option in text
    code, out, _ = nnx_("--help")
    assert code == 0 and all(
        word in out for word in ("train", "predict", "plot", "bench", "compile", "info", "doctor")
    )
    assert nnx_("--version")[1].split() == ["nnx,", "version", nnx.__version__]


def test_what_an_experiment_needs_is_compiled(nnx_):
    pytest.importorskip("numba")
    code, out, _ = nnx_("compile", "digits-cnn")
    last = out.splitlines()[-1]
    assert code == 0 and re.fullmatch(r"\d+ kernels compiled in \d+ s|all kernels .*ed", last)
    assert not Path("runs").exists()
    assert nnx_("compile", "digits-cnn")[1] == "all kernels are compiled\n"


def test_another_backend(nnx_):
    pytest.importorskip("array_api_strict")
    options = ("train", "digits", "--epochs", "1", "--hidden", "4", "--batch-size", "256")
    code, out, _ = nnx_(*options, "--backend", "array_api_strict")
    assert code == 0 and "backend array_api_strict" in out and LAST.fullmatch(out.splitlines()[-1])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "mnist-mpl"], 2, "no experiment 'mnist-mpl'; did you mean 'mnist-mlp'?"),
        (["train", "--epoch", "3"], 2, "No such option"),
        (["compile", "digits", "mnist"], 2, "'mnist' is not one of"),
        (["train", "--epochs", "0"], 2, "0 is not in the range x>=1"),
        (["train", "--epochs", "many"], 2, "'many' is not a valid integer"),
        (["train", "--lr", "-1"], 2, "-1.0 is not in the range x>0"),
        (["train", "--backend", "no_such_library"], 2, "no module named 'no_such_library'"),
        (["train", "--resume", "nowhere"], 1, "there is no run folder nowhere"),
        (
            ["train", "digits", "--lr", "1e30", "--epochs", "3"],
            1,
            "training failed: the loss became",
        ),
        (["bogus"], 2, "No such command 'bogus'"),
        (["predict"], 2, "Missing argument 'RUN'"),
        (["predict", "nowhere"], 2, "give image files, or --text"),
        (["predict", "nowhere", "a.png"], 1, "there is no run folder nowhere"),
        (["plot", "curves", "nowhere"], 1, "there is no run folder nowhere"),
    ],
)
def test_mistakes_get_one_line(nnx_, arguments, code, message):
    got, out, err = nnx_(*arguments)
    assert got == code
    assert message in one_line(err)
    assert "Traceback" not in out


def test_data_that_is_not_there(nnx_, monkeypatch):
    monkeypatch.setenv("NNX_DATA", "nowhere")
    code, _, err = nnx_("train", "mnist-softmax")
    assert code == 1 and "NNX_DATA=nowhere is not a folder" in one_line(err)


def test_a_fault_of_the_program_keeps_its_traceback(nnx_, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr("nnx.recipes.digits.Digits.model", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        nnx_("train", "digits")


# ---- resume ----


def weights(folder):
    return {n: a.tobytes() for n, a in load_state(folder / "last.safetensors")[1].items()}


def test_resume(nnx_, tmp_path):
    nnx_("train", "digits", "--epochs", "4", "--hidden", "8")
    nnx_("train", "digits", "--epochs", "2", "--hidden", "8")
    code, out, _ = nnx_("train", "--resume", "runs/digits-2", "--epochs", "4")
    assert code == 0
    assert "resumed runs/digits-2 after 2 epochs and 82 steps" in out.replace(os.sep, "/")
    assert LAST.fullmatch(out.splitlines()[-1])
    assert weights(tmp_path / "runs/digits-2") == weights(tmp_path / "runs/digits-1")

    code, out, _ = nnx_("train", "--resume", "runs/digits-2")  # complete: nothing left to do
    assert code == 0 and "validation" not in out and LAST.fullmatch(out.splitlines()[-1])
    code, _, err = nnx_("train", "digits", "--resume", "runs/digits-2", "--lr", "0.5")
    assert code == 2 and "a resumed run keeps its options" in one_line(err) and "--lr" in err
    code, _, err = nnx_("train", "mnist-mlp", "--resume=runs/digits-2")
    assert code == 2 and "is a run of digits, not of mnist-mlp" in one_line(err)


def test_ctrl_c_and_on(tmp_path):
    """In a process of its own: the run stops after a step, says how to go on, and goes on."""
    command = [sys.executable, "-m", "nnx", "train"]
    options = ["digits", "--epochs", "300", "--hidden", "8"]
    where = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, *options],
        cwd=tmp_path,
        env=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        for line in child.stdout:
            if line.startswith("epoch   3/300"):
                break
        time.sleep(0.02)  # somewhere in the fourth epoch
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read().splitlines()
        err = child.stderr.read()
    assert child.returncode == 130
    assert "Traceback" not in err and "ending after this step" in err
    assert re.fullmatch(r"interrupted (in|after) epoch \d+, after step \d+", rest[-2])
    assert rest[-1] == f"go on with: nnx train digits --resume {Path('runs', 'digits-1')}"
    state = load_state(tmp_path / "runs" / "digits-1" / "last.safetensors")[0]
    epochs = state["epoch"] + 1
    assert state["step"] == 41 * state["epoch"] + state["batch"]

    interrupted = Run(tmp_path / "runs" / "digits-1")
    interrupted.extend(epochs)
    done = subprocess.run(
        [*command, "--resume", "runs/digits-1"],
        cwd=tmp_path,
        env=where,
        check=True,
        capture_output=True,
        text=True,
    )
    assert LAST.fullmatch(done.stdout.splitlines()[-1])
    whole = train("digits", out=tmp_path / "whole", progress=False, epochs=epochs, hidden=8)
    assert weights(interrupted.folder) == weights(whole.folder)


def test_a_reader_that_leaves_is_no_error(tmp_path):
    where = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = f"{sys.executable} -m nnx train digits --epochs 3 --hidden 4 | head -n 1"
    done = subprocess.run(
        line, shell=True, cwd=tmp_path, env=where, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("digits: ") and done.stderr == ""


# ---- predict ----


def test_predict_a_png(nnx_, trained, tmp_path):
    """A digit enlarged to 160 pixels, in black on white, as a drawing program saves it."""
    test = load_digits().test
    for k in range(10):
        x = np.kron(np.pad(test.scaled()[k], 2), np.ones((13, 13)))
        Image.fromarray(np.uint8(255 * (1 - x))).convert("RGB").save(tmp_path / f"{k}.png")
    code, out, err = nnx_("predict", str(trained), *[f"{k}.png" for k in range(10)])
    assert code == 0 and err == ""
    rows = [line.split() for line in out.splitlines() if ".png" in line]
    assert [row[0] for row in rows] == [f"{k}.png" for k in range(10)]
    right = [int(row[1]) == label for row, label in zip(rows, test.labels[:10], strict=True)]
    assert sum(right) >= 8
    assert all("inverted" in line for line in out.splitlines() if ".png" in line)
    assert "10 images; per class" in out


def test_predict_an_array_shows_some_rows(nnx_, trained):
    np.save("many.npy", load_digits().test.images)
    code, out, _ = nnx_("predict", str(trained), "many.npy", "--limit", "5")
    assert code == 0
    assert out.count("many.npy[") == 5 and "... and 350 more (--limit 0 shows all)" in out
    assert nnx_("predict", str(trained), "many.npy", "--limit", "0")[1].count("many.npy[") == 355


def test_predict_says_what_is_wrong_with_a_file(nnx_, trained, tmp_path):
    (tmp_path / "notes.txt").write_text("seven")
    for arguments, message in (
        (["notes.txt"], "notes.txt is neither a picture nor an IDX or NPY file"),
        (["gone.png"], "gone.png: No such file or directory"),
        (["--text", "seven"], "digits does not predict from text"),
    ):
        code, _, err = nnx_("predict", str(trained), *arguments)
        assert code == 1 and message in one_line(err)


# ---- bench ----


def test_bench_conv(nnx_, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    small = [layer._replace(size=6, filters=4) for layer in conv_bench.LAYERS]
    monkeypatch.setattr(conv_bench, "LAYERS", small)
    monkeypatch.setattr("nnx.bench.lenet.find_spec", lambda name: None)  # without PyTorch
    code, out, err = nnx_(
        "bench", "conv", "--batch-size", "2", "--repeats", "1", "--out", "layers.png"
    )
    assert code == 0 and err == ""
    for words in ("definition, four loops (batch of 1)", "im2col", "NumPy kernel"):
        assert out.count(words) >= 2
    for row in ("conv-1 + ReLU", "dense-2", "all", "times as fast"):
        assert re.search(rf"^ ?{re.escape(row)} ", out, re.MULTILINE)
    assert "picture layers.png" in out and (tmp_path / "layers.png").exists()


def test_bench_without_matplotlib(nnx_, monkeypatch):
    monkeypatch.setattr("nnx.cli.bench.available", lambda: False)
    code, out, err = nnx_("bench", "conv", "--out", "a.png")
    assert code == 1 and out == "" and "pip install matplotlib" in one_line(err)


# ---- plot, info, doctor ----


def test_plot_curves(nnx_, trained, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, _ = nnx_("plot", "curves", str(trained), "--out", "a.png")
    assert code == 0 and out.strip() == "picture a.png"
    nnx_("train", "digits", "--epochs", "1", "--hidden", "4")
    code, _, _ = nnx_("plot", "curves", str(trained), "runs/digits-1", "--out", "b.png")
    assert code == 0
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    code, out, _ = nnx_("plot", "curves", str(trained), "--steps", "--out", "c.png")
    assert code == 0 and (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG", out
    code, _, err = nnx_("plot", "curves", str(trained), "runs/digits-1")
    assert code == 2 and "--out" in one_line(err)


def test_plot_filters_and_errors(nnx_, trained, tmp_path):
    pytest.importorskip("matplotlib")
    code, _, err = nnx_("plot", "filters", str(trained))
    assert code == 1 and "no convolution" in one_line(err)
    assert nnx_("plot", "errors", str(trained), "--out", "e.png")[0] == 0
    nnx_("train", "digits-cnn", "--epochs", "1", "--channels", "2", "--batch-size", "256")
    for layer in ([], ["--layer", "4"]):
        code, out, _ = nnx_("plot", "filters", "runs/digits-cnn-1", *layer)
        assert code == 0 and out.strip().endswith("filters.png")
    code, _, err = nnx_("plot", "filters", "runs/digits-cnn-1", "--layer", "1")
    assert code == 2 and "--layer must be one of 0, 4; got 1" in one_line(err)
    assert (tmp_path / "e.png").exists() and (tmp_path / "runs/digits-cnn-1/filters.png").exists()


def test_plot_weights_and_data(nnx_, trained, tmp_path):
    """The templates of a dense layer that reads pictures, and a sheet of examples."""
    pytest.importorskip("matplotlib")
    code, out, _ = nnx_("plot", "weights", str(trained))
    assert code == 0 and out.strip().endswith("weights.png") and (trained / "weights.png").exists()
    code, out, _ = nnx_("plot", "data", "digits", "--out", "sheet.png")
    assert code == 0 and (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = nnx_("plot", "data", "curve-rnn")
    assert code == 1 and "has no pictures to show" in one_line(err)


@pytest.mark.parametrize(
    "kind, experiment",
    [
        ("confusion", "digits"),
        ("activations", "digits"),
        ("gradients", "digits"),
        ("predictions", "curve-rnn"),
    ],
)
def test_plot_what_a_run_does(nnx_, tmp_path, kind, experiment):
    """A picture that another run changes; and a line where the experiment has none of the kind."""
    pytest.importorskip("matplotlib")
    pictures = []
    for seed in ("0", "1"):
        nnx_("train", experiment, "--epochs", "1", "--hidden", "4", "--seed", seed, "--out", seed)
        run = f"{seed}/{experiment}-1"
        code, out, err = nnx_("plot", kind, run)
        assert code == 0 and out.strip() == f"picture {Path(run) / kind}.png", err
        pictures.append((tmp_path / run / f"{kind}.png").read_bytes())
    assert pictures[0].startswith(b"\x89PNG") and pictures[0] != pictures[1]
    before = {path.name for path in tmp_path.iterdir()}
    words = {
        "confusion": "does not tell classes apart",
        "predictions": "does not predict numbers",
    }
    if kind in words:
        other = "digits" if experiment != "digits" else "curve-rnn"
        nnx_("train", other, "--epochs", "1", "--hidden", "4", "--out", "other")
        code, _, err = nnx_("plot", kind, f"other/{other}-1", "--out", "x.png")
        assert code == 1 and words[kind] in one_line(err)
        assert {path.name for path in tmp_path.iterdir()} == before | {"other"}


def test_plot_attention(nnx_, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("nnx.recipes.seq2seq.SEARCHED", 1)
    small = ["--hidden", "4", "--examples", "64", "--epochs", "1", "--task", "sums"]
    run, without = "a/seq2seq-1", "b/seq2seq-1"
    nnx_("train", "seq2seq", *small, "--out", "a")
    code, out, _ = nnx_("plot", "attention", run)
    assert code == 0 and out.strip() == f"picture {Path(run) / 'attention.png'}"
    assert nnx_("plot", "attention", run, "12+7", "--out", "x.svg")[0] == 0
    texts = set(re.findall(r">([^<>]+)<", (tmp_path / "x.svg").read_text()))
    assert {"1", "2", "+", "7", "end"} <= {text.strip() for text in texts}
    code, _, err = nnx_("plot", "attention", run, "xyz")
    assert code == 1 and "not a character of 'xyz' is known" in one_line(err)
    nnx_("train", "seq2seq", *small, "--no-attention", "--out", "b")
    code, _, err = nnx_("plot", "attention", without)
    assert code == 1 and "without attention" in one_line(err)
    nnx_("train", "digits", "--epochs", "1", "--hidden", "4", "--out", "c")
    code, _, err = nnx_("plot", "attention", "c/digits-1")
    assert code == 1 and "has no attention" in one_line(err)


def test_plot_without_matplotlib(nnx_, trained, monkeypatch):
    monkeypatch.setattr("nnx.cli.plot.available", lambda: False)
    code, _, err = nnx_("plot", "curves", str(trained))
    assert code == 1 and "pip install matplotlib" in one_line(err)


def test_info(nnx_, monkeypatch):
    code, out, _ = nnx_("info")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert nnx.__version__ in rows["nnx"] and "threads" in rows["NumPy"]
    assert "active" in rows["numpy"]
    reason = nnx.backends.unavailable("cupy")
    assert ("missing" in rows["cupy"] and reason in rows["cupy"]) if reason else True


def test_info_says_why_the_chosen_backend_cannot_be_used(tmp_path):
    where = {**os.environ, "PYTHONPATH": str(ROOT), "NNX_BACKEND": "no_such_library"}
    done = subprocess.run(
        [sys.executable, "-m", "nnx", "info"],
        cwd=tmp_path,
        env=where,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "array_api_strict" in done.stdout
    assert "NNX_BACKEND=no_such_library" in done.stderr and "Traceback" not in done.stderr


def test_doctor(nnx_):
    code, out, _ = nnx_("doctor")
    assert code == 0 and "checks passed" in out.splitlines()[-1]
