"""The command line: a table of commands, and errors told in sentences."""

import importlib
import os
import signal
import time
from types import FrameType
from typing import Any, NoReturn

import click

from data_prep.errors import PipeError, is_disk_full
from pipelines.suggestions import with_run

_COMMANDS = {
    "run": (
        "run",
        "Do everything that is not done yet: prep, teach, distill, eval, export, report.",
    ),
    "prep": (
        "prep",
        "Write the corpus: documents cleaned, cut into spans, mixed, shuffled, numbered.",
    ),
    "teach": ("teach", "Encode the corpus with the teachers, every missing shard once."),
    "distill": ("distill", "Train the student from the store, without loading a teacher."),
    "eval": ("evaluate", "Compare the student with its teachers and its own start."),
    "robustness": (
        "robustness",
        "Measure how much scores hang on the words of a task's instruction.",
    ),
    "export": ("export", "Write the student as a directory that SentenceTransformer loads."),
    "report": (
        "report",
        "Write what the run did and reached as one HTML file, which needs no network.",
    ),
    "status": ("status", "Say where the run stands."),
    "plan": ("plan", "Say what a run would do and what it costs; nothing is written."),
    "corpus": ("corpus", "Look into the corpus."),
    "store": ("store", "Look into the store of teacher vectors, and move it."),
    "teachers": ("teachers", "List the teachers and the recipes that the project knows."),
}
"""Each command's module, and what ``pipe --help`` says of it without loading the module."""

_LOST_WORDS = ("Connection closed by peer", "Connection reset by peer", "remote process exited")
_FIRST_SPEAKS_SECONDS = 3.0
_CONTINUE = "what was committed stays, and the same command continues"


class _Commands(click.Group):
    """Loads a command's module when it is called, so that ``pipe --help`` is quick.

    An error that the user can mend ends in a sentence instead of a traceback.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"pipelines.commands.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PipeError as error:
            _stop(ctx, f"error: {error}", error.exit_code)
        except KeyboardInterrupt:
            if os.environ.get("RANK", "0") != "0":
                ctx.exit(130)
            _stop(ctx, f"interrupted: {_CONTINUE}.", 130)
        except Exception as error:
            if is_disk_full(error):
                _stop(ctx, f"error: the disk is full ({error}); free some space: {_CONTINUE}.", 1)
            if isinstance(error, OSError) and error.filename is not None:
                _stop(ctx, f"error: {error.filename} cannot be used ({error.strerror}).", 1)
            if _is_lost_process(error):
                _stop(ctx, f"error: another process of the launch has ended: {_CONTINUE}.", 1)
            raise


def _stop(ctx: click.Context, sentence: str, code: int) -> NoReturn:
    rank = os.environ.get("RANK", "0")
    if rank != "0":
        # Mostly all processes of a launch find the same, and the launcher ends the others when
        # one has ended; so that the first one speaks, the others wait.
        try:
            time.sleep(_FIRST_SPEAKS_SECONDS)
        except KeyboardInterrupt:
            ctx.exit(code)
        sentence = f"process {rank}: {sentence}"
    click.echo(with_run(sentence), err=True)
    ctx.exit(code)


def _is_lost_process(error: Exception) -> bool:
    """Whether a process that trains together with others has lost one of them."""
    return "WORLD_SIZE" in os.environ and any(words in str(error) for words in _LOST_WORDS)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jasper-distill")
def cli() -> None:
    """Distil a small embedding model from large ones, offline, from a store of their vectors.

    \b
    Examples:
      pipe run --recipe laptop                  everything, on two CPU cores
      pipe plan --recipe jasper                 what the paper's run would cost
      pipe prep --recipe my.toml --run r        the corpus
      pipe teach --run r --teacher nv-embed-v2  the teachers' vectors, once
      pipe distill --run r --stage 2            training, no teacher loaded
    """


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _terminate)
    cli()
