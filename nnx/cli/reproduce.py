"""`nnx reproduce`."""

from __future__ import annotations

from pathlib import Path

import click

from ..plots import available
from ..reproduce import BOOKS, Experiment, experiments, find
from ..reproduce.report import COLUMNS, row, write_docs, write_index
from ..reproduce.runner import AGREES, DIFFERS, FAILED, MISSING, Settings, run
from .terminal import complain, say, table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME|BOOK|FILE.py]...")
@click.option("--list", "listing", is_flag=True, help="Show the experiments there are.")
@click.option("--quick", is_flag=True, help="A small form of each: minutes for all of them.")
@click.option(
    "--out",
    default="runs/reproduce",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of results and figures.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--figures",
    type=click.Choice(["svg", "png"]),
    default="svg",
    show_default=True,
    help="The figures' form.",
)
@click.option(
    "--docs",
    type=click.Path(file_okay=False, path_type=Path),
    is_flag=False,
    flag_value=Path("docs/experiments"),
    help="Then write the pages of docs/experiments (or of the folder given), from all results.",
)
def command(
    names: tuple[str, ...],
    listing: bool,
    quick: bool,
    out: Path,
    seed: int,
    figures: str,
    docs: Path | None,
) -> int:
    """Run experiments of the five textbooks, and compare what comes out with what they print.

    NAME is an experiment (`liu/commuting`), BOOK a text (`liu`), FILE.py a reader's own; without
    any, all are run.  Results and figures are kept in the folder of --out, with an index.html that
    shows them all; what is there already is not run again, so a stopped command goes on.
    """
    if listing:
        rows = [
            [BOOKS[e.book].partition(",")[0], e.section, e.id, e.about, e.prints, f"{e.seconds:g}"]
            for e in experiments().values()
        ]
        table(["text", "section", "experiment", "what it does", "the text prints", "s"], rows)
        return 0
    chosen = _chosen(names)
    if not available():
        say("matplotlib is not installed (pip install matplotlib): numbers without figures")
    settings = Settings(out, quick, seed, figures)
    outcomes = run(chosen, settings, say)
    table(COLUMNS, [row(outcome) for outcome in outcomes])
    count = {status: 0 for status in (AGREES, DIFFERS, FAILED, MISSING)}
    for outcome in outcomes:
        count[outcome.status] += 1
        if outcome.status in (DIFFERS, FAILED):
            complain(f"{outcome.experiment.id} {outcome.status}: {outcome.record['came_out']}")
    say(", ".join(f"{number} {status}" for status, number in count.items() if number))
    say(f"figures: {write_index(out, outcomes)}")
    if docs is not None:
        made = write_docs(docs, experiments().values(), settings)
        say(f"{len(made)} files in {docs}")
    return 1 if count[DIFFERS] or count[FAILED] else 0


def _chosen(names: tuple[str, ...]) -> list[Experiment]:
    if not names:
        return list(experiments().values())
    return list({e.id: e for name in names for e in find(name)}.values())
