"""The options that say who carries work out, for every command that has such work."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from data_prep.errors import UsageError
from data_prep.executors import EXECUTORS, Executor, Places, load_executor
from data_prep.executors.processes import Processes
from pipelines.report import say

_Command = Callable[..., Any]

_ACTORS = click.option(
    "--actors",
    type=click.IntRange(min=1),
    metavar="N",
    help="Ray: at most so many actors. Default: as many as there is room for.",
)
_GPUS = click.option(
    "--gpus-per-actor",
    type=click.FloatRange(min=0),
    metavar="F",
    help="Ray: GPUs of an actor; 0.5 puts two on one. Default: 1 if the cluster has any.",
)
_CPUS = click.option(
    "--cpus-per-actor",
    type=click.FloatRange(min=0),
    metavar="F",
    help="Ray: CPU cores of an actor. Default: 1.",
)
_ADDRESS = click.option(
    "--ray-address",
    metavar="ADDRESS",
    help="Ray: the cluster; auto is the one this machine belongs to. Default: Ray is started "
    "on this machine, and stopped afterwards.",
)


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
    @_ACTORS
    @_GPUS
    @_CPUS
    @_ADDRESS
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


def core_options(command: _Command) -> _Command:
    """Do the same for a command whose work needs no model: several processes, and no GPU.

    Args:
        command: Takes ``executor`` by name.

    Returns:
        The command with ``--workers``, ``--executor`` and what belongs to it.
    """

    @click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Processes on this machine. Default: one for each core that is available.",
    )
    @click.option(
        "--executor",
        "name",
        type=click.Choice(["processes", "ray"]),
        default="processes",
        show_default=True,
        help="Who does the work. ray: actors on a Ray cluster; they must see the run directory "
        "and the sources under the same paths.",
    )
    @_ACTORS
    @_CPUS
    @_ADDRESS
    @wraps(command)
    def chosen(
        *arguments: Any,
        workers: int | None,
        name: str,
        actors: int | None,
        cpus_per_actor: float | None,
        ray_address: str | None,
        **others: Any,
    ) -> Any:
        executor: Executor
        if name == "ray":
            if workers is not None:
                raise UsageError(
                    "found --workers, expected none with --executor ray; say --actors there, or "
                    "leave it out."
                )
            executor = load_executor(name, Places(actors, 0, cpus_per_actor, ray_address), say)
        else:
            if (actors, cpus_per_actor, ray_address) != (None, None, None):
                raise UsageError(
                    "found options for actors, expected none without a cluster; add --executor "
                    "ray, or leave them out."
                )
            executor = Processes(workers)
        return command(*arguments, executor=executor, **others)

    return chosen
