"""``pipe export``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from data_prep.errors import PipeError
from pipelines.commands.options import json_option, run_options
from pipelines.report import result, say

if TYPE_CHECKING:
    from pipelines.export import Exported
    from pipelines.run import Run


@click.command("export")
@run_options
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where it goes. Default: RUN/export, or RUN/export-images.",
)
@click.option("--head", metavar="NAME", help="The head it uses. Default: the recipe's.")
@click.option(
    "--images",
    is_flag=True,
    help="The vision encoder and every head as well, as a model that loads after "
    "`import student.registered`.",
)
@click.option(
    "--onnx",
    is_flag=True,
    help="The backbone as onnx/model.onnx as well, compared with the student on texts of the "
    "corpus.",
)
@click.option(
    "--onnx-python",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="PIPE_ONNX_PYTHON",
    show_envvar=True,
    help="The Python of an environment with sentence-transformers[onnx]. Default: this one.",
)
@click.option(
    "--push-to-hub",
    "repo",
    metavar="OWNER/NAME",
    help="Upload the directory to this model of the Hugging Face hub, made if it is not there.",
)
@click.option("--private", is_flag=True, help="Only its owner may see what is pushed.")
@click.option(
    "--commit-message",
    metavar="TEXT",
    help="The message of the pushed commit. Default: the recipe's name and the stage.",
)
@json_option
def command(
    run: "Run",
    target: Path | None,
    head: str | None,
    images: bool,
    onnx: bool,
    onnx_python: Path | None,
    repo: str | None,
    private: bool,
    commit_message: str | None,
    as_json: bool,
) -> None:
    """Write the student as a directory that SentenceTransformer loads.

    \b
    Examples:
      pipe export --run r
      pipe export --run r --head fc3 --to my-model
      pipe export --run r --images
      pipe export --run r --onnx --onnx-python .venv-onnx/bin/python
      pipe export --run r --push-to-hub my-name/my-student --private
    """
    from pipelines.export import export_student
    from pipelines.onnx import add_onnx
    from pipelines.publish import publish, require_name, require_token

    if images and onnx:
        raise click.UsageError("--onnx is of the text side alone; export without --images.")
    if (private or commit_message) and not repo:
        raise click.UsageError("--private and --commit-message go with --push-to-hub.")
    if repo:
        require_name(repo)
        require_token()
    exported = export_student(run, target, head, images=images, name=repo)
    data = exported.as_dict()
    lines = [str(exported.directory)]
    if onnx:
        checked = add_onnx(run, exported, onnx_python or Path(sys.executable))
        data["onnx"] = checked.as_dict()
        lines.append(checked.as_text())
    if repo:
        _ask(exported, repo, private=private)
        message = commit_message or f"{run.recipe.name}, stage {exported.stage}"
        published = publish(exported.directory, repo, private=private, message=message)
        data["hub"] = {"url": published.url, "revision": published.revision}
        lines.append(f"{published.url} at {published.revision}")
    result("\n".join(lines), data, as_json)


def _ask(exported: "Exported", repo: str, *, private: bool) -> None:
    """Warn before weights under terms are published; ask where somebody can answer."""
    if private or not exported.restrictions:
        return
    say(
        f"warning: {exported.restrictions}, and {repo} would offer the student to everybody; its "
        "card says so, and whether those terms allow it is yours to settle"
    )
    if is_asked() and not click.confirm("push it?", err=True):
        raise PipeError(f"not pushed; the export is in {exported.directory}.")


def is_asked() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()
