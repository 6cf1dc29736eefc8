"""Running experiments: what is kept, what fails, what is missing, and what a reader sees of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

import nnx
from nnx.cli.main import run as command
from nnx.reproduce import BOOKS, experiments, find, runner
from nnx.reproduce.experiment import Experiment, Page, Result
from nnx.reproduce.report import pages, write_docs, write_index
from nnx.reproduce.runner import AGREES, DIFFERS, FAILED, FILE, MISSING, Settings

OWN = """
from nnx import plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment("A line", "1.2", "7", "exactly", 1{needs})

def run(page: Page) -> Result:
    value = {value}
    page.draw("line", plots.lines, {{"": {{"a": ([0, 1], [0, value])}}}}, title="Fig. 1")
    page.table("T|1", ["a", "b"], [["x|y", 0.123456]])
    page.note("a *note* <b>")
    assert value == 7, f"it is {{value}}"
    return Result(str(value), "the same", {{"value": value}})
"""


@pytest.fixture
def own(tmp_path):
    """Write an experiment file: what it computes, and what it needs; the Experiment."""

    def write(value="7", needs="", name="mine.py"):
        path = tmp_path / name
        path.write_text(OWN.format(value=value, needs=needs))
        return find(str(path))[0]

    return write


def only(experiment, settings):
    (outcome,) = runner.run([experiment], settings)
    return outcome


def test_every_file_is_an_experiment_of_its_text():
    every = experiments()
    for book in BOOKS:
        files = sorted(Path(nnx.reproduce.__file__).parent.joinpath(book).glob("[a-z]*.py"))
        ids = {f"{book}/{path.stem.replace('_', '-')}" for path in files}
        assert ids == {e.id for e in every.values() if e.book == book}
    for e in every.values():
        assert e.about and not e.about.endswith(".") and e.tolerance and e.seconds > 0, e.id
        assert e.section[0].isdigit(), f"{e.id}: the list is sorted by sections"
        assert set(e.needs) <= {*runner.DATA, "sklearn"}, e.id
        text = e.path.read_text(encoding="utf-8")
        assert re.search(r"^    assert ", text, re.MULTILINE), f"{e.id} asserts nothing"
        assert len(text.splitlines()) <= 200, f"{e.id} is too long to be read"


def test_names_find_experiments(own):
    assert [e.id for e in find("liu/commuting")] == [e.id for e in find("commuting")]
    assert {e.book for e in find("liu")} == {"liu"} and len(find("liu")) > 1
    assert own().id == "own/mine"
    with pytest.raises(ValueError, match="did you mean 'liu/commuting'"):
        find("liu/comuting")
    with pytest.raises(FileNotFoundError):
        find("nowhere.py")


def test_a_result_is_kept_and_not_made_twice(own, tmp_path):
    settings = Settings(tmp_path / "out")
    first = only(own(), settings)
    assert first.status == AGREES and not first.again
    record = json.loads((tmp_path / "out/own/mine" / FILE).read_text())
    assert record["numbers"]["value"] == 7 and record["came_out"] == "7"
    assert [name for name, _ in record["figures"]] == ["line.svg"]
    assert only(own(), settings).again
    # a figure, a setting, the version, the file: each of them changed is another result
    (tmp_path / "out/own/mine/line.svg").unlink()
    assert not only(own(), settings).again
    assert not only(own(), replace(settings, seed=1)).again
    assert not only(own(), replace(settings, quick=True)).again
    assert not only(own("3 + 4"), replace(settings, quick=True)).again


def test_another_version_runs_again(own, tmp_path, monkeypatch):
    settings = Settings(tmp_path / "out")
    only(own(), settings)
    monkeypatch.setattr(runner, "__version__", "0.0.0")
    assert not only(own(), settings).again


def test_a_damaged_result_is_made_again(own, tmp_path):
    settings = Settings(tmp_path / "out")
    only(own(), settings)
    (tmp_path / "out/own/mine" / FILE).write_text('{"name": "own/mine", "figures"')
    again = only(own(), settings)
    assert not again.again and again.status == AGREES


def test_what_does_not_agree_or_fails_keeps_nobody_from_running(own, tmp_path):
    settings = Settings(tmp_path / "out")
    wrong, broken, right = own("8", name="a.py"), own("1 / 0", name="b.py"), own(name="c.py")
    outcomes = runner.run([wrong, broken, right], settings)
    assert [o.status for o in outcomes] == [DIFFERS, FAILED, AGREES]
    assert outcomes[0].record["came_out"] == "it is 8"
    assert "ZeroDivisionError" in outcomes[1].record["came_out"]
    again = runner.run([wrong, broken, right], settings)
    assert [o.again for o in again] == [False, False, True]  # only what agrees is kept


def test_a_stopped_run_goes_on(own, tmp_path):
    settings = Settings(tmp_path / "out")
    one, two = own(name="a.py"), own("(_ for _ in ()).throw(KeyboardInterrupt)", name="b.py")
    with pytest.raises(KeyboardInterrupt):
        runner.run([one, two], settings)
    assert not (tmp_path / "out/own/b" / FILE).exists()
    outcomes = runner.run([one, own(name="b.py")], settings)
    assert [o.again for o in outcomes] == [True, False]


def test_each_begins_with_the_seed(own, tmp_path):
    def run(page: Page) -> Result:
        return Result("", "", {"drawn": nnx.random.normal((1,))[0]})

    experiment = replace(own(), run=run)
    values = []
    for seed in (5, 6, 5):
        nnx.random.normal((3,))
        values.append(only(experiment, Settings(tmp_path / f"{seed}", seed=seed)).record["numbers"])
        (tmp_path / f"{seed}/own/mine" / FILE).unlink()
    assert values[0] == values[2] != values[1]


def test_data_that_are_missing_are_named_and_not_fetched(own, tmp_path, monkeypatch):
    monkeypatch.setenv("NNX_DATA", str(tmp_path))
    monkeypatch.setattr(runner, "find_data", lambda folder, names: None)
    monkeypatch.setattr("nnx.datasets.download._download", lambda *_: pytest.fail("a download"))
    outcome = only(own(needs=', needs=("mnist",)'), Settings(tmp_path / "out"))
    assert (
        outcome.status == MISSING
        and "MNIST is not here: set NNX_DATA" in outcome.record["came_out"]
    )
    outcome = only(own(needs=', needs=("nowhere_to_be_found",)'), Settings(tmp_path / "out"))
    assert outcome.record["came_out"] == "nowhere_to_be_found is not installed"
    assert not (tmp_path / "out/own/mine" / FILE).exists()


def test_without_matplotlib_the_numbers_come(own, tmp_path, monkeypatch, capsys):
    for place in ("nnx.reproduce.experiment", "nnx.reproduce.runner", "nnx.cli.reproduce"):
        monkeypatch.setattr(import_module(place), "available", lambda: False)
    assert command(["reproduce", str(own().path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "matplotlib is not installed" in said and "1 agrees" in said
    assert not list((tmp_path / "out").rglob("*.svg"))


def test_the_command_tells_all_in_one_table(own, tmp_path, capsys):
    good, bad = str(own(name="good.py").path), str(own("8", name="bad.py").path)
    out = tmp_path / "out"
    assert command(["reproduce", good, "--out", str(out), "--figures", "png"]) == 0
    assert "own/good" in capsys.readouterr().out
    assert (out / "own/good/line.png").is_file()
    assert command(["reproduce", good, bad, "--out", str(out)]) == 1
    assert "own/bad differs: it is 8" in capsys.readouterr().err
    page = (out / "index.html").read_text()
    assert "own/good/line.svg" in page and "a *note* &lt;b&gt;" in page
    assert command(["reproduce", "nothing-like-it"]) == 1
    assert "there is no experiment" in capsys.readouterr().err
    assert command(["reproduce", "--list"]) == 0
    said = capsys.readouterr().out
    assert all(e.id in said for e in experiments().values())


def test_pages_are_written_from_full_runs_alone(own, tmp_path):
    settings, folder = Settings(tmp_path / "out"), tmp_path / "docs"
    mine = replace(own(), book="liu")
    with pytest.raises(ValueError, match="lacks liu/mine"):
        write_docs(folder, [mine], settings)
    only(mine, replace(settings, quick=True))
    with pytest.raises(ValueError, match="full run"):
        write_docs(folder, [mine], replace(settings, quick=True))
    only(mine, settings)
    write_docs(folder, [mine], settings)
    text = (folder / "liu.md").read_text()
    assert "| 1.2 | [mine](#mine) | 7 | 7 | the same |" in text
    assert "![Fig. 1](liu/mine/line.svg)" in text and (folder / "liu/mine/line.svg").is_file()
    assert "| x\\|y | 0.1235 |" in text and "a \\*note\\* \\<b>" in text
    assert pages(json.loads((folder / "results.json").read_text()))["liu.md"] == text


def test_the_index_of_nothing(tmp_path):
    assert write_index(tmp_path, []).is_file() and pages({}) == {}


@pytest.mark.parametrize(
    "experiment", find("liu/commuting") + find("liu/exercises-one"), ids=lambda e: e.name
)
def test_the_patterns_agree(experiment: Experiment, tmp_path):
    assert only(experiment, Settings(tmp_path, quick=True)).status == AGREES
