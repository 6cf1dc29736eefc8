"""`import nnx` is light: what it imports, and that the rest is found when it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import nnx

HEAVY = [
    "array_api_compat.torch",
    "array_api_strict",
    "click",
    "cupy",
    "matplotlib",
    "numba",
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
        "ops",
        "scoped",
        "tensor",
        "typing",
        "version",
    }


def test_import_adds_few_modules_to_numpy_s():
    added = modules_after("import nnx") - modules_after("import numpy")
    assert len([name for name in added if not name.startswith("nnx")]) < 20, sorted(added)


@pytest.mark.parametrize("name", nnx.__all__)
def test_every_public_name_is_found_from_a_fresh_start(name):
    assert "numpy" in modules_after(f"import nnx; nnx.{name}")


def test_a_room_costs_nothing_heavy_until_it_is_used():
    code = "import nnx\n" + "\n".join(f"nnx.{room}" for room in sorted(nnx._ROOMS))
    assert not modules_after(code) & set(HEAVY)


def test_operations_are_reachable_from_the_top():
    assert nnx.matmul is nnx.ops.matmul
    assert {"matmul", "nn", "Tensor"} <= set(dir(nnx))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'nnx' has no attribute 'Trianer'"):
        nnx.Trianer  # noqa: B018
