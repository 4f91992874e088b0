"""The run directory: where everything that comes out of a recipe lies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.config import OnError
from data_prep.errors import PipeError, UsageError
from data_prep.pairs.prepare import standing_pairs
from data_prep.prepare import standing_corpus
from pipelines.recipe import Recipe, load_recipe, save_recipe
from pipelines.suggestions import in_run
from student.places import Places


@dataclass(frozen=True)
class Run:
    """A run directory and its recipe.

    Attributes:
        directory: The run directory.
        recipe: The resolved recipe.
    """

    directory: Path
    recipe: Recipe

    @classmethod
    def open(cls, directory: Path, recipe: str | None, overrides: Sequence[str]) -> "Run":
        """Open a run with the recipe asked for, or else with its own.

        Args:
            directory: The run directory, which need not exist yet.
            recipe: A recipe's name or file; None takes the run's own.
            overrides: Changes such as ``stages.0.steps=100``.

        Returns:
            The run; nothing has been written.

        Raises:
            UsageError: There is no recipe, or it is wrong.
        """
        own = directory / "recipe.toml"
        if recipe is None and not own.exists():
            raise UsageError(
                f"{directory} holds no run yet; name a recipe, for example "
                f"`{in_run('pipe run --recipe laptop', directory)}`."
            )
        return cls(directory, load_recipe(recipe or str(own), overrides))

    def finished_stage(self, stage: int | None = None, otherwise: str = "") -> int:
        """Say which stage's student is to be measured.

        Args:
            stage: Its number; None takes the last that is finished.
            otherwise: What else the user may do if it is not finished, behind a comma.

        Returns:
            Its number.

        Raises:
            PipeError: The recipe has no such stage, or it is not finished.
        """
        count = len(self.recipe.stages)
        number = stage or self.students.last_finished(count) or 1
        if number > count:
            raise PipeError(f"stage {number} is not in the recipe; it has stages 1 to {count}.")
        if not self.students.finished(number):
            raise PipeError(
                f"stage {number} is not finished; run `pipe distill --stage {number}` "
                f"first{otherwise}."
            )
        return number

    def on_error(self, on_error: OnError) -> "Run":
        """Say for all sources what happens to what cannot be read.

        Args:
            on_error: ``stop`` or ``skip``.

        Returns:
            The same run with a recipe that says so.
        """
        corpus = self.recipe.corpus
        sources = [source.model_copy(update={"on_error": on_error}) for source in corpus.sources]
        changed = corpus.model_copy(update={"sources": tuple(sources)})
        return replace(self, recipe=self.recipe.model_copy(update={"corpus": changed}))

    def begin(self) -> None:
        """Keep the recipe in a new run; one that stands changes only after work that agreed.

        Raises:
            PipeError: The run's corpus, or its image-caption pairs, were made otherwise than the
                recipe says.
        """
        standing_corpus(self.recipe.corpus, self.corpus)
        if self.recipe.pairs is not None:
            standing_pairs(self.recipe.pairs, self.pairs)
        if not self._own_recipe.exists():
            self.keep_recipe()

    def keep_recipe(self, *, trained: bool = False) -> None:
        """Keep the resolved recipe in the run.

        Args:
            trained: Whether a stage has just agreed with it. Once a stage was begun, nothing else
                changes the run's recipe, or later commands would be refused.
        """
        if trained or not self.students.identity(1).exists():
            save_recipe(self.recipe, self._own_recipe)

    @property
    def _own_recipe(self) -> Path:
        return self.directory / "recipe.toml"

    @property
    def corpus(self) -> Path:
        """The corpus directory."""
        return self.directory / "corpus"

    @property
    def store(self) -> Path:
        """The store directory."""
        return self.directory / "store"

    @property
    def pairs(self) -> Path:
        """The directory of the image-caption pairs."""
        return self.directory / "pairs" / "corpus"

    @property
    def pairs_store(self) -> Path:
        """The store of the captions' vectors."""
        return self.directory / "pairs" / "store"

    @property
    def pairs_teacher(self) -> Path:
        """The student that encodes the captions, as a sentence-transformers directory."""
        return self.directory / "pairs" / "teacher"

    @property
    def results(self) -> Path:
        """The run's last evaluation, as JSON."""
        return self.directory / "eval" / "results.json"

    def of_stage(self, kept: Path, stage: int | None) -> Path:
        """Where what was measured of a stage that was asked for is kept.

        Args:
            kept: Where the same of the run as a whole is kept.
            stage: The stage; None for the run as a whole.

        Returns:
            ``kept`` for the recipe's last stage as well, else ``stage-N/`` with its name beside it.
        """
        if stage is None or stage == len(self.recipe.stages):
            return kept
        return kept.parent / f"stage-{stage}" / kept.name

    @property
    def benchmarks(self) -> Path:
        """What benchmarks of mteb gave: its cache of results, and a table for each benchmark."""
        return self.directory / "eval" / "mteb"

    @property
    def robustness(self) -> Path:
        """The last measurement of how much instructions matter, as JSON; its cache lies beside."""
        return self.directory / "eval" / "robustness.json"

    @property
    def export(self) -> Path:
        """The exported student."""
        return self.directory / "export"

    @property
    def export_of_images(self) -> Path:
        """The exported student with its vision encoder."""
        return self.directory / "export-images"

    @property
    def students(self) -> Places:
        """Where the start and every stage's students lie."""
        return Places(self.directory / "student")
