"""A model's directory: its config, and its tensors checked by the headers of their files."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from data_prep.errors import PipeError
from data_prep.files import read_json

Shape = tuple[int, ...]


class Checkpoint:
    """The tensors of a model's directory; none is read before it is asked for.

    Attributes:
        directory: The directory.
        shapes: The shape of every tensor, by its original name.
    """

    def __init__(self, directory: Path) -> None:
        """Read the headers of the weight files.

        Args:
            directory: Holds ``model.safetensors``, or several files and
                ``model.safetensors.index.json``.

        Raises:
            PipeError: There are no weights, or a file is missing or damaged.
        """
        self.directory = directory
        self.shapes: dict[str, Shape] = {}
        self._files: dict[str, Path] = {}
        for file in _weight_files(directory):
            with _opened(file) as tensors:
                for name in tensors.keys():  # noqa: SIM118  not a mapping
                    self.shapes[name] = tuple(tensors.get_slice(name).get_shape())
                    self._files[name] = file

    def tensor(self, name: str) -> torch.Tensor:
        """Read a tensor.

        Args:
            name: Its original name.

        Returns:
            The tensor, in the checkpoint's dtype, on the CPU.
        """
        with _opened(self._files[name]) as tensors:
            found: torch.Tensor = tensors.get_tensor(name)
        return found

    def expect_names(self, names: Iterable[str], ignored: Iterable[str] = ()) -> None:
        """Check which tensors there are.

        Args:
            names: Those that must be there.
            ignored: Those that may be there and decide nothing.

        Raises:
            PipeError: One is missing, or there is one that nobody reads.
        """
        wanted, found = set(names), set(self.shapes)
        if missing := sorted(wanted - found):
            raise PipeError(
                f"found no tensor {some_names(missing)} in the weights in {self.directory}, "
                "expected it of this kind of model; check that the model was copied whole."
            )
        extra = found - wanted - set(ignored)
        if unread := sorted(name for name in extra if not name.endswith("rotary_emb.inv_freq")):
            raise PipeError(
                f"found the tensor {some_names(unread)} in the weights in {self.directory}, "
                "expected only those that config.json speaks of; check the model and the teacher's "
                "`kind`."
            )

    def expect_shapes(self, shapes: Mapping[str, Shape]) -> None:
        """Check the tensors' shapes.

        Args:
            shapes: The shapes that follow from the model's config.

        Raises:
            PipeError: One is another.
        """
        for name, shape in shapes.items():
            if self.shapes[name] != shape:
                raise PipeError(
                    f"found the tensor {name} of shape {self.shapes[name]} in the weights in "
                    f"{self.directory}, expected {shape} after config.json; check that weights and "
                    "config belong together."
                )


def read_config(directory: Path) -> dict[str, Any]:
    """Read a model's ``config.json``; what it says of code (``auto_map``) is never followed.

    Args:
        directory: The model's directory.

    Returns:
        Its settings.

    Raises:
        PipeError: It is missing, damaged or no object.
    """
    settings = read_json(directory / "config.json")
    if not isinstance(settings, dict):
        raise PipeError(
            f"found {type(settings).__name__} in {directory / 'config.json'}, expected an object "
            "with the model's settings; copy the model again."
        )
    return settings


def _weight_files(directory: Path) -> list[Path]:
    single, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise PipeError(
            f"found neither {single.name} nor {index.name} in {directory}, expected the model's "
            "weights there; check that the model was copied whole."
        )
    places = read_json(index).get("weight_map", {})
    files = [directory / name for name in sorted(set(places.values()))]
    if not files:
        raise PipeError(f"found no weights in {index}, expected file names; copy the model again.")
    return files


def _opened(file: Path) -> Any:
    with suppress(SafetensorError, OSError):
        return safe_open(file, framework="pt", device="cpu")
    fault = "is damaged" if file.is_file() else "is missing"
    raise PipeError(
        f"the weights in {file} cannot be read: the file {fault}; copy or fetch the model again."
    )


def some_names(names: list[str]) -> str:
    """Name a few of many.

    Args:
        names: At least one name.

    Returns:
        Three of them at most, and how many more there are.
    """
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} (and {len(names) - 3} others)"
