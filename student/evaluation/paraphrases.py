"""What tasks ask of a model that takes instructions, and paraphrases of it, read from TOML.

The file is a list of entries::

    [[instructions]]
    instruction = "Retrieve semantically similar text."
    paraphrases = ["Look for a passage that says the same in other words."]
    tasks = ["STS12", "my-own-set"]     # names of mteb's tasks, or of sets of a directory
    kinds = ["STS"]                     # every other task of MTEB's type
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from data_prep.config import Settings
from data_prep.errors import UsageError, first_line

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_VERSION = re.compile(r"\.v\d+$")


class Wording(Settings):
    """An instruction with its paraphrases, and what it is for.

    Attributes:
        instruction: What the tasks ask for.
        paraphrases: The same in other words.
        tasks: Names of tasks.
        kinds: MTEB's types of task; for their tasks that no entry names.
    """

    instruction: _Text
    paraphrases: tuple[_Text, ...] = Field(min_length=1)
    tasks: tuple[_Text, ...] = ()
    kinds: tuple[_Text, ...] = ()


class _File(Settings):
    instructions: tuple[Wording, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Paraphrases:
    """The entries of a file.

    Attributes:
        wordings: The entries.
        beneath: What holds for tasks of which these say nothing.
    """

    wordings: tuple[Wording, ...]
    beneath: "Paraphrases | None" = None

    @cached_property
    def tasks(self) -> Mapping[str, Wording]:
        """Entries by name of task."""
        return {task: wording for wording in self.wordings for task in wording.tasks}

    @cached_property
    def kinds(self) -> Mapping[str, Wording]:
        """Entries by type of task."""
        return {kind: wording for wording in self.wordings for kind in wording.kinds}

    def find(self, task: str, kind: str) -> Wording | None:
        """Look up a task.

        Args:
            task: Its name; ``NAME.v2`` is taken for ``NAME`` where it has no entry of its own.
            kind: Its type, as MTEB names it.

        Returns:
            The entry that names it, or else its type's, or else what holds beneath.
        """
        for name in (task, _VERSION.sub("", task)):
            if name in self.tasks:
                return self.tasks[name]
        if kind in self.kinds:
            return self.kinds[kind]
        return self.beneath.find(task, kind) if self.beneath else None


def built_in_paraphrases() -> Paraphrases:
    """The paper's tasks with paraphrases of our own, and an entry for each of their types."""
    text = (resources.files("student.evaluation") / "paraphrases.toml").read_text("utf-8")
    return Paraphrases(_checked(text, "paraphrases.toml"))


def read_paraphrases(path: Path) -> Paraphrases:
    """Read a user's file; what it does not name is as built in.

    Args:
        path: A TOML file.

    Returns:
        Its entries, before the built-in ones.

    Raises:
        UsageError: It cannot be read, is malformed, names a task twice, or has a paraphrase that
            is the instruction itself.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read ({first_line(error)}); expected a TOML file in UTF-8."
        ) from None
    return Paraphrases(_checked(text, str(path)), beneath=built_in_paraphrases())


def require_known(
    paraphrases: Paraphrases, path: Path, known: Collection[str], types: Collection[str]
) -> None:
    """Check that a user's file names no task and no type of task that nobody has.

    Args:
        paraphrases: What the file says.
        path: The file.
        known: Names of tasks that there are.
        types: MTEB's types of task.

    Raises:
        UsageError: It does; the nearest names are given.
    """
    for what, names, there, expected in (
        ("task", paraphrases.tasks, known, "one that is measured or that mteb has"),
        ("kind", paraphrases.kinds, types, "one of mteb's types of task"),
    ):
        for name in names:
            if name not in there:
                nearest = " or ".join(difflib.get_close_matches(name, there)) or "nothing alike"
                raise UsageError(
                    f"{path}: found the {what} {name!r}, expected {expected}; "
                    f"the nearest is {nearest}."
                )


def _checked(text: str, place: str) -> tuple[Wording, ...]:
    try:
        wordings = _File.model_validate(tomllib.loads(text)).instructions
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{place} is not valid TOML: {error}.") from None
    except ValidationError as error:
        raise UsageError(f"{place}: {_explain(error)}.") from None
    seen: dict[str, str] = {}
    for wording in wordings:
        quoted = f"{place}: the entry {wording.instruction!r}"
        if not wording.tasks and not wording.kinds:
            raise UsageError(f"{quoted} has neither tasks nor kinds; say what it is for.")
        texts = [_plain(text) for text in (wording.instruction, *wording.paraphrases)]
        if texts[0] in texts[1:]:
            raise UsageError(
                f"{quoted} has itself as a paraphrase; expected the same in other words."
            )
        if len(set(texts)) < len(texts):
            raise UsageError(f"{quoted} has a paraphrase twice; leave one out.")
        for name in (*wording.tasks, *wording.kinds):
            if name in seen:
                raise UsageError(
                    f"{place}: found {name!r} under {seen[name]!r} and under "
                    f"{wording.instruction!r}; leave it in one of them."
                )
            seen[name] = wording.instruction
    return wordings


def _plain(text: str) -> str:
    """A text without what no reader would call another wording: case, blanks, the last stop."""
    return " ".join(text.lower().split()).rstrip(".!? ")


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    path = list(first["loc"])
    entry = f"entry {int(path[1]) + 1} of instructions" if len(path) > 1 else "the file"
    field = ".".join(str(part) for part in (path[2:] if len(path) > 1 else path))
    wanted = "expected `[[instructions]]` with instruction, paraphrases, and tasks or kinds"
    if first["type"] == "missing":
        return f"{entry} has no {field!r}; {wanted}"
    if first["type"] == "extra_forbidden":
        return f"{entry} has the unknown key {field!r}; {wanted}"
    if first["type"] in ("tuple_type", "too_short"):  # TOML knows no tuples
        return f"{entry}: {field or 'it'} is {first['input']!r}, expected a list of texts; {wanted}"
    return f"{entry}: {field or 'it'} is {first['input']!r} ({first['msg'].lower()}); {wanted}"
