"""`nnx bench`: a subcommand for each thing that is timed.

To add one: a function with `@command.command()`; what measures belongs in `nnx/tools/`.
"""

from __future__ import annotations

from pathlib import Path

import click

from ..plots import available, layer_times
from .terminal import say, table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Time one way to compute beside another, on this machine."""


@command.command()
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many turns each way has.",
)
@click.option("--out", type=click.Path(dir_okay=False), help="Draw the time of each layer: a PNG.")
def conv(batch_size: int, repeats: int, out: str | None) -> None:
    """Convolution, from the definition to tuned kernels, and the network it is a part of.

    How much faster each step of the textbook (Xu, chapter 5) is, and those beyond it; then where
    the time of a training step goes in the textbook's style, in nnx, and in PyTorch if installed.
    Every way's results are held to the others' before anything is timed.
    """
    from ..bench.conv import LAYERS, time_layer
    from ..bench.lenet import ROWS, time_networks

    if out is not None and not available():
        raise click.ClickException("pictures need matplotlib: pip install matplotlib")
    say(f"batches of {batch_size}; times of one image, forward and with the gradients")
    for layer in LAYERS:
        timed = time_layer(layer, batch_size, repeats)
        say(f"\n{layer.name}" + ("" if layer.needs_input else " (no gradient of the images)"))
        rows = []
        for k, t in enumerate(timed):
            row = [t.method + (f" (batch of {t.images})" if t.images < batch_size else "")]
            for field in ("forward", "both"):
                now, first, before = (
                    getattr(x, field) for x in (t, timed[0], timed[max(k - 1, 0)])
                )
                row += [_time(now), _times(first / now), _times(before / now) if k else ""]
            rows.append(row)
        kinds = ["", "times as fast", "as the step before"]
        table(["", "forward", *kinds[1:], "with gradients", *kinds[1:]], rows)
    say("\nThe textbook's network, forward + backward without the optimizer, a batch")
    spent = time_networks(batch_size, repeats)
    totals = {name: sum(map(sum, rows.values())) for name, rows in spent.items()}
    first = next(iter(totals.values()))
    rows = [
        [
            row,
            *[_pair(times[row]) if row in times else "with the above" for times in spent.values()],
        ]
        for row in ROWS
    ]
    rows.append(["all", *map(_time, totals.values())])
    rows.append(["times as fast", *[_times(first / total) for total in totals.values()]])
    table(["layer", *spent], rows)
    if out is not None:
        layer_times(spent, out, f"The textbook's network, batch {batch_size}")
        say(f"picture {Path(out)}")


def _time(seconds: float) -> str:
    """Three digits: 12.3 ms."""
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _pair(times: tuple[float, float]) -> str:
    return " + ".join(map(_time, times))


def _times(ratio: float) -> str:
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.1f}×"
