"""What decides a teacher's vectors."""

from typing import Literal

from pydantic import Field

from data_prep.config import Settings

Dtype = Literal["float32", "bfloat16", "float16"]


class Prompts(Settings):
    """The text put in front of every text, by role; it ends where the text begins.

    Attributes:
        passage: In front of passages.
        question: In front of questions.
    """

    passage: str = ""
    question: str = ""


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
        license: Stated in the manifest, in the model card and when teaching starts.
        weight: Share in the target's similarities; it does not touch the stored vectors.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    kind: str
    model: str
    revision: str | None = None
    sha256: str | None = None
    dim: int = Field(gt=0)
    max_tokens: int = Field(gt=2)
    dtype: Dtype = "float32"
    prompts: Prompts = Prompts()
    license: str = "unknown"
    weight: float = Field(default=1.0, gt=0)

    def identity(self) -> dict[str, object]:
        """Everything that decides the vectors: not the weight in the target, not the licence.

        A digest of the weights says which model it is better than a path does, and a path differs
        between clusters; so with ``sha256`` the model's place and revision stay out. Settings that
        are None stay out too, so that a setting added later leaves older stores valid.

        Returns:
            JSON-like settings; their digest is the teacher's fingerprint.
        """
        exclude = {"weight", "license"}
        if self.sha256 is not None:
            exclude |= {"model", "revision"}
        return self.model_dump(mode="json", exclude=exclude, exclude_none=True)
