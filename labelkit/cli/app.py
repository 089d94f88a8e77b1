"""The command line: every command in its group, and how each of them ends."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from labelkit import __version__
from labelkit.cli.help import demo, doctor
from labelkit.cli.loop import (
    bootstrap,
    export,
    frames,
    predict,
    predictions,
    pull,
    push,
    retrain,
    status,
)
from labelkit.cli.measure import (
    benchmark,
    evaluate,
    referee,
    refuse_score_options,
    report,
    score,
    simulate,
)
from labelkit.cli.report import fail
from labelkit.cli.review_and_label import check, label, queue, review
from labelkit.cli.servers import serve, studio
from labelkit.cli.upkeep import images, labels, skeleton, weights
from labelkit.errors import LabelkitError, UsageError

#: Exit code of a command that was ended with Ctrl-C, as in shells.
INTERRUPTED = 130

#: The groups of `labelkit --help`, each a module, with their commands in the order of their use.
GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "Loop": (
        frames,
        bootstrap,
        push,
        pull,
        retrain,
        status,
        export,
        predict,
        predictions,
    ),
    "Review and label": (label, review, queue, check),
    "Servers": (studio, serve),
    "Measure": (report, evaluate, referee, score, benchmark, simulate),
    "Upkeep": (images, labels, skeleton, weights),
    "Help": (demo, doctor),
}


def summary(command: Callable[..., None]) -> str:
    """The first line of a command's help."""
    return (command.__doc__ or "").partition("\n")[0]


class GroupedCommands(TyperGroup):
    """Commands that `--help` lists by group; without rich, which is slow to import."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands of each group under its heading."""
        width = max(map(len, self.commands))
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(it.__name__.ljust(width), summary(it)) for it in commands])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; explain options that have moved to another one."""
        if args[0] == "evaluate" and not ctx.resilient_parsing:
            refuse_score_options(args[1:])
        return super().resolve_command(ctx, args)


class Command(TyperCommand):
    """A command that refuses an option that comes twice, where only the last value would count."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            UsageError: naming the option.
        """
        if not ctx.resilient_parsing:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
            for option, times in Counter(given).items():
                takes_one = not (getattr(option, "is_flag", True) or option.multiple)
                if times > 1 and takes_one:
                    raise UsageError(
                        f"{option.opts[0]} is given {times} times, and takes one value.",
                        "Leave the others out.",
                    )
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    name="labelkit",
    cls=GroupedCommands,
    help="""Keypoint labels for a fraction of the clicks.

    \b
    Start with:  labelkit bootstrap --images DIR
    Try it out:  labelkit demo
    """,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _commands in GROUPS.values():
    for _command in _commands:
        app.command(cls=Command, short_help=summary(_command))(_command)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"labelkit {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process.

    It ends with 0 done, 1 error, 2 wrong usage, 3 waiting for labels, or 130 interrupted.

    Args:
        arguments: after the program's name; None takes those of this process.
    """
    # Threads that spin for long while they wait nearly stop a training when other programs need
    # the cores; this many spins cost nothing when they do not.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Pillow warns of damaged EXIF data and of large images; what cannot be read gets an error.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        app(args=arguments, prog_name="labelkit")
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("Interrupted. Run the same command again to continue.", file=sys.stderr)
        raise
    except LabelkitError as error:
        fail(error.problem, error.next_step, error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" at {error.filename}" if error.filename else ""
        fail(f"The disk is full{where}.", "Free some space, then run the same command again.", 1)
