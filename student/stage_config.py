"""A stage of the recipe: what trains, on what, for how long, and which of its steps is kept."""

from typing import Literal, Self

from pydantic import Field, model_validator

from data_prep.config import Settings

LossName = Literal["cosine", "similarity", "relative_similarity", "mse"]
Schedule = Literal["constant", "linear", "cosine"]
Inputs = Literal["texts", "images"]

TEACHERS_TARGET = "teachers"
"""The target of a stage whose heads learn from the teachers; any other names a head."""


class LoraConfig(Settings):
    """Low-rank adapters in place of full weights (Hu et al. 2021); merged when the stage ends.

    Attributes:
        targets: Patterns of the parts whose linear layers get an adapter, as in ``trainable``.
        rank: Rank of an adapter's product of two matrices.
        alpha: An adapter counts ``alpha / rank`` times.
        dropout: Dropout probability in front of an adapter.
    """

    targets: tuple[str, ...] = Field(min_length=1)
    rank: int = Field(default=16, gt=0)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class StageConfig(Settings):
    """One row of the recipe: what trains, on which losses, for how long.

    Attributes:
        name: Stands in logs and on disk beside the stage's number.
        init: How a new head begins: ``random``, or fitted to the target in closed form.
        init_rows: Training rows that a closed form is fitted to.
        trainable: Patterns of the parts that train, such as ``text.layers[-3:]``; empty only
            where adapters train alone.
        lora: Low-rank adapters that train beside them; None for none.
        heads: For each head that has a loss, the names of its losses.
        inputs: What the stage trains on: the corpus's ``texts``, or the ``images`` of the recipe's
            image-caption pairs, whose target is for every head the caption's own vector (2.5).
        least_crop: Of a stage on images: the least share of an image's sides that a random crop of
            it keeps; 1 shows every image whole.
        target: Where the heads get their target from: ``teachers``, or the name of one of the
            student's own heads, which alone learns from them (self-distillation, section 2.4).
        cache_pooled: Whether the frozen backbone's pooled states of all rows that the stage draws
            are computed once, before its steps; nothing under ``text`` may train.
        pooled_from: A factored teacher in the target whose stored states are the pooled states,
            because the student starts as that teacher; in stage 1 alone.
        batch_size: Texts in a step, over all ranks unless ``training.batch_scope`` says otherwise.
        learning_rate: Peak rate of AdamW.
        steps: Optimizer steps.
        schedule: How the rate falls after the warm-up.
        warmup_fraction: Share of the steps in which the rate rises from 0.
        weight_decay: Of AdamW, on matrices alone.
        max_grad_norm: Gradients are scaled down to this norm; 0 leaves them alone.
        log_every: Steps between two lines of metrics.
        save_every: Steps between two checkpoints; a multiple of ``log_every``.
        evaluate_every: Steps between two evaluations, a multiple of ``log_every``; 0 for none.
        evaluate_spans: Held-out rows that are compared with the target in each of them.
        evaluate_sets: Names of sets below ``evaluation.sets`` that are measured as well.
        select: Which step's weights the stage ends with: ``last``, the ``best`` by ``metric``, or
            ``step:N``.
        metric: For ``best``: a name of an evaluation, such as ``eval/fc1/spearman``, the higher the
            better; or of a loss, such as ``loss`` or ``fc1/cosine``, the lower the better.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    trainable: tuple[str, ...]
    lora: LoraConfig | None = None
    heads: dict[str, tuple[LossName, ...]] = Field(min_length=1)
    inputs: Inputs = "texts"
    least_crop: float = Field(default=1.0, gt=0, le=1)
    target: str = TEACHERS_TARGET
    init: Literal["random", "least_squares"] = "random"
    init_rows: int = Field(default=8192, gt=0)
    cache_pooled: bool = False
    pooled_from: str | None = None
    batch_size: int = Field(gt=1)
    learning_rate: float = Field(gt=0)
    steps: int = Field(gt=0, le=1_000_000_000)
    schedule: Schedule = "cosine"
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: float = Field(default=1.0, ge=0)
    log_every: int = Field(default=10, gt=0)
    save_every: int = Field(default=100, gt=0)
    evaluate_every: int = Field(default=0, ge=0)
    evaluate_spans: int = Field(default=512, gt=2)
    evaluate_sets: tuple[str, ...] = ()
    select: str = Field(default="last", pattern=r"^(last|best|step:[1-9][0-9]*)$")
    metric: str | None = None

    @property
    def trained(self) -> str:
        """What trains, for people."""
        parts = list(self.trainable)
        if self.lora is not None:
            parts.append(f"adapters of rank {self.lora.rank} on {', '.join(self.lora.targets)}")
        return ", ".join(parts)

    @property
    def selected_step(self) -> int | None:
        """The step that ``select`` names, if it names one."""
        kind, _, step = self.select.partition(":")
        return int(step) if kind == "step" else None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.save_every % self.log_every:
            raise ValueError(
                f"save_every is {self.save_every}; expected a multiple of log_every "
                f"({self.log_every}), so that a resumed run logs the same lines"
            )
        self._require_evaluations()
        if self.inputs == "images":
            self._require_frozen_captions()
        elif self.least_crop < 1:
            raise ValueError("least_crop is set, which only a stage with inputs = 'images' has")
        if self.cache_pooled and self.pooled_from is not None:
            raise ValueError(
                "cache_pooled and pooled_from are both set; expected one of them, since each says "
                "where the pooled states come from"
            )
        if not self.trainable and self.lora is None:
            raise ValueError("trainable is empty; name the parts that train, such as heads.*")
        for head, losses in self.heads.items():
            if not losses or len(set(losses)) < len(losses):
                raise ValueError(f"head {head} has the losses {list(losses)}; expected each once")
        if self.target != TEACHERS_TARGET and self.target not in self.heads:
            raise ValueError(
                f"target is {self.target!r}; expected {TEACHERS_TARGET!r} or a head of the stage "
                f"({', '.join(self.heads)})"
            )
        return self

    def _require_frozen_captions(self) -> None:
        """The captions' vectors are computed once, so nothing behind them may move."""
        moving = [part for part in self.trainable if part.partition(".")[0] != "vision"]
        if moving or self.lora is not None:
            raise ValueError(
                f"inputs is 'images' and {', '.join(moving) or 'an adapter'} would train; expected "
                "parts of vision alone, such as vision.*, since the captions' vectors are those of "
                "the student as it is"
            )
        for name, usual in (
            ("target", TEACHERS_TARGET),
            ("init", "random"),
            ("cache_pooled", False),
            ("pooled_from", None),
        ):
            if getattr(self, name) != usual:
                raise ValueError(f"{name} is set, which a stage with inputs = 'images' has not")
        if self.evaluate_sets:
            raise ValueError(
                "evaluate_sets are named, and a stage with inputs = 'images' is measured on "
                "held-out pairs"
            )

    def _require_evaluations(self) -> None:
        if self.evaluate_every % self.log_every:
            raise ValueError(
                f"evaluate_every is {self.evaluate_every}; expected a multiple of log_every "
                f"({self.log_every}), so that an evaluation has a line of metrics beside it"
            )
        if self.evaluate_sets and not self.evaluate_every:
            raise ValueError("evaluate_sets are named and evaluate_every is 0; set it, say to 500")
        if self.selected_step is not None and self.selected_step > self.steps:
            raise ValueError(
                f"select is {self.select!r} and the stage has {self.steps} steps; name one of them"
            )
        if self.select == "best" and not 0 < self.evaluate_every <= self.steps:
            raise ValueError(
                f"select is 'best' and evaluate_every is {self.evaluate_every}; expected 1 to "
                f"{self.steps}, the stage's steps, so that there are steps to choose from"
            )
        if self.metric is not None and self.select != "best":
            raise ValueError(
                f"metric is {self.metric!r} and select is {self.select!r}; a metric is for 'best'"
            )
        if self.select == "best" and self.metric is None:
            raise ValueError(
                "select is 'best' and there is no metric; name one, such as "
                f"'eval/{next(iter(self.heads))}/spearman'"
            )
