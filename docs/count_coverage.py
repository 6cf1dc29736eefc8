"""Which lines and branches of `nnx/` the tests run, as it stands in `docs/coverage.md`.

    python docs/count_coverage.py            # all tests and small experiments, traced: the page
    python docs/count_coverage.py --check    # exit status 1 where the page is off by over a tenth

Tracing makes the tests 1.7 times as long (Python 3.11 has no cheaper way), so CI does not trace: it
checks that the page is of the package as it is.  CUDA's kernels are left out: a device runs them.
So are the bodies that numba compiles: Python never runs them, and each is compared with its twin.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from count_lines import lines_now, room

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "coverage.md"
TESTS = ["-m", "pytest", "-q", "-n", "auto", "--all", "--cov", "--cov-report="]
# A tracer is compiled, and holds references: what finds or counts these runs without one.
TESTS += ["--ignore=tests/io/test_numpy_alone.py", "--ignore=tests/train/test_launches.py"]
EXPERIMENTS = ["-m", "coverage", "run", "-m", "nnx", "reproduce", "--quick", "--out"]
DEVICE = "What needs a device, or several machines"
PLACES = {  # files of which a line that is not run has this reason
    "nnx/backends/cupy.py": DEVICE,
    "nnx/parallel/nccl.py": DEVICE,
    "nnx/train/capture.py": DEVICE,
}
REFUSED = "Refusals of what no test gives"
FAILED = "Failures of the system, and libraries that are not here"
OTHER = "Other lines"


def measured() -> dict[str, Any]:
    """What `coverage json` says after the tests and experiments that CI runs; their own faults end
    this here."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        run(*TESTS)
        run(*EXPERIMENTS, str(Path(folder) / "reproduce"))
        run("-m", "coverage", "combine", "-q", "--append")
        run("-m", "coverage", "json", "-q", "-o", str(report))
        return json.loads(report.read_text(encoding="utf-8"))["files"]


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True)


def page(files: dict[str, Any]) -> str:
    total: dict[str, Counter[str]] = defaultdict(Counter)
    every: Counter[str] = Counter()
    lacking: dict[str, list[str]] = defaultdict(list)
    for path, found in sorted(files.items()):
        for counted in (total[str(room(path))], every):
            counted.update({**found["summary"], "left out": len(found["excluded_lines"])})
        for reason, lines in reasons(path, found["missing_lines"]).items():
            lacking[reason].append(f"- `{path}`: {', '.join(spans(lines))}")
    now = lines_now()
    rows = [row(f"`{name}`", now[name], counts) for name, counts in total.items()]
    rows.append(row("all of these", sum(now[name] for name in total), every))
    text = [HEAD, *rows, "", "## What no test runs, by reason", ""]
    for reason in (REFUSED, FAILED, DEVICE, OTHER):
        if lacking[reason]:
            text += [f"{reason}:", "", *lacking[reason], ""]
    return "\n".join(text).rstrip() + "\n"


HEAD = """# What the tests run

Lines and branches of `nnx/`, traced while CI's tests ran, and then `nnx reproduce --quick`:
`python docs/count_coverage.py` writes it. A branch is one of the ways that an `if` or a loop can
go. CUDA's kernels are left out: a device runs them. So are bodies that numba compiles, and imports
for type checkers, whose lines stand in the last column: Python never runs them, and each kernel is
compared with its portable twin.

| room | lines | statements | branches | run, % | left out |
| --- | --- | --- | --- | --- | --- |"""


def row(name: str, lines: int, t: Counter[str]) -> str:
    """A line of the table; statements and branches are counted together, as coverage.py does."""
    run = (t["covered_lines"] + t["covered_branches"]) / (t["num_statements"] + t["num_branches"])
    return (
        f"| {name} | {lines:,} | {t['num_statements']:,} | {t['num_branches']:,} "
        f"| {100 * run:.1f} | {t['left out']:,} |"
    )


def reasons(path: str, missing: list[int]) -> dict[str, list[int]]:
    """The lines of a file that were not run, by why."""
    if path in PLACES:
        return {PLACES[path]: missing} if missing else {}
    by_line: dict[int, str] = {}
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):  # from outside in
        if isinstance(node, ast.ExceptHandler | ast.Raise):
            reason = REFUSED if isinstance(node, ast.Raise) else FAILED
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                by_line.setdefault(line, reason)
    sorted_out: dict[str, list[int]] = defaultdict(list)
    for line in missing:
        sorted_out[by_line.get(line, OTHER)].append(line)
    return sorted_out


def spans(lines: list[int]) -> Iterator[str]:
    """[3, 4, 5, 9] -> "3-5", "9"."""
    start = lines[0]
    for last, following in pairwise([*lines, 0]):
        if following != last + 1:
            yield f"{start}-{last}" if last > start else str(start)
            start = following


def outgrown() -> list[str]:
    """The rooms whose lines differ by more than a tenth from those on the page; all without one."""
    if not PAGE.exists():
        return ["all"]
    said = dict(re.findall(r"^\| `(nnx/[^`]+)` \| ([\d,]+) \|", PAGE.read_text("utf-8"), re.M))
    now = {name: n for name, n in lines_now().items() if name.startswith("nnx/")}
    now.pop("nnx/backends/cuda")  # a device runs it
    return [
        name
        for name, n in now.items()
        if abs(n - int(said.get(name, "0").replace(",", ""))) > 20 + n / 10
    ]


def main() -> int:
    if "--check" not in sys.argv:
        PAGE.write_text(page(measured()), encoding="utf-8")
        return 0
    rooms = ", ".join(outgrown())
    if rooms:
        print(f"docs/coverage.md is out of date for {rooms}: python docs/count_coverage.py")
    return 1 if rooms else 0


if __name__ == "__main__":
    sys.exit(main())
