"""How a teacher's vectors are kept: the table of storages, from vectors to stored rows and back.

A row is stored as ``columns`` numbers of one type. Whatever the storage, what is read is a unit
vector of ``dim`` numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from data_prep.errors import PipeError
from teacher_cache.config import StorageName
from teacher_cache.linear_head import LinearHead
from teacher_cache.manifest import TeacherEntry

NORM_TOLERANCE = 1e-2
"""How far from 1 a vector's norm may be; bfloat16 keeps it within 4e-3."""

_BYTES_AT_A_TIME = 2**19
"""Bytes converted at a time, so that they stay in the processor's cache between the passes."""

_SCALE_BYTES = 4
_INT8_MOST = 127.0

Stored = npt.NDArray[Any]


class Storage(Protocol):
    """One way to keep a teacher's vectors."""

    @property
    def columns(self) -> int:
        """Numbers of a stored row."""

    @property
    def inputs(self) -> int:
        """Numbers of a row as the encoder gives it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Their type on disk, little-endian."""

    def pack(self, rows: npt.NDArray[np.floating]) -> Stored:
        """Bring what an encoder gives to the form that is stored.

        Args:
            rows: (n, inputs), float32 or float16.

        Returns:
            (n, columns) of ``dtype``; rows that cannot be stored come back as not sound.
        """

    def unpack(self, stored: Stored, scale: float, out: npt.NDArray[np.float32]) -> None:
        """Restore unit vectors and multiply them.

        Args:
            stored: (n, columns) of ``dtype``.
            scale: A positive factor.
            out: Where to put them, (n, dim) float32.
        """

    def unsound(self, stored: Stored) -> npt.NDArray[np.int64]:
        """Find rows that are not finite unit vectors.

        Args:
            stored: (n, columns) of ``dtype``.

        Returns:
            Their places, ascending, shape (m,).
        """


@dataclass(frozen=True, slots=True)
class Float16Storage:
    """Unit vectors, normalised in float32 and rounded to float16.

    Attributes:
        dim: Numbers in a vector.
    """

    dim: int
    dtype = np.dtype("<f2")

    @property
    def columns(self) -> int:
        """As many as the vector has."""
        return self.dim

    @property
    def inputs(self) -> int:
        """The vector's."""
        return self.dim

    def pack(self, rows: npt.NDArray[np.floating]) -> Stored:
        """As ``Storage``; rows are brought to unit norm if they have it within 1%."""
        return _unit(rows).astype(self.dtype)

    def unpack(self, stored: Stored, scale: float, out: npt.NDArray[np.float32]) -> None:
        """As ``Storage``."""
        step = max(1, _BYTES_AT_A_TIME // (4 * self.dim))
        for first in range(0, len(stored), step):
            widen(stored[first : first + step], scale, out[first : first + step])

    def unsound(self, stored: Stored) -> npt.NDArray[np.int64]:
        """As ``Storage``."""
        # What is not finite becomes so large that no norm comes near 1.
        vectors = np.empty(stored.shape, np.float32)
        widen(stored, 1.0, vectors)
        return _not_unit(vectors)


@dataclass(frozen=True, slots=True)
class Int8Storage:
    """Whole numbers from -127 to 127, and the factor that makes them a unit vector.

    The factor is a little-endian float32 in the last four columns.

    Attributes:
        dim: Numbers in a vector.
    """

    dim: int
    dtype = np.dtype("i1")

    @property
    def columns(self) -> int:
        """The vector's numbers and the four bytes of the factor."""
        return self.dim + _SCALE_BYTES

    @property
    def inputs(self) -> int:
        """The vector's."""
        return self.dim

    def pack(self, rows: npt.NDArray[np.floating]) -> Stored:
        """As ``Storage``; the largest number of a vector becomes 127 or -127."""
        unit = _unit(rows)
        largest = np.abs(unit).max(axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            whole = np.rint(unit * (_INT8_MOST / largest))
            factor = (1 / np.sqrt(np.einsum("nd,nd->n", whole, whole))).astype("<f4")
            stored = np.empty((len(rows), self.columns), self.dtype)
            stored[:, : self.dim] = whole
        stored[:, self.dim :] = factor[:, None].view(self.dtype)
        return stored

    def unpack(self, stored: Stored, scale: float, out: npt.NDArray[np.float32]) -> None:
        """As ``Storage``."""
        factors = self._factors(stored) * np.float32(scale)
        np.multiply(stored[:, : self.dim], factors, out=out, dtype=np.float32)

    def unsound(self, stored: Stored) -> npt.NDArray[np.int64]:
        """As ``Storage``."""
        with np.errstate(all="ignore"):
            return _not_unit(stored[:, : self.dim] * self._factors(stored))

    def _factors(self, stored: Stored) -> npt.NDArray[np.float32]:
        factors: npt.NDArray[np.float32] = stored[:, self.dim :].copy().view("<f4")
        return factors


@dataclass(frozen=True, slots=True)
class FactoredStorage:
    """Pooled states in float16; the teacher's last Linear layer makes vectors of them.

    Attributes:
        head: The layer.
    """

    head: LinearHead
    dtype = np.dtype("<f2")

    @property
    def columns(self) -> int:
        """Those of the state."""
        return self.head.state_dim

    @property
    def inputs(self) -> int:
        """Those of the state."""
        return self.head.state_dim

    def pack(self, rows: npt.NDArray[np.floating]) -> Stored:
        """As ``Storage``; states are not normalised, for the layer may have a bias."""
        with np.errstate(over="ignore"):
            return rows.astype(self.dtype)

    def unpack(self, stored: Stored, scale: float, out: npt.NDArray[np.float32]) -> None:
        """As ``Storage``."""
        np.multiply(self.head.apply(stored.astype(np.float32)), np.float32(scale), out=out)

    def unsound(self, stored: Stored) -> npt.NDArray[np.int64]:
        """As ``Storage``; a zero state, too, has no direction."""
        return _without_direction(stored)


STORAGES: Final[Mapping[StorageName, Callable[[TeacherEntry, LinearHead | None], Storage]]] = {
    "float16": lambda entry, head: Float16Storage(entry.config.dim),
    "int8": lambda entry, head: Int8Storage(entry.config.dim),
    "factored": lambda entry, head: FactoredStorage(_required(entry, head)),
}
"""How each storage is made from a teacher's entry and, where it is factored, its last layer."""


def columns_of(entry: TeacherEntry) -> tuple[int, np.dtype[Any]]:
    """Say what a teacher's stored rows look like; its last layer need not be there.

    Args:
        entry: The teacher.

    Returns:
        Numbers of a stored row, and their type.
    """
    if entry.head is not None:
        return entry.head.state_dim, FactoredStorage.dtype
    storage = STORAGES[entry.config.storage](entry, None)
    return storage.columns, storage.dtype


def unsound_rows(entry: TeacherEntry, stored: Stored) -> npt.NDArray[np.int64]:
    """As ``Storage.unsound``, for whoever has no last layer at hand.

    Args:
        entry: The teacher.
        stored: (n, columns) as they are stored.

    Returns:
        Places of rows that are no finite unit vectors, or no states; ascending, shape (m,).
    """
    if entry.head is not None:
        return _without_direction(stored)
    return STORAGES[entry.config.storage](entry, None).unsound(stored)


def widen(halves: npt.NDArray[np.float16], scale: float, out: npt.NDArray[np.float32]) -> None:
    """Convert finite float16 to float32 and multiply: ``out = scale * halves``, exactly rounded.

    A float16's exponent and fraction, shifted left by 13 bits, are the float32 that is smaller by
    2**112, subnormal numbers included; multiplying by ``scale * 2**112`` restores and scales at
    once. numpy's own conversion goes number by number and takes four times as long. Infinity and
    NaN have no place in a store and become numbers of at least 65536 times the scale.

    Args:
        halves: Any shape.
        scale: A positive factor.
        out: The same shape.

    >>> import numpy as np
    >>> out = np.empty(3, np.float32)
    >>> widen(np.array([1.0, -0.5, 6e-8], np.float16), 2.0, out)
    >>> out.tolist() == [2.0, -1.0, 2.0**-23]
    True
    """
    bits = out.view(np.int32)
    np.left_shift(halves.view(np.int16), 13, out=bits, dtype=np.int32)
    # The shift has copied the sign into bits 28 to 30 as well; take it out of there.
    np.bitwise_and(bits, np.int32(~0x70000000), out=bits)
    np.multiply(out, np.float32(scale * 2.0**112), out=out)


def _unit(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Rows of nearly unit norm, brought to it; others become NaN, which no storage takes."""
    single = rows.astype(np.float32, copy=False)
    norms = np.sqrt(np.einsum("nd,nd->n", single, single))
    norms[~(np.abs(norms - 1) <= NORM_TOLERANCE)] = np.nan
    unit: npt.NDArray[np.float32] = single / norms[:, None]
    return unit


def _without_direction(states: Stored) -> npt.NDArray[np.int64]:
    single = states.astype(np.float32)
    norms = np.einsum("nd,nd->n", single, single)
    return np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))


def _not_unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))  # NaN compares false


def _required(entry: TeacherEntry, head: LinearHead | None) -> LinearHead:
    if head is None:
        raise PipeError(
            f"found no last layer for {entry.config.name}, whose storage is factored, expected one;"
            " restore the store's heads from a copy."
        )
    return head
