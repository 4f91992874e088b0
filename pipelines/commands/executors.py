"""The options that say who carries work out, for every command that has such work."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from data_prep.executors import EXECUTORS, Places, load_executor
from pipelines.report import say

_Command = Callable[..., Any]


def executor_options(command: _Command) -> _Command:
    """Give a command the options of the executors, and pass it the one that was chosen.

    Args:
        command: Takes ``executor`` by name.

    Returns:
        The command with ``--executor`` and what belongs to it.
    """

    @click.option(
        "--executor",
        "name",
        type=click.Choice(list(EXECUTORS)),
        default="in-process",
        show_default=True,
        help="Who does the work. ray: actors on a Ray cluster, each with a model of its own; "
        "they must see the run directory under the same path.",
    )
    @click.option(
        "--actors",
        type=click.IntRange(min=1),
        metavar="N",
        help="Ray: at most so many actors. Default: as many as there is room for.",
    )
    @click.option(
        "--gpus-per-actor",
        type=click.FloatRange(min=0),
        metavar="F",
        help="Ray: GPUs of an actor; 0.5 puts two on one. Default: 1 if the cluster has any.",
    )
    @click.option(
        "--cpus-per-actor",
        type=click.FloatRange(min=0),
        metavar="F",
        help="Ray: CPU cores of an actor. Default: 1.",
    )
    @click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="Ray: the cluster; auto is the one this machine belongs to. Default: Ray is started "
        "on this machine, and stopped afterwards.",
    )
    @wraps(command)
    def chosen(
        *arguments: Any,
        name: str,
        actors: int | None,
        gpus_per_actor: float | None,
        cpus_per_actor: float | None,
        ray_address: str | None,
        **others: Any,
    ) -> Any:
        places = Places(actors, gpus_per_actor, cpus_per_actor, ray_address)
        return command(*arguments, executor=load_executor(name, places, say), **others)

    return chosen
