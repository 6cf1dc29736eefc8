"""Text from elsewhere, made fit to be shown: in a terminal, an error, the title of a picture."""

from __future__ import annotations

import unicodedata

SCREEN = 1500  # characters: what a small terminal shows at once

# Control and format characters (ESC, "right to left from here"), halves of surrogate pairs, line
# and paragraph separators: whatever makes a terminal do more than show a character.
_ACTING = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_HARMLESS = frozenset("\u200c\u200d")  # joiners, which scripts and emoji are written with


def printable(text: object, most: int = SCREEN) -> str:
    """A text with nothing in it but characters that are seen, and not longer than a screen.

    What would act on a terminal is written as Python writes it: ESC as \\x1b, a line's end as \\n.
    A byte of a file name that is no UTF-8 is written as that byte.

    Args:
        text: any object; its `str` is shown.
        most: how many characters may be shown; of a longer text the middle is left out.
    """
    text = str(text)
    if len(text) > most:
        head, tail = most * 2 // 3, most // 5
        left_out = f" ... {len(text) - head - tail:,} characters ... "
        text = text[:head] + left_out + text[-tail:]
    if text.isprintable():
        return text
    return "".join([_seen(c) for c in text])


def _seen(c: str) -> str:
    if c in _HARMLESS or unicodedata.category(c) not in _ACTING:
        return c
    if "\udc80" <= c <= "\udcff":  # how Python keeps such a byte of a file name
        return f"\\x{ord(c) - 0xDC00:02x}"
    return c.encode("unicode_escape", "surrogatepass").decode("ascii")
