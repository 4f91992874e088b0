"""What decides a student besides its stages: start, heads and losses; how it trains and logs."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, model_validator

from data_prep.config import Settings
from student.stage_config import TEACHERS_TARGET
from student.vision_config import VisionConfig
from teacher_cache.config import Prompts

TieRule = Literal["strict", "authors"]
Precision = Literal["auto", "bf16", "fp32"]
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]
Scope = Literal["global", "rank"]
Sharding = Literal["auto", "none", "zero2"]
Reduction = Literal["sum", "mean"]
Recompute = Literal["none", "groups", "layers"]

CAPTIONS_TEACHER = "student"
"""The name, in the store of captions, of the student whose text side encoded them."""
_WIDEST = 1_000_000


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
