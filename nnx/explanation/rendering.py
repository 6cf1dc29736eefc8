"""An explanation as text, as HTML and as Markdown."""

from __future__ import annotations

import unicodedata
from html import escape
from typing import Any

import numpy as np

from .. import notebook
from .expression import Rest
from .sentences import SENTENCES
from .steps import Equality, Formula, Heading, Numbers, Sentence, Step, Verdict
from .writing import Writing, mathml_name, shown

WIDTH = 80
MOST = 6  # rows and columns of an array that are shown
DIGITS = 4
YES, NO = "✓", "✗"


def width(text: str) -> int:
    """How many columns a text takes on a terminal: a Chinese character takes two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def wrapped(text: str, indent: str = "", further: str | None = None) -> list[str]:
    """A text in lines that fit: broken at blanks, and between Chinese characters."""
    further = indent if further is None else further
    lines, line = [], indent
    for piece in _pieces(text):
        if width(line + piece.rstrip()) > WIDTH and line.strip():
            lines.append(line.rstrip())
            line, piece = further, piece.lstrip()
        line += piece
    return [*lines, line.rstrip()]


def _pieces(text: str) -> list[str]:
    """What a line is not broken in: a word with the blank after it, an index in brackets, a sign
    with what it stands before; a Chinese character with the mark that follows it."""
    pieces: list[str] = []
    depth = 0
    for c in text:
        before = pieces[-1] if pieces else ""
        wide = unicodedata.east_asian_width(c) in "WF"
        ended = before.endswith(" ") and not depth and before not in SIGNS
        after_wide = bool(before) and unicodedata.east_asian_width(before[-1]) in "WF"
        breaks = ended or (wide and not depth) or (after_wide and before[-1] not in OPENING)
        if not before or (breaks and c not in CLOSING):
            pieces.append(c)
        else:
            pieces[-1] += c
        depth += (c == "[") - (c == "]")
    return pieces


SIGNS = ("+ ", "- ", "/ ", "= ")
OPENING, CLOSING = "（「“", "，。；：、）」” "


# ---- text ----


def text_of(steps: list[Step], language: str) -> list[str]:
    """Lines of at most 80 columns."""
    lines: list[str] = []
    words = SENTENCES[language]
    for step in steps:
        if isinstance(step, Heading):
            lines += ["", *wrapped(step.text)]
            if step.level < 3:
                lines.append(("=" if step.level == 1 else "-") * min(WIDTH, width(step.text)))
        elif isinstance(step, Sentence):
            lines += wrapped(step.text)
        elif isinstance(step, Verdict):
            lines += wrapped(f"{YES if step.holds else NO} {step.text}", "  ", "    ")
        elif isinstance(step, Formula):
            lines += ["", *_formula(step)]
        elif isinstance(step, Numbers):
            lines += _array(step)
        else:
            lines += _equality(step, words)
    return lines[1:] if lines and not lines[0] else lines


def _formula(step: Formula) -> list[str]:
    """The formula, and its notes to the right where there is room, else below."""
    lines = wrapped(step.text, "  ", "      ")
    notes = [note for note in (step.shapes, step.source and f"[{step.source}]") if note]
    for together in (["   ".join(notes)], notes):
        if sum(map(width, (lines[-1], *together))) + 4 <= WIDTH or len(together) > 1:
            break
    for note in together:
        if note and width(lines[-1]) + width(note) + 4 <= WIDTH:
            lines[-1] += " " * (WIDTH - width(lines[-1]) - width(note)) + note
        elif note:
            lines += wrapped(note, "      ")
    return lines


def _array(step: Numbers) -> list[str]:
    """Small arrays whole, of others the ends; more than two axes: the planes of the first."""
    a = step.array
    shape = f"({', '.join(map(str, a.shape))}{',' if a.ndim == 1 else ''})"
    if a.ndim == 0:
        return [f"  {step.name} = {shown(float(a), DIGITS)}"]
    label = f"  {step.name} = "
    if a.ndim <= 2:
        rows = _cells(a if a.ndim == 2 else a[None])
        lines = [_row(r) for r in rows]
        head = [label, *[" " * width(label)] * (len(lines) - 1)]
        out = [h + line for h, line in zip(head, lines, strict=True)]
        if width(out[0]) + width(shape) + 3 <= WIDTH:
            out[0] += "   " + shape
        else:
            out.insert(0, f"  {step.name}   {shape}")
        return out
    out = [f"  {step.name}   {shape}"]
    planes = list(np.ndindex(a.shape[:-2]))
    for index in planes[:4]:
        label = f"    {step.name}[{', '.join(map(str, index))}] = "
        for k, row in enumerate(_cells(a[index])):
            out.append((label if k == 0 else " " * width(label)) + _row(row))
    if len(planes) > 4:
        out.append("    ⋮")
    return out


def _cells(a: np.ndarray) -> list[list[str]]:
    rows, columns = (notebook.ends(n, MOST) for n in a.shape)
    cells = [
        ["⋮" if r is None else "…" if c is None else shown(float(a[r, c]), DIGITS) for c in columns]
        for r in rows
    ]
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [[c.rjust(w) for c, w in zip(row, wide, strict=True)] for row in cells]


def _row(cells: list[str]) -> str:
    return f"[ {'  '.join(cells)} ]"


def _equality(step: Equality, words: dict[str, str]) -> list[str]:
    indent = " " * (width(step.name) + 3)
    lines: list[str] = []
    for k, row in enumerate(step.rows):
        start = f"  {step.name} {row.relation} " if k == 0 else f"{indent}{row.relation} "
        lines += wrapped(row.text, start, " " * (width(start) + 2))
    lines[-1] += _mark(step)
    if not step.holds:
        lines += wrapped(_fault(step, words), "    ")
    for condition in step.since:
        lines += wrapped(words["since"].format(condition=condition), "    ")
    for rest in step.rests:
        lines += wrapped(_rest(step, rest, words), "    ")
    return lines


def _mark(step: Equality) -> str:
    if step.holds and (step.between or step.layer is None):
        return ""
    return f"  {YES if step.holds else NO}"


def _fault(step: Equality, words: dict[str, str]) -> str:
    layer = step.layer if step.layer is not None else float("nan")
    digits = step.digits
    while shown(step.terms, digits) == shown(layer, digits) and digits < 17:
        digits += 2
    return words["fault"].format(terms=shown(step.terms, digits), layer=shown(layer, digits))


def _rest(step: Equality, rest: Rest, words: dict[str, str]) -> str:
    name, terms, of, number = rest
    return words["rest"].format(name=name, terms=terms, of=of, number=shown(number, step.digits))


# ---- HTML ----


def html_of(steps: list[Step], language: str) -> str:
    """Headings, tables and MathML; no colours and no fonts, nothing from elsewhere."""
    words = SENTENCES[language]
    parts = []
    for step in steps:
        if isinstance(step, Heading):
            tag = f"h{min(6, step.level + 2)}"
            parts.append(f"<{tag}>{escape(step.text)}</{tag}>")
        elif isinstance(step, Sentence):
            parts.append(f"<p>{escape(step.text)}</p>")
        elif isinstance(step, Verdict):
            parts.append(f"<p>{YES if step.holds else NO} {escape(step.text)}</p>")
        elif isinstance(step, Formula):
            notes = [n for n in (step.shapes, step.source and f"[{step.source}]") if n]
            small = f" <small>{escape('   '.join(notes))}</small>" if notes else ""
            parts.append(f"<p><code>{escape(step.text)}</code>{small}</p>")
        elif isinstance(step, Numbers):
            parts.append(_html_array(step))
        else:
            parts.append(_html_equality(step, words))
    return f'<div class="nnx-explanation" lang="{language}">{"".join(parts)}</div>'


def _html_array(step: Numbers) -> str:
    a = step.array
    if a.ndim == 0:
        return f"<p>{mathml(step.name)} = {shown(float(a), DIGITS)}</p>"
    if a.ndim <= 2:
        shape = f"({', '.join(map(str, a.shape))}{',' if a.ndim == 1 else ''})"
        return f"<div>{mathml(step.name)} {shape}{notebook.matrix(a.shape, _corners(a))}</div>"
    return f"<pre>{escape(chr(10).join(_array(step)))}</pre>"


def _corners(a: np.ndarray) -> list[Any]:
    """The numbers of a vector or a matrix that `notebook.matrix` shows."""
    kept = [[k for k in notebook.ends(n) if k is not None] for n in a.shape]
    found: list[Any] = a[np.ix_(*kept)].tolist()
    return found


def mathml(name: str) -> str:
    """A name as a piece of MathML."""
    return f"<math>{mathml_name(name)}</math>"


def _html_equality(step: Equality, words: dict[str, str]) -> str:
    rows = []
    for k, row in enumerate(step.rows):
        left = mathml_name(step.name) if k == 0 else ""
        right = Writing(row.names, step.digits).mathml(row.expression)
        if k == len(step.rows) - 1:
            right += f"<mtext>{_mark(step)}</mtext>".replace(" ", "\N{NO-BREAK SPACE}")
        cells = (left, f"<mo>{row.relation}</mo>", right)
        sides = ("right", "center", "left")
        rows.append(
            "<mtr>"
            + "".join(
                f'<mtd style="text-align:{side}">{cell}</mtd>'
                for side, cell in zip(sides, cells, strict=True)
            )
            + "</mtr>"
        )
    notes = [] if step.holds else [_fault(step, words)]
    notes += [words["since"].format(condition=c) for c in step.since]
    notes += [_rest(step, rest, words) for rest in step.rests]
    below = "".join(f"<div><small>{escape(note)}</small></div>" for note in notes)
    return (
        f'<math display="block"><mtable displaystyle="true">{"".join(rows)}</mtable></math>{below}'
    )


# ---- Markdown ----


def markdown_of(steps: list[Step], language: str) -> str:
    """Headings and sentences as such, and all that is aligned in blocks of code."""
    parts: list[str] = []
    block: list[str] = []
    words = SENTENCES[language]

    def close() -> None:
        if block:
            parts.append("```text\n" + "\n".join(block).strip("\n") + "\n```")
            block.clear()

    for step in steps:
        if isinstance(step, Formula):
            block.extend(["", *_formula(step)])
        elif isinstance(step, Numbers):
            block.extend(_array(step))
        elif isinstance(step, Equality):
            block.extend(_equality(step, words))
        else:
            close()
            if isinstance(step, Heading):
                parts.append("#" * step.level + " " + step.text)
            elif isinstance(step, Verdict):
                parts.append(f"{YES if step.holds else NO} {step.text}")
            else:
                parts.append(step.text)
    close()
    return "\n\n".join(parts) + "\n"
