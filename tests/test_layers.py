"""Imports point down: each room may use the rooms below it and no other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "nnx"

# From the bottom up; a room imports only from rooms before its own line, or from its own line.
ROOMS = [
    ["typing", "scoped", "version", "notebook"],
    ["names"],
    ["backends", "reference"],
    ["random", "autograd"],
    ["standard"],
    ["tensor", "operators", "in_place"],
    ["ops"],
    ["functional", "linalg", "derivatives", "gradcheck", "checkpointing", "higher"],
    ["nn", "data", "datasets", "io", "text"],
    ["optim", "metrics", "plots", "parallel", "interop", "explanation"],
    ["linear_model", "amp", "onnx"],
    ["train", "tools", "debug", "bench", "sklearn"],
    ["recipes"],
    ["reproduce"],
    ["cli", "__main__"],
]
OPERATORS = (
    "tensor",
    "operators",
    "in_place",
)  # their `ops` are filled in when `nnx.ops` is imported
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


def rooms_imported(path: Path) -> set[str]:
    """The rooms of nnx that a file imports from, wherever in the file it does."""
    package = ["nnx", *path.relative_to(ROOT).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            stem = [*base, *(node.module.split(".") if node.module else [])]
            names = [".".join([*stem, alias.name]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "nnx" and len(parts) > 1:
                found.add(parts[1])
    return found


FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert room in LEVEL, f"nnx/{room} has no place in ROOMS: give it one"
    for other in rooms_imported(path):
        if other in LEVEL and other != room and not (room in OPERATORS and other == "ops"):
            assert LEVEL[other] <= LEVEL[room], f"nnx/{room} imports nnx/{other}, which is above it"


# ---- no circles, inside rooms as between them ----


def files_imported(path: Path) -> set[Path]:
    """The files of nnx that a file imports from, wherever in it it does.

    Two circles are there on purpose: the operators of `Tensor` are `nnx.ops`'s, and the files of
    `train` name the Trainer, whom they serve, as the type of an argument.
    """
    tree = ast.parse(path.read_text())
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    passed_over = set()
    if room in (*OPERATORS, "train"):
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                passed_over |= {id(inner) for inner in ast.walk(node)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in passed_over:
            base = path.parents[node.level - 1] if node.level else ROOT.parent
            base = base.joinpath(*(node.module or "").split(".")) if node.module else base
            for alias in node.names:
                found |= {named(base / alias.name) or named(base)}
    return found - {None, path, ROOT / "__init__.py"}  # the public face is nobody's foundation


def named(place: Path) -> Path | None:
    """The file of a module."""
    choices = (place.with_name(place.name + ".py"), place / "__init__.py")
    return next((file for file in choices if file.is_relative_to(ROOT) and file.exists()), None)


def circles(imports: dict[Path, set[Path]]) -> list[str]:
    """Files that are left when those that import none that is left, or that none imports, are
    taken away, over and over: those on circles, and those between two."""
    left = dict(imports)
    while True:
        used = {other for others in left.values() for other in others}
        free = [file for file, others in left.items() if not others & left.keys()]
        free += [file for file in left if file not in used]
        if not free:
            return sorted(str(file) for file in left)
        for file in free:
            left.pop(file, None)


def test_no_file_imports_itself_by_way_of_others():
    assert circles({path: files_imported(path) for path in FILES}) == []


def test_a_circle_is_seen():
    a, b, c, d = map(Path, "abcd")
    assert circles({a: {b}, b: {c}, c: {d}, d: set()}) == []
    assert circles({a: {b}, b: {c}, c: {b, d}, d: set()}) == ["b", "c"]


def test_what_a_file_imports_is_found():
    """By every way of writing it."""
    names = {str(p.relative_to(ROOT)) for p in files_imported(ROOT / "backends" / "__init__.py")}
    assert {
        "scoped.py",
        "backends/base.py",
        "backends/cupy.py",
        "backends/jit/__init__.py",
    } <= names
    conv = files_imported(ROOT / "backends" / "cpu" / "convolution" / "conv.py")
    assert ROOT / "backends/cpu/thresholds.py" in conv and ROOT / "typing.py" in conv


def test_cupy_is_imported_in_one_file():
    importing = [
        str(path.relative_to(ROOT))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
        if name.split(".")[0] == "cupy" and not getattr(node, "level", 0)
    ]
    assert set(importing) == {"backends/cupy.py"}


# ---- one family, one name ----

TREES = ("cpu", "jit", "cuda")
# Files of a tree that are no family: what its kernels share.
SHARED = {
    "portable": {"indices", "optim_rules", "recurrent", "residuals", "window"},
    "cpu": {"blocks", "layout", "memory", "recurrent", "thresholds"},
    "jit": {"thresholds"},
    "cuda": {"cublas", "kernel", "launcher", "namespace", "planes", "recurrent", "sources"},
}
NO_OPERATION = {"optim", "random"}  # families whose kernels optimizers and generators call


def families(tree: str) -> set[str]:
    """The families of a tree of kernels: its files, less those that these share."""
    folder = ROOT / "backends" / tree
    files = {p for p in folder.rglob("*.py") if not {"codegen", "recurrent"} & set(p.parts)}
    named = {p.stem.removesuffix("_loops").removesuffix("_cell") for p in files} - {"__init__"}
    if tree == "jit":
        named -= {"plan", "products", "record"}  # of convolution/
    return named - SHARED[tree]


@pytest.mark.parametrize("tree", TREES)
def test_a_family_has_the_same_name_in_every_tree(tree):
    own = {"columns", "depthwise", "pieces", "tiles"}  # parts of conv that have a file of their own
    assert families(tree) - own <= families("portable")


def test_a_family_has_the_same_name_among_operations():
    operations = {p.stem for p in (ROOT / "ops").rglob("*.py")}
    operations |= {p.name for p in (ROOT / "ops").iterdir() if p.is_dir()}
    assert families("portable") - NO_OPERATION <= operations


def test_a_family_has_the_same_name_among_cuda_sources():
    """`norm_batch.cu` is a part of the family norm."""
    for path in (ROOT.parent / "kernels").glob("*.cu"):
        assert path.stem.partition("_")[0] in families("portable"), path.name


def test_a_family_has_the_same_name_among_tests():
    tests = {p.stem.removeprefix("test_") for p in (ROOT.parent / "tests").rglob("test_*.py")}
    together = {"rnn", "lstm", "gru"}  # over one grid, in test_recurrent.py
    assert families("portable") - together <= tests and "recurrent" in tests


def test_no_folder_is_flat_and_long():
    for folder in {p.parent for p in FILES}:
        files = [p for p in folder.glob("*.py") if p.name != "__init__.py"]
        assert len(files) <= 20, f"{folder.relative_to(ROOT)}: {len(files)} files; make rooms"
