"""Damaged files, led by what code they reach: those that reach new code are changed further.

    python tests/hostile/guided.py tar               until it is stopped
    python tests/hostile/guided.py tar -runs=100000  further options are libFuzzer's

Needs atheris (`pip install atheris`); nothing else does.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))
with atheris.instrument_imports(include=["nnx"]):
    import fuzz


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in fuzz.READERS:
        sys.exit(f"which reader?  {', '.join(fuzz.READERS)}")
    reader = sys.argv.pop(1)
    folder = Path(tempfile.mkdtemp())
    path, corpus = folder / "fuzzed", folder / "corpus"
    corpus.mkdir()
    for k, content in enumerate(fuzz.whole_files(folder)[reader]):
        (corpus / str(k)).write_bytes(content)

    def one(content: bytes) -> None:
        path.write_bytes(content)
        wrong = fuzz.checked(reader, path)
        if wrong is not None:
            raise AssertionError(wrong)

    atheris.Setup([*sys.argv, "-max_len=65536", str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
