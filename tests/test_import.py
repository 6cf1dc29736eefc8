"""`import nnx` is light: what it imports, and that the rest is found when it is used."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nnx
from nnx.ops._later import LATER

HEAVY = [
    "array_api_compat.torch",
    "array_api_strict",
    "chainer",
    "click",
    "cupy",
    "h5py",
    "keras",
    "matplotlib",
    "numba",
    "onnx",
    "PIL",
    "pooch",
    "rich",
    "safetensors",
    "scipy",
    "sklearn",
    "torch",
]


def modules_after(code: str) -> set[str]:
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_import_brings_in_nothing_heavy():
    loaded = modules_after("import nnx")
    assert "numpy" in loaded and "nnx.tensor" in loaded
    assert not loaded & set(HEAVY)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("nnx.")}
    assert rooms == {
        "autograd",
        "backends",
        "derivatives",
        "gradcheck",
        "in_place",
        "names",
        "operators",
        "ops",
        "scoped",
        "standard",
        "tensor",
        "typing",
        "version",
    }


def test_import_adds_few_modules_to_numpy_s():
    added = modules_after("import nnx") - modules_after("import numpy")
    assert len([name for name in added if not name.startswith("nnx")]) < 20, sorted(added)


FRESH = """
import os, sys, nnx
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            here = name in vars(nnx)
            getattr(nnx, name)
            os._exit(2 if here else 0)
        finally:
            os._exit(1)
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.ci
@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="a fork is a fresh start: nnx imported, and no more"
)
def test_every_public_name_is_found_from_a_fresh_start():
    done = subprocess.run(
        [sys.executable, "-c", FRESH, *nnx.__all__], capture_output=True, text=True, check=True
    )
    found = dict(line.split() for line in done.stdout.splitlines())
    assert list(found) == list(nnx.__all__) and set(found.values()) == {"0", "2"}, done.stderr
    later = {name for name, how in found.items() if how == "0"}
    assert nnx._ROOMS <= later, "a room is there before it is used"


EACH = """
import os, sys, nnx
before = set(sys.modules)
for name, family in nnx.ops._later.LATER.items():
    assert f"nnx.ops.{family}" not in before, f"{family} is imported with nnx"
    child = os.fork()
    if not child:
        try:
            found = getattr(nnx.ops, name)
            home = sys.modules[f"nnx.ops.{family}"]
            os._exit(not (callable(found) and vars(nnx.ops)[name] is found is vars(home)[name]))
        finally:
            os._exit(1)
    assert not os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), name
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork is a fresh start with nnx in it")
def test_each_operation_of_a_later_family_is_found_first_of_all():
    subprocess.run([sys.executable, "-c", EACH], check=True)


def test_later_families_are_what_a_type_checker_sees():
    """Their names stand twice in `ops`: for running programs, and for those that read them."""
    tree = ast.parse(Path(nnx.ops.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and not node.orelse
                if isinstance(node.test, ast.Name))  # fmt: skip
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert seen == LATER and set(LATER) <= set(nnx.ops.__all__)


def test_no_file_takes_the_place_of_an_operation():
    """Python puts an imported file into its package under its name: `linear.py` is `ops.linear`."""
    loaded = modules_after("import nnx")
    for path in Path(nnx.ops.__file__).parent.iterdir():
        if path.stem in nnx.ops.__all__:
            assert path.stem not in LATER and f"nnx.ops.{path.stem}" in loaded, path.stem


def test_no_file_takes_the_place_of_a_function():
    """`from nnx.FILE import f` would put the file where `nnx.f` is, had it that name."""
    files = {path.stem for path in Path(nnx.__file__).parent.iterdir()}
    assert not files & set(nnx._HOMES)


def test_a_room_costs_nothing_heavy_until_it_is_used():
    code = "import nnx\n" + "\n".join(f"nnx.{room}" for room in sorted(nnx._ROOMS))
    assert not modules_after(code) & set(HEAVY)


def test_operations_are_reachable_from_the_top():
    assert nnx.matmul is nnx.ops.matmul
    assert {"matmul", "nn", "Tensor"} <= set(dir(nnx))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'nnx' has no attribute 'Trianer'"):
        nnx.Trianer  # noqa: B018
