"""One short run that the tests of this folder share."""

from __future__ import annotations

import pytest

from nnx import recipes


@pytest.fixture(scope="session")
def short_run(tmp_path_factory):
    """digits, 6 epochs: enough to be right nine times out of ten."""
    return recipes.train("digits", out=tmp_path_factory.mktemp("runs"), progress=False, epochs=6)
