"""Results of mteb's tasks, kept with the figures of their items: no task is run twice."""

import json
import math
from pathlib import Path
from typing import Any

from data_prep.errors import PipeError, first_line, is_disk_full
from student.evaluation.items_file import Parts, read_items, write_items
from student.evaluation.mteb_library import quietly, require_mteb
from student.evaluation.mteb_model import BATCH_SIZE, MtebModel, filed_name
from student.evaluation.tasks import Measured

_OF_THE_MODEL = "model_meta.json"


def result_files(directory: Path, name: str, revision: str) -> list[Path]:
    """List a model's results, without mteb.

    Args:
        directory: A ``ResultStore``'s.
        name: What tables call the model.
        revision: What tells its weights from others of that name.

    Returns:
        mteb's files, one for each task, by name.
    """
    filed = _filed(directory, name) / revision
    return [path for path in sorted(filed.glob("*.json")) if path.name != _OF_THE_MODEL]


def has_results(directory: Path, name: str) -> bool:
    """Look whether a model has results of any revision, without mteb.

    Args:
        directory: A ``ResultStore``'s.
        name: What tables call the model.
    """
    return _filed(directory, name).is_dir()


def _filed(directory: Path, name: str) -> Path:
    return directory / "results" / filed_name(name).replace("/", "__")


class ResultStore:
    """Finished tasks of models, in mteb's own cache, and the figures of their items.

    ``results/MODEL/REVISION/TASK.json`` below the directory is mteb's, ``items/...`` is ours and is
    written first, so that a result without it was not finished. One process at a time may use it.
    """

    def __init__(self, directory: Path) -> None:
        """Open or make a store.

        Args:
            directory: Where it lies.

        Raises:
            PipeError: mteb is not installed.
        """
        require_mteb()
        from student.evaluation.result_cache import TellingCache  # noqa: PLC0415  an extra

        self.directory = directory
        self._whole: set[Path] = set()
        self._cache = TellingCache(directory)

    def found(self, task: Any, model: MtebModel) -> Measured | None:
        """Look for a finished task; a file that was not written whole is removed.

        Args:
            task: mteb's task.
            model: The model, of which only name and revision count.

        Returns:
            What it got, on the splits and subsets that the task asks for; None if it has yet to
            run, or a part of it.

        Raises:
            PipeError: Its score is no number.
        """
        with quietly():
            path = self._cache.get_task_result_path(task.metadata.name, model.mteb_model_meta)
            if path.parent not in self._whole:
                _remove_torn(path.parent)
                self._whole.add(path.parent)
            result = self._cache.load_task_result(task.metadata.name, model.mteb_model_meta)
            if result is None or result.get_missing_evaluations(task):
                return None
            if not self._items(path).is_file():
                return None
            score = _score(result, task)
            if not math.isfinite(score):
                raise PipeError(
                    f"{task.metadata.name} is not measured: its score is no number, as when a "
                    "model gives all texts one vector; leave the task out, or look at the model."
                )
            return Measured(100 * score, read_items(self._items(path), score, _parts(task)))

    def measure(self, task: Any, model: MtebModel) -> Measured:
        """Run a task, or what is missing of it, and keep the result.

        Args:
            task: mteb's task.
            model: The model.

        Returns:
            What it got.

        Raises:
            PipeError: Its data cannot be had, or it failed.
            OSError: The disk is full.
        """
        from datasets.exceptions import DatasetNotFoundError  # noqa: PLC0415
        from mteb import evaluate  # noqa: PLC0415
        from mteb.abstasks.aggregated_task import AbsTaskAggregate  # noqa: PLC0415

        from student.evaluation.recorded import recorded  # noqa: PLC0415

        name = task.metadata.name

        def keep(result: Any, path: Path) -> None:
            # A task that is made of others keeps theirs too.
            own = result.task_name == name
            items = seen.items(_score(result, task)) if own else None
            write_items(self._items(path), items, _parts(task) if own else None)

        with quietly():
            if not isinstance(task, AbsTaskAggregate):
                try:
                    task.load_data()
                except Exception as error:  # of many libraries
                    if is_disk_full(error):
                        raise
                    raise _no_data(task, error) from None
            try:
                with recorded(task) as seen, self._cache.telling(keep) as cache:
                    evaluate(
                        model,
                        task,
                        cache=cache,
                        overwrite_strategy=self._strategy(task, model),
                        encode_kwargs={"batch_size": BATCH_SIZE, "show_progress_bar": False},
                        show_progress_bar=False,
                        co2_tracker=False,
                    )
            except Exception as error:  # mteb runs code of many hands
                if is_disk_full(error):
                    raise
                lost = isinstance(error, OSError | DatasetNotFoundError)
                if lost and isinstance(task, AbsTaskAggregate):  # loads its data only now
                    raise _no_data(task, error) from None
                raise PipeError(f"{name} is not measured: {_why(error)}.") from error
            finally:
                if task.data_loaded:
                    task.unload_data()
        # As it is kept, which is rounded: the same now as when it is asked for again.
        kept = self.found(task, model)
        if kept is None:
            raise PipeError(f"{name} is not measured: mteb did not keep a result for all of it.")
        return kept

    def _strategy(self, task: Any, model: MtebModel) -> str:
        """How mteb treats what is there: without its items a result is not taken for finished."""
        path = self._cache.get_task_result_path(task.metadata.name, model.mteb_model_meta)
        lost = path.is_file() and not self._items(path).is_file()
        return "always" if lost else "only-missing"

    def _items(self, result: Path) -> Path:
        inside = result.relative_to(self.directory / "results")
        return (self.directory / "items" / inside).with_suffix(".npz")


def _remove_torn(directory: Path) -> None:
    """Remove files of mteb's that a process was killed in the middle of writing."""
    for path in [*directory.glob("*.json"), *directory.glob("*.jsonl")]:
        try:
            text = path.read_text("utf-8")
            for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
                json.loads(part)
        except ValueError:
            path.unlink(missing_ok=True)


def _score(result: Any, task: Any) -> float:
    """The main score on the task's own splits and subsets; the result may have others too."""
    return float(result.validate_and_filter_scores(task).get_score())


def _parts(task: Any) -> Parts:
    return {split: list(task.hf_subsets) for split in task.eval_splits}


def _no_data(task: Any, error: Exception) -> PipeError:
    # A task that is made of others has no data set of its own.
    place = "" if getattr(task, "tasks", ()) else f" {task.metadata.dataset['path']}"
    return PipeError(
        f"{task.metadata.name} is not measured: its data set{place} is neither in the cache of "
        f"Hugging Face nor can it be fetched ({_why(error)}); fetch it where there is a network, "
        "and copy the cache (HF_HOME)."
    )


def _why(error: BaseException) -> str:
    if isinstance(error, PipeError):
        return str(error).rstrip(".")
    return f"{type(error).__name__}: {first_line(error)}".rstrip(".: ")
