"""Imports point down: each room may use the rooms below it and no other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "nnx"

# From the bottom up; a room imports only from rooms before its own line, or from its own line.
ROOMS = [
    ["typing"],
    ["backends", "reference"],
    ["random", "autograd"],
    ["tensor"],
    ["ops"],
    ["functional", "gradcheck"],
    ["nn", "data", "datasets", "io", "text"],
    ["optim", "metrics", "plots"],
    ["train", "tools", "debug", "bench"],
    ["recipes"],
    ["cli", "__main__"],
]
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
        if other in LEVEL and other != room and not (room == "tensor" and other == "ops"):
            assert LEVEL[other] <= LEVEL[room], f"nnx/{room} imports nnx/{other}, which is above it"


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
