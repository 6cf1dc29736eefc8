"""The README's examples run, and its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_examples_run(capsys):
    """All in one namespace, as a reader would type them; the first reaches what it promises."""
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    lines = [line for line in lines if not line.startswith("compiling kernels")]  # the first time
    values = eval(lines[-1])
    assert values["accuracy"] >= 0.96
    assert len(lines) == 16, "an epoch gives one line in a pipe"


def test_the_first_example_has_ten_lines():
    assert len([line for line in blocks("python")[0].splitlines() if line]) <= 10


COMMANDS = [
    line.partition("#")[0].strip() for block in blocks("sh") for line in re.split(r"\n|&&", block)
]


@pytest.mark.parametrize("line", [c for c in COMMANDS if "nnx " in c])
def test_the_commands_exist(line):
    """Each is parsed, subcommands and options alike; none is run."""
    from nnx.cli import cli

    def parse(command, name, arguments):
        with command.make_context(name, arguments, resilient_parsing=True) as ctx:
            if isinstance(command, click.Group):
                rest = [*ctx._protected_args, *ctx.args]
                if rest:
                    name, inner, rest = command.resolve_command(ctx, rest)
                    parse(inner, name, rest)
            else:
                assert not ctx.args, f"{line}: {ctx.args} is not understood"

    words = shlex.split(line)
    parse(cli, "nnx", words[words.index("nnx") + 1 :])


def test_the_files_it_names_are_there():
    named = re.findall(r"\]\(([^)]+\.md)\)", TEXT)
    assert named and all((ROOT / name).exists() for name in named), named
