"""Which rows a stage is trained on: all, or those of the shards that were there when it began."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from student.config import TrainingConfig
from student.identity import AvailableShards, StageIdentity
from student.order import TrainingOrder
from student.row_set import RowSet
from student.stage_config import StageConfig
from teacher_cache.layout import ShardLayout
from teacher_cache.shard_list import format_shards
from teacher_cache.store import TeacherStore

RowChoice = Literal["all", "available"]
"""Which rows a stage takes when it begins."""

_SHOWN_CHARACTERS: Final = 40


@dataclass(frozen=True)
class StageRows:
    """The rows of a stage.

    Attributes:
        rows: The rows to draw from; never a held-out one.
        shards: What the stage's record says of them; None where they are all training rows.
        note: A line for the user; empty where there is nothing to say.
    """

    rows: RowSet
    shards: AvailableShards | None
    note: str


def stage_order(
    stage: StageConfig, training: TrainingConfig, number: int, rows: RowSet
) -> TrainingOrder:
    """The order in which a stage draws its rows.

    Args:
        stage: The stage.
        training: How training runs.
        number: The stage's number, from 1; every stage has an order of its own.
        rows: The rows to draw from.

    Raises:
        PipeError: There are fewer rows than a batch takes.
    """
    return TrainingOrder(
        rows=rows,
        batch_size=stage.batch_size,
        seed=(training.seed, number),
        block_rows=training.order_block_rows,
        window_blocks=training.order_window_blocks,
    )


def fitting_steps(stage: StageConfig, batch_size: int, rows: int | None) -> int:
    """How many of the order's first steps a closed form is fitted to; 0 without one.

    Args:
        stage: The stage.
        batch_size: Texts of a step, over all ranks.
        rows: Rows to draw from, each of which counts once; None where they are not known yet.
    """
    if stage.init != "least_squares":
        return 0
    wanted = stage.init_rows if rows is None else min(stage.init_rows, rows)
    return max(1, wanted // batch_size)


def with_ranks(stage: StageConfig, training: TrainingConfig, ranks: int) -> StageConfig:
    """A stage with the size of the batch of all ranks.

    Args:
        stage: The stage.
        training: Says whether the recipe's size is each rank's.
        ranks: How many there are.
    """
    factor = ranks if training.batch_scope == "rank" else 1
    return stage.model_copy(update={"batch_size": stage.batch_size * factor})


def recorded_rows(
    recorded: StageIdentity | None, layout: ShardLayout, held_out_rows: int
) -> RowSet:
    """The rows of a stage as its record says.

    Args:
        recorded: What the stage was begun under; None stands for a stage on all rows.
        layout: Which rows a shard holds.
        held_out_rows: How many of the corpus's first rows are held out.

    Raises:
        PipeError: The record names a shard that the corpus does not have.
    """
    if recorded is None or recorded.shards is None:
        return RowSet.of_range(held_out_rows, layout.rows)
    return RowSet.of_shards(layout, recorded.shards.numbers, held_out_rows)


def choose_rows(
    store: TeacherStore,
    corpus: Corpus,
    teachers: Iterable[str],
    wanted: RowChoice,
    recorded: StageIdentity | None,
) -> StageRows:
    """Settle which rows a stage is trained on.

    A stage that was begun keeps the rows of its record, whatever has come since and whatever is
    asked for now.

    Args:
        store: The store, as it stands now.
        corpus: The corpus.
        teachers: The teachers in the target.
        wanted: Which rows a stage takes that was not begun.
        recorded: What the stage was begun under, if it was.

    Returns:
        The rows; the store has all of them.

    Raises:
        PipeError: The store lacks rows of the stage, or has no shard of all the teachers.
    """
    layout, held_out = store.layout, corpus.held_out_rows
    committed = {name: store.committed(name) for name in teachers}
    if recorded is None and wanted == "available":
        common = frozenset.intersection(*committed.values())
        if not common:
            raise PipeError(
                f"found no shard in the store that has come from every one of the teachers "
                f"{', '.join(committed)}; wait for one, or run `pipe teach`."
            )
        rows = RowSet.of_shards(layout, common, held_out)
        shards = AvailableShards.of(common) if len(common) < layout.num_shards else None
        return StageRows(rows, shards, f"training on {_share(layout, rows, len(common), held_out)}")
    rows = recorded_rows(recorded, layout, held_out)
    shards = recorded.shards if recorded is not None else None
    _require_shards(layout, committed, recorded)
    note = ""
    if shards is not None:
        share = _share(layout, rows, shards.count, held_out)
        note = f"training on {share}, which it was begun on"
    elif wanted == "available":
        note = "training on all rows, which it was begun on"
    return StageRows(rows, shards, note)


def _share(layout: ShardLayout, rows: RowSet, shards: int, held_out: int) -> str:
    return (
        f"{shards:,} of {layout.num_shards:,} shards "
        f"({len(rows):,} of {layout.rows - held_out:,} rows)"
    )


def _require_shards(
    layout: ShardLayout, committed: Mapping[str, frozenset[int]], recorded: StageIdentity | None
) -> None:
    shards = recorded.shards if recorded is not None else None
    needed = range(layout.num_shards) if shards is None else shards.numbers
    for name, done in committed.items():
        missing = [shard for shard in needed if shard not in done]
        if not missing:
            continue
        lacks = f"the store lacks {len(missing)} shards of teacher {name} ({_shown(missing)})"
        if recorded is None:
            raise PipeError(
                f"{lacks}; run `pipe teach --teacher {name}` to the end first, or train on the "
                "shards that have come with `--rows available`."
            )
        raise PipeError(
            f"{lacks} that stage {len(recorded.stages)} was begun on; copy them here or run "
            f"`pipe teach --teacher {name}`, or remove the directory of the stage and those of "
            "later ones to begin it anew on the shards that have come with `--rows available`."
        )


def _shown(shards: list[int]) -> str:
    """Shards for people: the numbers, or the first ones of many."""
    text = format_shards(shards)
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS].rpartition(',')[0]}, ..."
