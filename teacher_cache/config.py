"""What decides a teacher's vectors."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from data_prep.config import Settings
from data_prep.errors import PipeError
from data_prep.fingerprint import digest

Dtype = Literal["float32", "bfloat16", "float16"]
Attention = Literal["bidirectional", "causal"]
EosRule = Literal["append", "none"]
StorageName = Literal["float16", "int8", "factored"]
GoldenSet = Literal["none", "nv-embed-v2", "stella-en-1.5b-v5"]

# Settings that only some kinds have, with what stands there unless the teacher says otherwise.
_OWN_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "stella": {"attention": "bidirectional", "eos": "none"},
}


class Prompts(Settings):
    """The text put in front of every text, by role; it ends where the text begins.

    Attributes:
        passage: In front of passages.
        question: In front of questions.
    """

    passage: str = ""
    question: str = ""

    def in_front_of(self, texts: Sequence[str], roles: Sequence[str]) -> list[str]:
        """Put the prompt of its role in front of every text.

        Args:
            texts: n texts.
            roles: ``passage`` or ``question`` for each.

        Returns:
            n texts.

        Raises:
            PipeError: A role that has no prompt.
        """
        prompts: dict[str, str] = self.model_dump()
        unknown = sorted(set(roles) - prompts.keys())
        if unknown:
            raise PipeError(
                f"found the role {unknown[0]!r}, expected one of {', '.join(prompts)}; mend the "
                "corpus."
            )
        return [prompts[role] + text for text, role in zip(texts, roles, strict=True)]


class TeacherConfig(Settings):
    """One teacher: a model with its prompts, dimension and revision.

    Attributes:
        name: Names its array in the store.
        kind: A row of ``teacher_cache.encoders.KINDS``.
        model: A directory, ``package:NAME/sub/directory``, or a hub name.
        revision: The hub revision.
        sha256: Digest that the weights must have, if given (``models.weights_digest``).
        dim: Numbers in a vector.
        max_tokens: Longer texts are cut off here, the prompt and special tokens included.
        dtype: What the model computes in.
        prompts: Text in front of each text, by role.
        attention: Kind ``stella`` only: whether tokens see the ones behind them.
        eos: Kind ``stella`` only: whether the end token stands behind every text.
        golden: Published scores that the model must reproduce before it encodes a corpus, a row of
            ``teacher_cache.golden.GOLDEN``; or ``none``.
        storage: How the store keeps its vectors, a row of ``teacher_cache.storage.STORAGES``.
        license: Stated in the manifest, in the model card and when teaching starts.
        weight: Share in the target's similarities; it does not touch the stored vectors. With 0
            the teacher is encoded and stored, and stays out of the target.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    kind: str
    model: str
    revision: str | None = None
    sha256: str | None = None
    dim: int = Field(gt=0, le=2**20)
    max_tokens: int = Field(gt=2)
    dtype: Dtype = "float32"
    prompts: Prompts = Prompts()
    attention: Attention | None = Field(default=None, validate_default=True)
    eos: EosRule | None = Field(default=None, validate_default=True)
    golden: GoldenSet = "none"
    storage: StorageName = "float16"
    license: str = "unknown"
    weight: float = Field(default=1.0, ge=0)

    @field_validator("attention", "eos")
    @classmethod
    def _of_this_kind(cls, value: str | None, info: ValidationInfo) -> Any:
        kind = info.data.get("kind", "")
        own = _OWN_SETTINGS.get(kind, {})
        if value is not None and info.field_name not in own:
            raise ValueError(f"a teacher of kind {kind!r} has no such setting")
        return own.get(str(info.field_name)) if value is None else value

    def identity(self) -> dict[str, object]:
        """Everything that decides what is stored: no weight, licence or golden scores.

        A digest of the weights says which model it is better than a path does, and a path differs
        between clusters; so with ``sha256`` the model's place and revision stay out. Settings that
        are None stay out too, so that a setting added later leaves older stores valid.

        Returns:
            JSON-like settings; their digest is the teacher's fingerprint.
        """
        exclude = {"weight", "license", "golden"}
        if self.storage == "float16":
            exclude.add("storage")
        if self.sha256 is not None:
            exclude |= {"model", "revision"}
        return self.model_dump(mode="json", exclude=exclude, exclude_none=True)

    @property
    def fingerprint(self) -> str:
        """Digest of what decides what is stored."""
        return digest(self.identity())
