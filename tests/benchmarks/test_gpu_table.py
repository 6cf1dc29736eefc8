"""The table that is made on a GPU, on the CPU at its smallest size: every row runs and agrees."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import gpu_table
from benchmarks.gpu_rows import ROWS
from nnx.backends import override
from nnx.backends.numpy import NumpyBackend

QUICK = ["--size", "tiny", "--batches", "1", "--seconds", "0.0001"]


@pytest.fixture(autouse=True)
def on_numpy():
    with override(np.ndarray, NumpyBackend()):
        yield


@pytest.fixture
def one_thread():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)


def table(capsys, *arguments):
    assert gpu_table.main([*arguments, *QUICK]) == 0
    first, empty, *lines = capsys.readouterr().out.splitlines()
    assert empty == ""
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    return first, cells[0], {row[0]: row for row in cells[2:]}


def test_every_row_beside_pytorch(one_thread, capsys):
    first, columns, rows = table(capsys)
    assert "backend numpy" in first and f"PyTorch {one_thread.__version__}" in first
    assert tuple(columns) == gpu_table.COLUMNS
    assert list(rows) == list(ROWS)
    for name, row in rows.items():
        cells = dict(zip(columns, row, strict=True))
        assert float(cells["nnx ms"]) > 0 and float(cells["PyTorch ms"]) > 0, name
        assert cells["floor ms"] == cells["nnx graph ms"] == "", "there is no GPU"


def test_some_rows_without_pytorch(capsys):
    first, columns, rows = table(capsys, "adam", "IM2COL", "--no-torch")
    assert list(rows) == ["im2col, 3x3", *(name for name in ROWS if name.startswith("Adam"))]
    assert "no PyTorch" in first
    assert all(row[columns.index("PyTorch ms")] == "" for row in rows.values())


def test_an_unknown_row_is_named(capsys):
    assert gpu_table.main(["no such row"]) == 1
    assert "im2col, 3x3" in capsys.readouterr().out


def test_other_numbers_are_refused():
    """The table times nothing that is wrong."""
    x = np.ones((2, 3), "float32")
    gpu_table.hold("row", x, x, 1)
    gpu_table.hold("row", (x, 5 * x), (x, x), 1)
    with pytest.raises(AssertionError, match="row: result 1 of the two libraries differs by 4"):
        gpu_table.hold("row", (x, 5 * x), (x, x), 2)
    with pytest.raises(AssertionError, match="differs by nan"):
        gpu_table.hold("row", x * np.nan, x, 1)


@pytest.mark.parametrize("name", ROWS)
def test_rows_say_what_they_must_move(name):
    """Fewest bytes and operations grow with the size, and no row has none."""
    row = ROWS[name]
    assert set(row.sizes) == {"full", "small", "tiny"}
    assert row.sizes["full"] > row.sizes["tiny"]
    case = row.case(NumpyBackend(), "tiny")
    assert case.moved > 0
    assert (case.computed > 0) == any(word in name for word in ("RNN", "LSTM", "GRU", "training"))


def test_operations_of_a_step():
    """Of two dense layers: forward, both gradients, but not that of the network's input."""
    case = ROWS["MLP training step"].case(NumpyBackend(), "tiny")
    batch, features, hidden = ROWS["MLP training step"].sizes["tiny"]
    first, second = 2 * batch * features * hidden, 2 * batch * hidden * 10
    assert case.computed == 2 * first + 3 * second


def test_a_row_that_fails_does_not_end_the_table(monkeypatch, capsys, tmp_path):
    names = list(ROWS)
    done = tmp_path / "done"

    def failing(row, *rest):
        if row.name == names[1]:
            raise RuntimeError("a|row")
        if row.name == names[3]:
            raise RuntimeError("an illegal memory access was encountered")
        return [row.name, "1"]

    monkeypatch.setattr(gpu_table, "line", failing)
    arguments = ["--no-torch", "--done", str(done), *QUICK]
    assert gpu_table.main(arguments) == gpu_table.CONTEXT_LOST
    first = capsys.readouterr().out.splitlines()
    assert first[5].startswith(f"| {names[1]} | failed: RuntimeError: a/row")
    assert len(first) == 4 + 4 and done.read_text().splitlines() == names[:4]
    assert gpu_table.main(arguments) == 0  # goes on where the device was lost
    assert [text.split(" | ")[0][2:] for text in capsys.readouterr().out.splitlines()] == names[4:]
