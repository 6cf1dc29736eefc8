"""The lists of layers, losses, optimizers and schedules say what the code has."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from nnx import nn, optim
from nnx.nn import init
from nnx.optim import lr_scheduler

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def script():
    spec = spec_from_file_location("layers_page", DOCS / "layers.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_docstrings_say(script):
    """Where this fails: python docs/layers.py."""
    text = script.PAGE.read_text(encoding="utf-8")
    assert text == script.page()
    for place in (nn, init, optim, lr_scheduler):
        for name in place.__all__:
            assert f"`{name}`" in text or name in ("init", "utils", "lr_scheduler"), name


def test_a_name_without_a_heading_is_missed(script, monkeypatch):
    monkeypatch.setattr(nn.Linear, "__module__", "nnx.nn.elsewhere")
    with pytest.raises(ValueError, match=r"give these a heading in docs/layers.py: Linear$"):
        script.page()


def test_a_sentence_ends_where_it_ends(script):
    def told(text):
        return script.first_sentence(type("Told", (), {"__doc__": text}))

    assert (
        told("One\n    line (Xu 3.2), of |x|.  Another.\n\n    More.")
        == "One line (Xu 3.2), of \\|x\\|."
    )
    assert told("By B. Xu et al. (2015).") == "By B. Xu et al. (2015)."
    assert told("A formula:\n\n    y = x") == "A formula"
