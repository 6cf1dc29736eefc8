"""The command itself: its subcommands, imported when they are called, and its errors."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from ..version import __version__
from .terminal import complain, give_up_output, streams_prepared

# name -> the file in this folder that defines `command`, and the line in `nnx --help`
_COMMANDS = {
    "train": ("train", "Train a network: an experiment of the textbooks."),
    "reproduce": ("reproduce", "Run the textbooks' experiments beside what they print."),
    "launch": ("launch", "Start a command in several processes that train one model."),
    "predict": ("predict", "Say what a trained run makes of images or text."),
    "generate": ("generate", "Write text with a trained run of char-lm."),
    "plot": ("plot", "Draw pictures of trained runs."),
    "bench": ("bench", "Time one way to compute beside another."),
    "compile": ("compile", "Compile the kernels ahead of time, for this processor."),
    "info": ("info", "Show versions and backends: what is used, and what is missing."),
    "doctor": ("doctor", "Examine this installation, and check that it computes right."),
}


class _Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = import_module(f".{_COMMANDS[name][0]}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nnx")
def cli() -> None:
    """Neural networks to read and to run."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command, and exit with its code.

    Args:
        arguments: what stands behind `nnx`; None: those of this process.
    """
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command; its exit code.

    What a user can cause (a file that is not there, a value that makes no sense, training that
    diverges, a machine that is short of memory) is told in a line; a fault of the program keeps
    its traceback.  With NNX_TRACEBACK set, everything has one.
    """
    with streams_prepared(), warnings.catch_warnings():
        warnings.showwarning = _warned
        try:
            code = cli.main(arguments, prog_name="nnx", standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
        except BaseException as error:
            if os.environ.get("NNX_TRACEBACK"):
                raise
            code = _report(error)
            if code is None:
                raise
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            return code
        give_up_output()  # a full disk: Python would try once more when it ends
        return code


def _report(error: BaseException) -> int | None:
    """Tell an error in a line; the exit code, or None where it is a fault of the program."""
    from ..train import NonFinite

    code: int | None = 1
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):  # SIGTERM; a module that exits while it is imported
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt | click.Abort):
        line, code = "interrupted", 130
    elif isinstance(error, click.UsageError):
        where = f"  (see {error.ctx.command_path} --help)" if error.ctx else ""
        line, code = f"error: {_line(error.format_message())}{where}", error.exit_code
    elif isinstance(error, click.ClickException):
        line, code = f"error: {_line(error.format_message())}", error.exit_code
    elif isinstance(error, NonFinite):
        line = f"training failed: {error}"
    elif isinstance(error, OSError) and error.errno == errno.EPIPE and not error.filename:
        give_up_output()  # `nnx ... | head`: nobody is reading any more
        return 1
    elif _is_the_users(error):
        line = f"error: {_message(error)}"
    else:
        return None
    _tell(line)
    return code


def _is_the_users(error: BaseException) -> bool:
    """Whether an error tells of files, values or the machine, not of a fault in the program."""
    kinds = (OSError, ValueError, MemoryError, OverflowError, RecursionError, ImportError)
    if isinstance(error, kinds):
        return True
    return isinstance(error, RuntimeError) and "start new thread" in str(error)


def as_click_error(error: BaseException) -> click.ClickException:
    """A user's mistake as the one line that the command prints."""
    return click.ClickException(_message(error))


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        what = error.filename if error.filename is not None else "standard output"
        return f"{os.fsdecode(what) if isinstance(what, bytes) else what}: {error.strerror}"
    if isinstance(error, KeyError) and error.args:
        return _line(error.args[0])
    if isinstance(error, MemoryError):
        return f"not enough memory: {_line(error)}".removesuffix(": ")
    if isinstance(error, RecursionError):
        return f"something is nested too deeply: {_line(error)}"
    if isinstance(error, RuntimeError):
        return f"{_line(error)}: not enough memory or processes for a thread"
    return _line(error) or type(error).__name__


def _tell(line: str) -> None:
    """Print the line; where several processes work together, one of them does, and all end."""
    ranks = sys.modules.get("nnx.parallel.world")
    if ranks is not None and ranks.world().size > 1:
        ranks.world().abort(f"rank {ranks.world().rank} of {ranks.world().size} failed: {line}")
    complain(line)


def _line(text: object) -> str:
    """The lines of a message as one."""
    lines = [" ".join(line.split()) for line in str(text).splitlines() if line.strip()]
    return "; ".join([*[line.removesuffix(".") for line in lines[:-1]], *lines[-1:]])


def _warned(message: Warning | str, *where: Any, **more: Any) -> None:
    complain(f"warning: {_line(message)}")
