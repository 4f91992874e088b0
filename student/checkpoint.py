"""Checkpoints of a stage: weights, Adam's moments, and the step; nothing else is state.

The order, the rates and the random numbers are functions of the step. So a checkpoint knows nothing
of how many processes wrote it or how they shared the optimizer, any number of others can go on from
it, and all of it is safetensors and JSON.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data_prep.errors import PipeError
from student.backbone import first_line
from student.places import Places, mark_whole
from student.ranks import Ranks
from student.weights import own_storage
from student.zero import is_sharded, link_moments, moment_of, set_moment, sharded_optimizer

_WEIGHTS = "weights.safetensors"
_MOMENTS = "moments.safetensors"
_KINDS = ("exp_avg", "exp_avg_sq")


def load_weights(student: nn.Module, checkpoint: Path) -> None:
    """Give a student the weights of a checkpoint.

    Args:
        student: With the heads and adapters that it had; changed in place.
        checkpoint: The checkpoint's directory.

    Raises:
        PipeError: The file is broken, or is of another student.
    """
    try:
        student.load_state_dict(load_file(checkpoint / _WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise PipeError(
            f"{checkpoint / _WEIGHTS} does not hold the weights of this stage "
            f"({first_line(error)}); remove {checkpoint} to go on from the checkpoint before it."
        ) from None


class ResumeFrom(TrainerCallback):
    """Puts the trainer where a checkpoint ended; before all callbacks that ask for the step."""

    def __init__(self, checkpoint: Path, step: int) -> None:
        """Say where to go on from.

        Args:
            checkpoint: Its directory; the student has its weights.
            step: The step behind which it was written.
        """
        self.checkpoint = checkpoint
        self.step = step

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        optimizer: Any = None,
        lr_scheduler: LambdaLR | None = None,
        **_: Any,
    ) -> None:
        """Take over the step, the moments and the rate."""
        if model is None or lr_scheduler is None:
            return
        state.global_step = self.step
        try:
            moments = load_file(self.checkpoint / _MOMENTS)
            _set_moments(model, optimizer, moments, self.step)
        except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
            raise PipeError(
                f"{self.checkpoint / _MOMENTS} does not hold the optimizer's state of this stage "
                f"({first_line(error)}); remove {self.checkpoint} to go on from the one before it."
            ) from None
        lr_scheduler.last_epoch = self.step
        for group, rate, factor in zip(
            optimizer.param_groups, lr_scheduler.base_lrs, lr_scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = rate * factor(self.step)


class Checkpoints(TrainerCallback):
    """Writes the checkpoints of a stage; behind all callbacks that write what it must not lack.

    ``transformers`` would pickle the optimizer's state, one file for each process.
    """

    def __init__(self, places: Places, number: int, ranks: Ranks, keep: int) -> None:
        """Describe the stage.

        Args:
            places: Where its checkpoints lie.
            number: Its number.
            ranks: The processes that train.
            keep: How many checkpoints stay on disk.
        """
        self.places = places
        self.number = number
        self.ranks = ranks
        self.keep = keep

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        optimizer: Any = None,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Write a checkpoint behind the metrics of its step."""
        if model is None or "loss" not in (logs or {}) or state.global_step % args.save_steps:
            return
        moments = _moments(model, optimizer, self.ranks)
        if self.ranks.first:
            checkpoint = self.places.checkpoint(self.number, state.global_step)
            shutil.rmtree(checkpoint, ignore_errors=True)
            checkpoint.mkdir(parents=True)
            save_file(own_storage(model.state_dict()), checkpoint / _WEIGHTS)
            save_file(moments, checkpoint / _MOMENTS)
            mark_whole(checkpoint)
            self.places.remove_old_checkpoints(self.number, self.keep)


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _moments(model: nn.Module, optimizer: Any, ranks: Ranks) -> dict[str, torch.Tensor]:
    """Adam's moments as ``KIND.PARAMETER``, whole, in the first process; all take part."""
    moments = {}
    if sharded_optimizer(optimizer):
        link_moments(optimizer)
    for name, parameter in _trained(model).items():
        for kind in _KINDS:
            if is_sharded(parameter):
                moment = moment_of(parameter, kind)  # all processes give their parts
            else:
                moment = optimizer.state[parameter][kind]
            if ranks.first:
                moments[f"{kind}.{name}"] = moment.cpu().contiguous()
    return moments


def _set_moments(
    model: nn.Module, optimizer: Any, moments: dict[str, torch.Tensor], step: int
) -> None:
    trained = _trained(model)
    missing = {f"{kind}.{name}" for kind in _KINDS for name in trained} ^ set(moments)
    if missing:
        raise KeyError(f"{len(missing)} moments too few or too many, such as {min(missing)}")
    inner = sharded_optimizer(optimizer) or optimizer
    names = {parameter: name for name, parameter in trained.items()}
    state = inner.state_dict()
    state["state"] = {}
    parameters = [parameter for group in inner.param_groups for parameter in group["params"]]
    for place, parameter in enumerate(parameters):
        # A sharded optimizer has flat parameters of its own; theirs are filled in below.
        state["state"][place] = {"step": torch.tensor(float(step))} | {
            kind: moments[f"{kind}.{names[parameter]}"]
            if parameter in names
            else torch.zeros_like(parameter)
            for kind in _KINDS
        }
    inner.load_state_dict(state)
    if inner is not optimizer:
        link_moments(optimizer)
        for name, parameter in trained.items():
            for kind in _KINDS:
                set_moment(parameter, kind, moments[f"{kind}.{name}"].to(parameter.device))
