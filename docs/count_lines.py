"""Lines of code in each room, as they stand in `docs/design.md`.

    python docs/count_lines.py            # write them there
    python docs/count_lines.py --check    # exit status 1 where the page is off by more than a tenth

Blank lines count, as a reader meets them.  "since" is the difference to the last release, the
newest tag; before the first release there is none.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "design.md"
BEGIN, END = "<!-- lines -->\n", "<!-- end of lines -->\n"
SUFFIXES = {".py", ".cu", ".h", ".cpp"}


def room(path: str) -> str | None:
    """Where a file's lines are counted; None for what is no code."""
    parts = path.split("/")
    if Path(path).suffix not in SUFFIXES or parts[0] == "docs":
        return None
    if parts[0] != "nnx":
        return parts[0]
    if parts[1] == "backends" and len(parts) > 3:
        return f"nnx/backends/{parts[2]}"
    return f"nnx/{parts[1]}" if len(parts) > 2 else "nnx/*.py"


def lines_now() -> Counter[str]:
    counted: Counter[str] = Counter()
    for path in git("ls-files").split("\n"):
        name = room(path)
        if name and (ROOT / path).exists():
            counted[name] += len((ROOT / path).read_text(encoding="utf-8").splitlines())
    return counted


def lines_at(tag: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    for path in git("ls-tree", "-r", "--name-only", tag).split("\n"):
        name = room(path)
        if name:
            counted[name] += len(git("show", f"{tag}:{path}").splitlines())
    return counted


def git(*arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=ROOT, text=True).strip()


def table() -> str:
    now = lines_now()
    tags = git("tag", "--list", "v*", "--sort=-v:refname").split()
    before = lines_at(tags[0]) if tags else None
    rows = [
        f"| room | lines | since {tags[0] if tags else 'the last release'} |",
        "| --- | --- | --- |",
    ]
    totals = {"all of nnx/": [n for n in {*now, *(before or {})} if n.startswith("nnx/")]}
    for name in [*sorted(now), *totals]:
        names = totals.get(name, [name])
        count = sum(now[n] for n in names)
        change = f"{count - sum(before[n] for n in names):+,}" if before else "none yet"
        rows.append(
            f"| `{name}` | {count:,} | {change} |"
            if name in now
            else f"| {name} | {count:,} | {change} |"
        )
    return "\n".join(rows) + "\n"


def written() -> tuple[str, str, str]:
    """The page before the table, the table on it, and the page after it."""
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    old, tail = rest.split(END)
    return head, old, tail


def counts(text: str) -> dict[str, int]:
    found = re.findall(r"^\| `?([^`|]+?)`? \| ([\d,]+) \|", text, re.MULTILINE)
    return {name: int(number.replace(",", "")) for name, number in found}


def main() -> int:
    head, old, tail = written()
    new = table()
    if "--check" not in sys.argv:
        PAGE.write_text(head + BEGIN + new + END + tail, encoding="utf-8")
        return 0
    print(new)
    said, is_now = counts(old), counts(new)
    wrong = [
        n
        for n in {*said, *is_now}
        if abs(said.get(n, 0) - is_now.get(n, 0)) > 20 + is_now.get(n, 0) / 10
    ]
    if wrong:
        rooms = ", ".join(sorted(wrong))
        print(f"docs/design.md is out of date for {rooms}: python docs/count_lines.py")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
