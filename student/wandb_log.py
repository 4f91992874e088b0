"""Weights & Biases: a stage's metrics in a run that a resumed stage continues."""

import importlib
import secrets
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data_prep.errors import PipeError, first_line
from data_prep.files import read_json, write_json
from student.watch import is_line_of_metrics


def require_wandb() -> ModuleType:
    """Import the package.

    Raises:
        PipeError: It is not installed.
    """
    try:
        wandb = importlib.import_module("wandb")
        # A directory of that name, as the package itself makes, is imported without an error.
        getattr(wandb, "init")  # noqa: B009
    except (ImportError, AttributeError):
        raise PipeError(
            "the recipe names a project of Weights & Biases in logging.wandb, and the package is "
            "not installed; pip install 'jasper-distill[wandb]', or train with "
            "--set logging.wandb=''."
        ) from None
    return wandb


def kept_run_id(path: Path, number: int) -> str:
    """The id of a stage's run: drawn once, and kept for whoever resumes the stage.

    Args:
        path: The JSON file that keeps it.
        number: The stage.

    Returns:
        For example ``stage-2-9f86d081``.
    """
    if not path.exists():
        write_json(path, {"id": f"stage-{number}-{secrets.token_hex(4)}"})
    return str(read_json(path)["id"])


class WandbLog(TrainerCallback):
    """Sends every line of metrics, under the names of the metrics file.

    For the first process alone. Lines that a resumed stage repeats have the same step again, since
    a step is a metric here and not the package's own count, which cannot go back.
    """

    def __init__(
        self,
        project: str,
        name: str,
        group: str | None,
        identity: Path,
        config: dict[str, Any],
        report: Callable[[str], None],
    ) -> None:
        """Describe the run; nothing is sent before training begins.

        Args:
            project: Where it belongs.
            name: What it is called: the stage.
            group: What the stages of a run have in common.
            identity: The file that keeps the id; what is sent lies in ``wandb`` beside it.
            config: The settings, for the run's page.
            report: Takes a line for the user.

        Raises:
            PipeError: The package is not installed.
        """
        self.wandb = require_wandb()
        self.settings = {"project": project, "name": name, "group": group, "config": config}
        self.identity = identity
        self.number = int(config["stage"])
        self.report = report
        self.run: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Begin the run, or go on with it."""
        quiet = self.wandb.Settings(silent=True, console="off", disable_git=True, save_code=False)
        try:
            self.run = self.wandb.init(
                id=kept_run_id(self.identity, self.number),
                resume="allow",
                reinit="finish_previous",
                dir=self.identity.parent,
                settings=quiet,
                **self.settings,
            )
        except self.wandb.errors.Error as error:
            raise PipeError(
                f"Weights & Biases takes no run ({first_line(error)}); log in with `wandb login`, "
                "keep it on this machine with WANDB_MODE=offline, or train with "
                "--set logging.wandb=''."
            ) from None
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")
        self.report(f"Weights & Biases: {self.run.url or Path(self.run.dir).parent}")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Send a line."""
        if self.run is not None and logs and is_line_of_metrics(logs):
            self.run.log({"step": state.global_step, **logs})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """End the run."""
        if self.run is not None:
            self.run.finish()
            self.run = None
