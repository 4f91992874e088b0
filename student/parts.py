"""Names of a student's parts, and the patterns that choose among them."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from data_prep.errors import PipeError
from student.layers import layers_path
from student.model import Student

_INDEXED = re.compile(
    r"^(?P<part>[\w.]*layers)\[(?P<index>(?:-?\d+)?(?::(?:-?\d+)?)?)\](?P<rest>.*)$"
)
# How low-rank adapters, and the layer that they are put around, are called.
_ADAPTER = re.compile(r"\.lora_[AB]\.")
_ADAPTED = ".base_layer."
# Weights that come with a checkpoint but take no part in mean pooling.
_UNUSED = "text.pooler"


def part_names(student: Student) -> dict[str, nn.Parameter]:
    """Name every parameter that takes part in the student's vectors.

    Whatever a backbone calls its list of layers, here it is ``text.layers.N``. Low-rank adapters
    have no names, and leave the others' as they are.

    Args:
        student: The model.

    Returns:
        Parameters by name, such as ``text.layers.0.attention.self.query.weight``.
    """
    prefix = f"text.{layers_path(student.text)}."
    names = {}
    for name, parameter in student.named_parameters():
        if name.startswith(f"{_UNUSED}.") or _ADAPTER.search(name):
            continue
        plain = name.replace(_ADAPTED, ".")
        inner = plain.removeprefix(prefix)
        names[plain if inner == plain else f"text.layers.{inner}"] = parameter
    return names


def adapter_parameters(student: Student) -> list[nn.Parameter]:
    """The parameters of the low-rank adapters, if the student has any.

    Args:
        student: The model.
    """
    return [p for name, p in student.named_parameters() if _ADAPTER.search(name)]


def match_parts(student: Student, patterns: Iterable[str]) -> set[str]:
    """Find the parameters that patterns choose.

    A pattern names a part (``heads.fc1``), a part with wildcards (``heads.*``), or some of the
    layers (``text.layers[-3:]``, ``text.layers[0]``).

    Args:
        student: The model.
        patterns: The patterns.

    Returns:
        Names out of ``part_names``.

    Raises:
        PipeError: A pattern matches nothing; it is quoted.
    """
    names = list(part_names(student))
    chosen: set[str] = set()
    for pattern in patterns:
        globs = _expand(pattern, depth=student.text.config.num_hidden_layers)
        found = {
            name
            for name in names
            if any(fnmatchcase(name, glob) or fnmatchcase(name, f"{glob}.*") for glob in globs)
        }
        if not found:
            raise PipeError(
                f"the pattern {pattern!r} matches no parameter; the student has "
                f"{', '.join(_summary(student))}."
            )
        chosen |= found
    return chosen


def train_only(student: Student, patterns: Iterable[str], heads: Iterable[str]) -> int:
    """Let the chosen parts and all low-rank adapters train, and freeze everything else.

    Args:
        student: The model, changed in place.
        patterns: As for ``match_parts``.
        heads: The heads that have a loss.

    Returns:
        How many numbers train.

    Raises:
        PipeError: A pattern matches nothing, no chosen part moves a head with a loss, or a chosen
            weight has an adapter.
    """
    chosen = match_parts(student, patterns)
    own = {student.own_head(head) for head in heads}
    idle = {name for name in chosen if name.startswith("heads.") and name.split(".")[1] not in own}
    adapters = adapter_parameters(student)
    if chosen == idle and not adapters:
        raise PipeError(
            f"the stage trains {', '.join(patterns)} and has losses on {', '.join(heads)} alone, "
            "so nothing would move; train a head that has a loss, or the text encoder."
        )
    names = part_names(student)
    adapted = {id(p) for n, p in student.named_parameters() if n.endswith(f"{_ADAPTED}weight")}
    both = [name for name in chosen if id(names[name]) in adapted]
    if both:
        raise PipeError(
            f"{min(both)} would train in full and through an adapter; take it out of the stage's "
            "trainable or of lora.targets."
        )
    student.requires_grad_(False)
    # What has no loss gets no gradient, which processes that train together would wait for.
    trained = [names[name] for name in chosen - idle] + adapters
    for parameter in trained:
        parameter.requires_grad_(True)
    return sum(parameter.numel() for parameter in trained)


def _expand(pattern: str, depth: int) -> list[str]:
    indexed = _INDEXED.match(pattern)
    if indexed is None:
        return [pattern]
    bounds = [int(bound) if bound else None for bound in indexed["index"].split(":")]
    everything = list(range(depth))
    if len(bounds) == 1:
        index = bounds[0]
        wanted = everything[index:][:1] if index is not None and -depth <= index else []
    else:
        wanted = everything[bounds[0] : bounds[1]]
    return [f"{indexed['part']}.{index}{indexed['rest']}" for index in wanted]


def _summary(student: Student) -> list[str]:
    depth = student.text.config.num_hidden_layers
    others = {
        ".".join(name.split(".")[:2])
        for name in part_names(student)
        if not name.startswith("text.layers.")
    }
    return [f"text.layers[0:{depth}]", *sorted(others)]
