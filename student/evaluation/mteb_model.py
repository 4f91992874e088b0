"""A model of ours as mteb sees one: batches and a kind of prompt in, vectors out."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from student.evaluation.embed import Embed, embed_distinct
from teacher_cache.config import Prompts

Instruction = str | Mapping[str, str]
"""What a task asks for: of all texts but documents, or by kind (``query``, ``document``)."""

Prompted = Callable[[Prompts], Embed]
"""Gives the same model under other prompts."""

INSTRUCT = "Instruct: {instruction}\nQuery: "
"""The template of the paper's teachers, and of most models that take instructions."""

BATCH_SIZE = 4096
"""Texts that mteb hands over at once; ours are batched by length after that."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_QUERY, _DOCUMENT = "query", "document"
_INSTRUCTS = re.compile(r"Instruct: .+\n(?P<tail>Query:\s*)", re.DOTALL)


def instruction_template(prompts: Prompts) -> str | None:
    """Say how a model takes instructions, from its own prompt for questions.

    Args:
        prompts: The model's own prompts.

    Returns:
        A text with ``{instruction}`` in it; None if the model takes none.

    >>> instruction_template(Prompts(question="Instruct: Find the answer.\\nQuery: "))
    'Instruct: {instruction}\\nQuery: '
    >>> instruction_template(Prompts(question="query: "))
    """
    found = _INSTRUCTS.fullmatch(prompts.question)
    return f"Instruct: {{instruction}}\n{found['tail']}" if found else None


def filed_name(name: str) -> str:
    """Say under which name mteb files a model's results.

    Args:
        name: What tables call it.

    Returns:
        ``organisation/model``; ours is the organisation of what is no such name already, such as
        a directory.
    """
    if _HUB_NAME.fullmatch(name):
        return name
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-")
    return f"jasper-distill/{plain}"


class MtebModel:
    """An ``EncoderProtocol`` of mteb made from an ``Embed``.

    mteb's queries are our questions, everything else is a passage. A model that takes instructions
    reads the task's in front of every text but documents, as such models are evaluated.

    Attributes:
        name: ``organisation/model``, as mteb files it.
        revision: What tells these weights from others of that name.
    """

    def __init__(
        self,
        embed: Embed,
        name: str,
        revision: str | None = None,
        *,
        prompts: Prompts | None = None,
        prompted: Prompted | None = None,
        template: str | None = None,
        instructions: Mapping[str, Instruction] | None = None,
        remember: bool = False,
    ) -> None:
        """Wrap a model.

        Args:
            embed: The model under its own prompts.
            name: What tables call it; results are filed under its ``filed_name``.
            revision: What tells these weights from others of that name.
            prompts: Its own prompts; none, if not given.
            prompted: The model under other prompts; without it no instruction is read.
            template: A text with ``{instruction}`` in it, put in front of a text; by default what
                the model's prompts say (``instruction_template``).
            instructions: By task name; before the one that the task has.
            remember: Whether to keep every vector until ``forget``, so that no text is embedded
                twice; for sets that fit into memory.
        """
        self.name = filed_name(name)
        self.revision = revision or "no_revision_available"
        self._embed = embed
        self._prompts = prompts or Prompts()
        self._prompted = prompted
        self._template = template or instruction_template(self._prompts)
        self._instructions = instructions or {}
        self._known: dict[tuple[str, str], np.ndarray] | None = {} if remember else None

    @property
    def takes_instructions(self) -> bool:
        """Whether a task's instruction reaches the model."""
        return self._template is not None and self._prompted is not None

    def instruction(self, task_metadata: Any, prompt_type: Any = None) -> str | None:
        """Say which instruction a task's texts get.

        Args:
            task_metadata: The task's ``TaskMetadata``.
            prompt_type: mteb's ``PromptType``, or None where a task has one kind of text.

        Returns:
            The instruction; None for documents that have none of their own, for a task without
            one, and for a model that takes none.
        """
        kind = getattr(prompt_type, "value", prompt_type)
        own: Instruction | None = task_metadata.prompt
        found = self._instructions.get(task_metadata.name, own)
        if not self.takes_instructions or found is None:
            return None
        if isinstance(found, str):
            return None if kind == _DOCUMENT else found
        return found.get(kind or _QUERY)

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **_: Any,
    ) -> np.ndarray:
        """Embed the texts of a data loader; texts that are equal are embedded once.

        Args:
            inputs: Batches with ``text``.
            task_metadata: The task's ``TaskMetadata``.
            hf_split: Not used.
            hf_subset: Not used.
            prompt_type: mteb's ``PromptType``, or None.

        Returns:
            (n, D) float32 unit rows.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        kind = getattr(prompt_type, "value", prompt_type)
        instruction = self.instruction(task_metadata, kind)
        embed, role, key = self._embed, "question" if kind == _QUERY else "passage", ""
        if instruction is not None and self._prompted is not None:
            key = str(self._template).replace("{instruction}", instruction)
            embed, role = self._prompted(Prompts(passage="", question=key)), "question"
        if self._known is None:
            return embed_distinct(embed, texts, role)
        place = f"{role}\n{key}"
        new = [text for text in dict.fromkeys(texts) if (place, text) not in self._known]
        vectors = embed(new, [role] * len(new)) if new else ()
        self._known.update(((place, text), row) for text, row in zip(new, vectors, strict=True))
        return np.stack([self._known[place, text] for text in texts])

    def forget(self) -> None:
        """Drop the vectors that were kept."""
        if self._known is not None:
            self._known.clear()

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all of one with all of the other.

        Args:
            embeddings1: (n, D) or (D,).
            embeddings2: (m, D) or (D,).

        Returns:
            (n, m) torch tensor.
        """
        from mteb.similarity_functions import cos_sim  # noqa: PLC0415  an extra

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of each of one with its own of the other.

        Args:
            embeddings1: (n, D).
            embeddings2: (n, D).

        Returns:
            (n,) torch tensor.
        """
        from mteb.similarity_functions import pairwise_cos_sim  # noqa: PLC0415

        return pairwise_cos_sim(embeddings1, embeddings2)

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb files results under: the name and the revision."""
        from mteb.models import ModelMeta  # noqa: PLC0415
        from mteb.models.model_meta import ScoringFunction  # noqa: PLC0415

        same = {"similarity_fn_name": ScoringFunction.COSINE}
        return ModelMeta.create_empty({"name": self.name, "revision": self.revision, **same})
