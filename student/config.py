"""What decides a student: its start, its heads, its losses and its stages."""

from collections.abc import Iterable
from math import isqrt
from typing import Literal, Self

from pydantic import Field, model_validator

from data_prep.config import Settings
from teacher_cache.config import Prompts

LossName = Literal["cosine", "similarity", "relative_similarity", "mse"]
TieRule = Literal["strict", "authors"]
Schedule = Literal["constant", "linear", "cosine"]
Precision = Literal["auto", "bf16", "fp32"]
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]
Scope = Literal["global", "rank"]
Sharding = Literal["auto", "none", "zero2"]
Pooler = Literal["adaptive", "projection"]
Inputs = Literal["texts", "images"]
Reduction = Literal["sum", "mean"]
Recompute = Literal["none", "groups", "layers"]

TEACHERS_TARGET = "teachers"
CAPTIONS_TEACHER = "student"
"""The name, in the store of captions, of the student whose text side encoded them."""
_WIDEST = 1_000_000


class NewTowerConfig(Settings):
    """The shape of a SigLIP vision tower that begins with random weights.

    Attributes:
        hidden_size: Width of a patch's state.
        layers: Transformer layers.
        heads: Attention heads.
        intermediate_size: Width inside a layer's feed-forward part.
        image_size: Side of the square that an image becomes, in pixels.
        patch_size: Side of a patch.
    """

    hidden_size: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    image_size: int = Field(gt=0)
    patch_size: int = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size} and there are {self.heads} heads; expected a "
                "multiple of them"
            )
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size is {self.image_size} and patch_size {self.patch_size}; expected a "
                "whole number of patches"
            )
        return self


class VisionConfig(Settings):
    """The vision encoder and the pooler behind it (paper, section 2.2).

    Attributes:
        start: A SigLIP or SigLIP2 checkpoint of fixed resolution: a directory,
            ``package:NAME/sub/directory``, or a hub name.
        revision: The hub revision.
        sha256: Digest that the weights file must have, if given.
        new: Instead of ``start``, the shape of a tower that begins with random weights.
        pooler: How patches become tokens of the text encoder's width: ``adaptive``, the averages
            without weights of the released Jasper, or ``projection``, averages of neighbouring
            patches and a learned linear layer.
        tokens: How many tokens an image becomes.
        license: The start's licence, stated in the model card.
    """

    start: str | None = None
    revision: str | None = None
    sha256: str | None = None
    new: NewTowerConfig | None = None
    pooler: Pooler = "adaptive"
    tokens: int = Field(default=300, gt=0)
    license: str = "unknown"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.start is None) == (self.new is None):
            raise ValueError(
                "vision has "
                + ("neither start nor new" if self.start is None else "both start and new")
                + "; expected one of them, a checkpoint or the shape of a new tower"
            )
        if self.new is not None and self.pooler == "projection":
            side = self.new.image_size // self.new.patch_size
            if isqrt(self.tokens) ** 2 != self.tokens or self.tokens > side**2:
                raise ValueError(
                    f"tokens is {self.tokens} with the pooler projection, which averages {side} by "
                    f"{side} patches down to a smaller square; expected a square number up to "
                    f"{side**2}"
                )
        return self


class StudentConfig(Settings):
    """The student before training (paper, section 2.2).

    Attributes:
        start: A directory, ``package:NAME/sub/directory``, or a hub name.
        revision: The hub revision.
        sha256: Digest that the weights file must have, if given.
        layers: Which of the start's layers are kept, in this order; None keeps all.
        max_tokens: Longer texts are cut off here, special tokens included.
        dropout: Dropout probability everywhere in the backbone while training.
        prompts: Text in front of each text, by role.
        heads: Width of each head by name; ``"target"`` is the target's width.
        nested: For a head without weights of its own, the head whose first numbers it is.
        default_head: The head that an exported student uses.
        vision: The vision encoder, which a stage on images adds; None for a student of texts.
        license: The start's licence, stated in the model card.
    """

    start: str
    revision: str | None = None
    sha256: str | None = None
    layers: tuple[int, ...] | None = Field(default=None, min_length=1)
    max_tokens: int = Field(gt=2)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    prompts: Prompts = Prompts()
    heads: dict[str, int | Literal["target"]] = Field(min_length=1)
    nested: dict[str, str] = Field(default_factory=dict)
    default_head: str
    vision: VisionConfig | None = None
    license: str = "unknown"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.default_head not in self.heads:
            raise ValueError(
                f"default_head is {self.default_head!r}; expected one of {', '.join(self.heads)}"
            )
        for name, width in self.heads.items():
            if not name.isidentifier():
                raise ValueError(f"head {name!r} is no plain name; use letters, digits and _")
            if name == TEACHERS_TARGET:
                raise ValueError(f"a head is called {name!r}, which is what a stage's target is")
            if isinstance(width, int) and not 1 <= width <= _WIDEST:
                raise ValueError(f"head {name} is {width} wide; expected 1 to {_WIDEST}")
        for name, whole in self.nested.items():
            own = [head for head in self.heads if head not in self.nested]
            if name not in self.heads or whole not in own:
                raise ValueError(
                    f"nested has {name} = {whole!r}; expected a head of student.heads and, for "
                    f"whose first numbers it is, one with weights of its own ({', '.join(own)})"
                )
        return self

    @property
    def own_heads(self) -> frozenset[str]:
        """The heads that have weights of their own."""
        return frozenset(self.heads) - frozenset(self.nested)

    def with_wholes(self, heads: Iterable[str]) -> set[str]:
        """Add to some heads those that they are nested in.

        Args:
            heads: Names of heads.

        Returns:
            The names, and the heads whose weights they use.
        """
        names = set(heads)
        return names | {self.nested[name] for name in names if name in self.nested}


class LossConfig(Settings):
    """Weights of the losses (paper, equations 1 to 4 and section 3.1).

    Attributes:
        cosine: Weight of the cosine loss, the paper's lambda 1.
        similarity: Weight of the similarity loss, lambda 2.
        relative_similarity: Weight of the relative similarity loss, lambda 3.
        margin: Margin of the relative similarity loss.
        relative_ties: What two pairs that tie for the teacher cost in the relative similarity
            loss: nothing (``strict``, equation 3), or what they cost in the authors' published
            code, where the later pair should be above.
        mse: Weight of the plain squared distance, a baseline that the paper does not have.
        cosine_reduction: ``sum`` over the batch as in equation 1, or ``mean`` as in the
            authors' published code.
        heads_reduction: How the losses of several heads are put together where texts are trained
            on; those of images are averaged.
        scope: What the losses compare where several processes train: the texts of the ``global``
            batch, or those of each ``rank`` among themselves.
    """

    cosine: float = Field(ge=0)
    similarity: float = Field(ge=0)
    relative_similarity: float = Field(ge=0)
    margin: float = Field(ge=0)
    relative_ties: TieRule = "strict"
    mse: float = Field(default=1.0, ge=0)
    cosine_reduction: Reduction = "sum"
    heads_reduction: Reduction = "sum"
    scope: Scope = "global"


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


class TrainingConfig(Settings):
    """How training runs on a machine.

    Attributes:
        seed: Decides new heads, the training order and dropout.
        precision: ``bf16`` mixed precision, ``fp32``, or ``auto``: bf16 where it is fast.
        attention: The backbone's attention kernel while training; ``auto`` is ``sdpa`` on a GPU and
            ``eager`` on a CPU. ``flash_attention_2`` wants a GPU, bf16 and its package.
        compile: Whether torch.compile translates the backbone's layers before training.
        order_block_rows: Rows that are read together; blocks are permuted in every epoch.
        order_window_blocks: Blocks whose rows are permuted together.
        group_tokens: Padded tokens of one length-sorted group in the forward pass.
        batch_scope: Whether a stage's ``batch_size`` is that of the ``global`` batch or of each
            ``rank``. The order of global batches does not depend on the number of ranks, and the
            number may change when a stage is resumed, unless this or ``losses.scope`` is ``rank``.
        sharding: How several processes share the optimizer's state and the gradients: ``zero2``
            (DeepSpeed), ``none`` (each has all), or ``auto``: ``zero2`` in several processes.
        recompute: What the backward pass computes again instead of keeping it: ``none``, the
            ``groups`` of the batch one after the other, so that memory goes with a group and not
            with the batch, or the ``layers`` one after the other, so that of each only the input
            is kept; both for a second forward pass.
        readers: 1 reads and tokenises ahead of the step in a process of its own; 0 in line.
        keep_checkpoints: How many checkpoints of a stage stay on disk; the newest may be the one
            that a kill cuts short.
    """

    seed: int = Field(default=0, ge=0)
    precision: Precision = "auto"
    attention: Attention = "auto"
    compile: bool = False
    order_block_rows: int = Field(default=64, gt=0)
    order_window_blocks: int = Field(default=128, gt=0)
    group_tokens: int = Field(default=16384, gt=0)
    batch_scope: Scope = "global"
    sharding: Sharding = "auto"
    recompute: Recompute = "none"
    readers: int = Field(default=0, ge=0, le=1)
    keep_checkpoints: int = Field(default=2, ge=2)


class LoggingConfig(Settings):
    """Where metrics go besides the run's own files; nothing here decides a weight.

    Attributes:
        wandb: A project of Weights & Biases, of which each stage becomes a run; empty for none.
        group: What the stages of a run have in common there; by default the recipe's name.
    """

    wandb: str | None = None
    group: str | None = None
