"""`nnx train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ..backends import set_backend
from ..parallel import launched, local_rank
from ..recipes import DEFAULT, NAMES, Option, Recipe, Run, find
from ..recipes.runner import resume
from ..recipes.runner import train as run_recipe
from .terminal import table


class _Experiments(click.Group):
    """A command for each experiment, with its own options; the default one needs no name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(NAMES)

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        try:
            return _command(find(name))
        except ValueError as error:
            raise click.UsageError(str(error), ctx) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--list", "--help", "-h"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = [_default_experiment(args), *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(f"Experiments (without a name: {DEFAULT})"):
            formatter.write_dl([(name, find(name).about) for name in NAMES])


def _default_experiment(args: list[str]) -> str:
    """The experiment of a command line that begins with an option: the resumed one's, if any."""
    for k, arg in enumerate(args):
        option, _, value = arg.partition("=")
        if option == "--resume":
            value = value or (args[k + 1] if k + 1 < len(args) else "")
            if value and Path(value).is_dir():
                return Run(value).recipe.name
    return DEFAULT


@click.group(
    cls=_Experiments,
    invoke_without_command=True,
    subcommand_metavar="[NAME] [OPTIONS]",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--list", "listing", is_flag=True, help="Show the experiments there are.")
@click.pass_context
def command(ctx: click.Context, listing: bool) -> None:
    """Train a network: an experiment of the textbooks, by its name.

    `nnx train NAME --help` shows the options of an experiment.
    """
    if listing:
        rows = [(name, find(name).about, find(name).source) for name in NAMES]
        table(["experiment", "what it is", "textbook"], rows)
        ctx.exit()


def _command(recipe: Recipe) -> click.Command:
    """The command of one experiment."""
    about = recipe.about[0].upper() + recipe.about[1:] + "."
    return click.Command(
        recipe.name,
        callback=lambda **values: _run(recipe, **values),
        params=[*[_option(option) for option in recipe.all_options()], *_common()],
        help=about + (f"\n\n{recipe.source}." if recipe.source else ""),
        short_help=recipe.about,
        context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    )


def _option(option: Option) -> click.Option:
    kinds: dict[type, Any] = {
        int: lambda: click.IntRange(option.lowest, option.most),
        float: lambda: click.FloatRange(option.lowest, option.most, min_open=option.positive),
    }
    flag = f"--{option.name.replace('_', '-')}"
    if isinstance(option.default, bool):
        flag = f"{flag}/--no-{flag[2:]}"
    return click.Option(
        [flag],
        default=option.default,
        type=kinds.get(type(option.default), lambda: type(option.default))(),
        help=option.help[0].upper() + option.help[1:] + ".",
    )


def _common() -> list[click.Option]:
    return [
        click.Option(
            ["--backend"],
            help="The array library to compute with: numpy, cupy, ...  [default: NNX_BACKEND, "
            "else numpy]",
        ),
        click.Option(
            ["--parts"],
            type=click.IntRange(min=1),
            help="Compute each batch in so many parts, a power of two, on however many processes "
            "`nnx launch` started.  [default: 8 where it did, else one piece]",
        ),
        click.Option(
            ["--out"],
            default="runs",
            type=click.Path(file_okay=False),
            help="Where run folders are made.",
        ),
        click.Option(
            ["--resume"],
            metavar="RUN",
            type=click.Path(),
            help="Go on with a run folder, exactly where it ended; more --epochs may be given.",
        ),
    ]


def _run(
    recipe: Recipe,
    backend: str | None,
    parts: int | None,
    out: str,
    resume: str | None,
    **values: Any,
) -> int:
    try:
        backend = backend or os.environ.get("NNX_BACKEND")
        if backend == "cupy" and launched():
            backend = f"cupy:{local_rank()}"  # each process a GPU of its own
        set_backend(backend) if backend else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--backend") from None
    if resume is not None:
        run = _resumed(recipe, Path(resume), parts, values)
    else:
        run = run_recipe(recipe, out=out, parts=parts, **values)
    return 0 if run.result is not None else 130


def _resumed(recipe: Recipe, folder: Path, parts: int | None, values: dict[str, Any]) -> Run:
    run = Run(folder)
    if run.recipe.name != recipe.name:
        raise click.UsageError(f"{folder} is a run of {run.recipe.name}, not of {recipe.name}")
    ctx = click.get_current_context()
    given = {
        name: value
        for name, value in values.items()
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    epochs = given.pop("epochs", None)
    changed = [k for k, value in given.items() if value != getattr(run.options, k)]
    changed += ["parts"] if parts not in (None, run.parts) else []
    if changed:
        raise click.UsageError(
            f"a resumed run keeps its options; only --epochs can be given, not "
            f"{', '.join('--' + name.replace('_', '-') for name in changed)}"
        )
    return resume(run, epochs)
