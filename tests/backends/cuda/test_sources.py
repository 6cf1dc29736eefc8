"""The CUDA sources are found in a checkout and in an installed wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import nnx
from nnx.backends.cuda.sources import kernel_folder, read_source


def package(tmp_path: Path, *folders: str) -> Path:
    (tmp_path / "nnx").mkdir()
    for folder in folders:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "k.cu").write_text("// k\n")
    return tmp_path / "nnx"


def test_checkout(tmp_path):
    assert kernel_folder(package(tmp_path, "kernels")) == tmp_path / "kernels"


def test_wheel(tmp_path):
    assert kernel_folder(package(tmp_path, "nnx/_kernels")) == tmp_path / "nnx" / "_kernels"


def test_wheel_beside_a_stranger_called_kernels(tmp_path):
    """site-packages may hold a package of that name; ours come first."""
    found = kernel_folder(package(tmp_path, "kernels", "nnx/_kernels"))
    assert found == tmp_path / "nnx" / "_kernels"


def test_neither(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no CUDA sources .*_kernels nor in .*kernels"):
        kernel_folder(package(tmp_path))


def test_wheel_is_told_to_carry_them():
    root = Path(nnx.__file__).parents[1]
    project = root / "pyproject.toml"
    if not project.exists():
        pytest.skip("not a checkout")
    wheel = tomllib.loads(project.read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"kernels": "nnx/_kernels"}


def test_read_source():
    assert "__global__" in read_source("conv_im2col.cu")


def test_what_a_source_includes_stands_in_it():
    """And a message of a compiler still names the file and the line."""
    text, shared = read_source("rnn_wide.cu"), read_source("wide.cuh")
    assert "#include" not in text and shared in text
    own = (kernel_folder() / "rnn_wide.cu").read_text().splitlines()
    before, after = text.split(shared)
    assert before.splitlines()[-1] == '#line 1 "wide.cuh"'
    below = own.index('#include "wide.cuh"') + 2
    assert after.splitlines() == [f'#line {below} "rnn_wide.cu"', *own[below - 1 :]]
