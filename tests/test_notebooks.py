"""The notebooks of docs/notebooks/: they run from first to last, and show what is kept in them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from cuda_cpu.available import skip_or_fail

DOCS = Path(__file__).parent.parent / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@pytest.fixture
def runner():
    """docs/run_notebooks.py, where a kernel can be started."""
    missing = [name for name in ("nbclient", "ipykernel") if find_spec(name) is None]
    reason = f"notebooks need {' and '.join(missing)}" if missing else None
    skip_or_fail(reason, "NNX_REQUIRE_NOTEBOOK")
    spec = spec_from_file_location("run_notebooks", DOCS / "run_notebooks.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.ci  # some ten seconds, with a kernel in a process of its own
def test_they_run_and_what_is_kept_is_what_comes(runner):
    command = [sys.executable, str(DOCS / "run_notebooks.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:  # a busy machine may show a moment of the bar: not twice
        print(done.stdout)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_has_run_in_order_and_none_failed(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = [output["output_type"] for cell in code for output in cell["outputs"]]
    assert "execute_result" in kinds and "error" not in kinds
    assert path.stat().st_size < 600_000


def test_other_words_are_seen_and_other_numbers_are_not(runner):
    import nbformat

    def told(html):
        output = nbformat.v4.new_output("execute_result", {"text/html": html})
        return runner.told(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
        )

    kept = told('<table><td style="a">loss</td><td>0.51</td></table>')
    assert kept == told('<table><td style="b">loss</td><td>-1e-05</td></table>')
    assert kept != told("<table><td>lost</td><td>0.51</td></table>")
    assert kept != told("<table><td>loss</td></table>")
