"""`nnx doctor`."""

from __future__ import annotations

import click

from ..tools.doctor import WRONG, examine, verdict
from .terminal import say, table


@click.command()
def command() -> int:
    """Examine this installation, from Python to the GPU, and check that it computes right."""
    findings = examine()
    table(
        ["", "", ""],
        [
            (f.state, f.what, f.detail + (f"; to do: {f.remedy}" if f.remedy else ""))
            for f in findings
        ],
    )
    say(verdict(findings))
    return 1 if any(f.state == WRONG for f in findings) else 0
