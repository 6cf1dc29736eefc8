"""Which tests run: what a newcomer starts answers in minutes, and CI runs all (`--all`).

What is left to CI repeats, on another library or in larger numbers, what runs here too, or starts
processes by the dozen.  It is named in `LEFT_TO_CI`, by files and by parameters of the `backend`
fixture, or marked `ci` where it stands.  A file named on the command line runs whole, and so do a
folder of the list and what `-m` chooses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent.parent
LEFT_TO_CI = {
    "backend": {
        "portable": "strict-device1 runs the same kernels",
        "readonly": "numpy and jit run the kernels, watched",
        "strict-no-float64": "strict-device1 is as strict",
        "torch": "no library that nnx computes with",
        "cuda-on-cpu": "each kernel of CUDA, a thread at a time",
        "cupy-on-cpu": "the same, on CuPy's arrays",
    },
    "files": {
        "backends/test_cupy.py": "CuPy without a device",
        "backends/test_waits.py": "CuPy without a device",
        "fuzz": "random programs by the thousand",
        "hostile": "files of an attacker, starved and signalled processes",
        "kernels": "CUDA's kernels, watched by the harness in three orders",
        "nn/test_pytorch_samples.py": "PyTorch's own samples",
        "onnx/test_malformed.py": "files of an attacker",
        "onnx/test_node_cases.py": "ONNX's own cases, two thousand of them",
        "optim/test_pytorchs_list.py": "PyTorch's own configurations",
        "parallel/test_launch.py": "several processes",
        "parallel/test_mpi.py": "several processes",
        "recipes/test_figures.py": "photographs by the hundred",
        "recipes/test_several_ranks.py": "experiments on several ranks",
        "train/test_launches.py": "CuPy without a device",
    },
}
LEFT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="also what is otherwise left to CI")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Each of several processes begins with a part of the list: with every second test in each, as
    pytest-xdist would do it, all of them compile every kernel."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--all") or config.option.markexpr:
        return
    whole = asked_for(config)
    left = {i for i in items if is_left_to_ci(i) and not whole & {i.path, *i.path.parents}}
    items[:] = [item for item in items if item not in left]
    config.stash[LEFT] = len(left)
    config.hook.pytest_deselected(items=list(left))


def asked_for(config: pytest.Config) -> set[Path]:
    """The files and the folders of the list that the command line names."""
    names = {str(argument).partition("::")[0] for argument in config.args}
    paths = {(config.invocation_params.dir / name).resolve() for name in names}
    listed = {TESTS / place for place in LEFT_TO_CI["files"]}
    return {path for path in paths if path.is_file() or path in listed}


def is_left_to_ci(item: pytest.Item) -> bool:
    place = item.path.relative_to(TESTS)
    return (
        item.get_closest_marker("ci") is not None
        or backend_of(item) in LEFT_TO_CI["backend"]
        or any(p.as_posix() in LEFT_TO_CI["files"] for p in (place, *place.parents))
    )


def backend_of(item: pytest.Item) -> Any:
    """The parameter of the `backend` fixture, of a test that takes it."""
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("backend") if callspec else None
    return name if isinstance(name, str) else None


# ---- what is said at the end; with pytest-xdist only its processes collect ----


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left"] = session.config.stash.get(LEFT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT] = getattr(node, "workeroutput", {}).get("left", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if left := config.stash.get(LEFT, 0):
        terminalreporter.write_line(f"{left:,} tests are left to CI; --all runs them too")
