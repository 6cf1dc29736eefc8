from dataclasses import replace

import pytest

from nnx.datasets import download as lookup
from nnx.datasets import images
from nnx.datasets import reviews as text


@pytest.fixture
def places(tmp_path, monkeypatch):
    """(data, cache): NNX_DATA and the user's cache, both empty folders of the test's own.

    And no mirrors: no test shall reach out of this machine.
    """
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("NNX_DATA", str(data))
    monkeypatch.setattr(lookup, "cache_folder", lambda: cache)
    monkeypatch.setattr(images, "_MIRRORS", ())
    monkeypatch.setattr(text, "_ARCHIVE", replace(text._ARCHIVE, urls=(), sha256=""))
    return data, cache
