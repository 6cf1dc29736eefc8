"""No kernel without a description, no description without a test against its twin."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from cuda_cpu.build import kernel_names, launch_bounds, strip_comments

import nnx.backends.cuda  # noqa: F401  (fills the registry)
from nnx.backends.cuda.launcher import REGISTRY
from nnx.backends.cuda.sources import kernel_folder, read_source
from nnx.backends.portable.window import Window

SOURCES = sorted(path.name for path in kernel_folder().glob("*.cu"))
HERE = Path(__file__).parent

# What portable kernels do without, and why.
FORBIDDEN = {
    "#include": "NVRTC has no headers to include",
    "asm": "PTX cannot run on the CPU",
    "cooperative_groups": "cannot run on the CPU",
    "while (true)": "a loop that waits for another thread never ends under the harness",
    "volatile": "was for lanes that march in step; use __syncwarp",
    "atomicAdd": "the order of float additions would show in the result",
    "__CUDA_CPU__": "the CPU runs the very text that the GPU runs",
    "__activemask": "names whichever lanes happen to be there",
    "std::": "NVRTC has no standard library",
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_global_function_is_described(source):
    described = {k.name for k in REGISTRY.values() if k.source == source}
    assert set(kernel_names(read_source(source))) == described


def test_every_description_has_its_source():
    assert {k.source for k in REGISTRY.values()} == set(SOURCES)


@pytest.mark.parametrize("source", SOURCES)
def test_portable_kernels_keep_the_rules(source):
    code = strip_comments(read_source(source))
    if any(k.together for k in REGISTRY.values() if k.source == source):
        code = code.replace("atomicAdd(arrived,", "")  # how blocks meet: a count
    for word, why in FORBIDDEN.items():
        assert word not in code, f"{source} uses {word}: {why}"
    for name in kernel_names(code):
        bound = launch_bounds(code).get(name, 0)
        assert bound and bound % 32 == 0, f"{name} needs __launch_bounds__, a multiple of 32"
    text = read_source(source)
    assert "twin" in text, f"{source} does not name its portable twin"
    assert "Bytes" in text, f"{source} does not say which bytes it must move"


def marked_tests(wanted: str = "kernels") -> dict[str, set[str]]:
    """For each kernel, the fixtures of the tests that are marked with its name."""
    found: dict[str, set[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            fixtures = {a.arg for a in node.args.args}
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == f"pytest.mark.{wanted}":
                    for name in mark.args:
                        assert isinstance(name, ast.Constant), f"{path.name}: name them literally"
                        found.setdefault(str(name.value), set()).update(fixtures)
    return found


def test_every_kernel_is_held_to_its_twin():
    """By a test marked with its name, on the `cuda` fixture, with every REAL that it has.

    The mark is a claim; the fixture fails a marked test that did not keep it.
    """
    tests = marked_tests()
    assert set(tests) == set(REGISTRY), "kernels tested, and kernels registered"
    for name, fixtures in tests.items():
        assert "cuda" in fixtures, f"{name}: its test must use the cuda fixture"
        if any(a.type == "real" for a in REGISTRY[name].arguments):
            assert "real" in fixtures, f"{name}: its test must use the real fixture"


def test_every_kernel_that_stores_float16_is_held_to_its_twin():
    stored = {name for name, k in REGISTRY.items() if np.dtype("float16") in k.reals}
    tests = marked_tests("in_half")
    assert set(tests) == stored
    assert all("cuda" in fixtures for fixtures in tests.values())


def test_claims_are_checked(cuda, claims_kept):
    """A test that is marked but does not hold its kernel to the twin fails."""
    x, window = np.ones((1, 1, 3, 3), "float32"), Window((2, 2))
    cuda.backend.im2col(cuda.asarray(x), window)  # launched, but compared with nothing
    with pytest.raises(pytest.fail.Exception, match=r"marked kernels\(im2col\)"):
        claims_kept("kernels", {"im2col"}, cuda.held_to_twin)
    cuda.agree(lambda b, x: b.im2col(x, window), x)
    claims_kept("kernels", {"im2col"}, cuda.held_to_twin)
