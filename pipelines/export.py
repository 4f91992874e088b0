"""Exporting a run's student with a model card written from the run."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from data_prep.pairs.corpus import PairCorpus
from pipelines.evaluate_images import trained_on
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.results import Results
from pipelines.run import Run
from student.card import model_card, public_name
from student.card_facts import (
    CardFacts,
    CardHead,
    CardSource,
    CardStage,
    CardTeacher,
    CardVision,
)
from student.encode import parameters_in_use
from student.export import dense_directory, export
from student.export_record import ExportRecord, weights_digest
from student.export_whole import export_whole
from student.identity import StageIdentity, TeacherShare, recorded_identity
from student.model import Student
from teacher_cache.store import TeacherStore


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        directory: Where it is.
        stage: The stage whose student it is.
        head: The head in use.
    """

    directory: Path
    stage: int
    head: str

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {"export": str(self.directory), "stage": self.stage, "head": self.head}


def export_student(
    run: Run, directory: Path | None = None, head: str | None = None, *, images: bool = False
) -> Exported:
    """Write the last finished stage's student as a sentence-transformers directory.

    Args:
        run: The run.
        directory: Where it goes; None puts it into the run.
        head: The head it uses; None takes the default that the student was trained with, or its
            first head where it has no such head yet.
        images: Whether the vision encoder and all heads go with it, as a model that loads after
            ``import student``; else it is the text side alone, which loads anywhere.

    Returns:
        What was exported.

    Raises:
        PipeError: No stage is finished, the head does not exist, the student has no vision encoder
            where one is wanted, the stage's record is broken, or the directory holds something
            else.
    """
    quiet_libraries()
    places = run.students
    number = places.last_finished(len(run.recipe.stages))
    if not number:
        raise PipeError("no stage is finished; run `pipe distill --stage 1` first.")
    if number < len(run.recipe.stages):
        say(f"stage {number} is the last that is finished; exporting its student")
    recorded = _recorded(run, number)
    student = Student.load(places.final(number))
    record = ExportRecord(
        version=version("jasper-distill"),
        recipe=run.recipe.name,
        stage=number,
        weights=weights_digest(places.final(number)),
        head=_head(student, head, number),
    )
    facts = _facts(run, student, recorded, record)
    if images and student.vision is None:
        raise PipeError(
            f"the student of stage {number} has no vision encoder, expected one to export with "
            'images; train a stage with inputs = "images" first, or export without --images.'
        )
    if images:
        target = directory or run.export_of_images
        facts = replace(facts, vision=_vision(run, number, student, recorded))
        export_whole(student, target, card=model_card(facts), record=record)
    else:
        target = directory or run.export
        export(student, target, card=model_card(facts), record=record)
    return Exported(target, number, record.head)


def _recorded(run: Run, number: int) -> StageIdentity:
    """What a stage was begun under, with the corpus and the teachers of the stages on texts."""
    places = run.students
    recorded = recorded_identity(places, number)
    last = recorded
    while last is not None and last.stages[-1].inputs == "images":
        number -= 1
        last = recorded_identity(places, number)
    if recorded is None or last is None:
        raise PipeError(f"{places.identity(number)} is missing; run `pipe distill` again.")
    return recorded.model_copy(update={"corpus": last.corpus, "teachers": last.teachers})


def _head(student: Student, wanted: str | None, number: int) -> str:
    """The head to export: the one asked for, else the default, else the first."""
    heads = [name for name, _ in student.named_heads()]
    if not heads:
        raise PipeError(f"the student of stage {number} has no head to export; train one first.")
    if wanted is None and student.default_head not in heads:
        say(
            f"the student of stage {number} has no head {student.default_head!r} yet; exporting "
            f"its head {heads[0]!r}"
        )
        return heads[0]
    chosen = wanted or student.default_head
    if chosen not in heads:
        raise PipeError(
            f"the student of stage {number} has no head {chosen!r}; its heads are "
            f"{', '.join(heads)}, so choose one of them with --head."
        )
    return chosen


def _facts(run: Run, student: Student, recorded: StageIdentity, record: ExportRecord) -> CardFacts:
    """The card's facts: of what the stage was trained under, whatever the recipe says now."""
    start, on_hub = public_name(recorded.student.start)
    kept = recorded.student.layers
    return CardFacts(
        name=f"{record.recipe}-student",
        base_model=start if kept is None else f"layers {', '.join(map(str, kept))} of {start}",
        base_model_on_hub=on_hub and kept is None,
        base_license=recorded.student.license,
        parameters=parameters_in_use(student, record.head),
        max_tokens=student.max_tokens,
        question_prompt=student.prompts.question,
        passage_prompt=student.prompts.passage,
        default_head=record.head,
        heads=tuple(
            CardHead(
                name,
                layer.out_features,
                dense_directory(student, name),
                nested_in=student.own_head(name) if name in student.nested else "",
            )
            for name, layer in student.named_heads()
        ),
        stages=tuple(
            CardStage(
                name=stage.name,
                trained=stage.trained,
                losses="; ".join(f"{h}: {', '.join(names)}" for h, names in stage.heads.items()),
                steps=stage.steps,
                batch_size=stage.batch_size,
                learning_rate=stage.learning_rate,
            )
            for stage in recorded.stages
        ),
        sources=_sources(run, recorded.corpus),
        teachers=tuple(_teachers(run, recorded.teachers)),
        results=_results(run, record.weights),
        made_with=f"jasper-distill {record.version}",
    )


def _vision(run: Run, number: int, student: Student, recorded: StageIdentity) -> CardVision:
    """The vision encoder, and the pairs that it was trained on if the run still holds them."""
    config, vision = recorded.student.vision, student.seeing()
    start = "a tower from random weights"
    if config is not None and config.start is not None:
        start = public_name(config.start)[0]
    sources: tuple[CardSource, ...] = ()
    if (run.pairs / "manifest.json").exists():
        pairs = PairCorpus.open(run.pairs)
        if trained_on(run, number, pairs):
            found = pairs.captions.manifest.sources
            sources = tuple(CardSource(s.name, s.spans, s.license) for s in found)
        else:
            say(
                "the run's image-caption pairs are not those that the student was trained on; the "
                "card omits them"
            )
    return CardVision(
        start=start,
        license=config.license if config is not None and config.start is not None else None,
        parameters=sum(parameter.numel() for parameter in vision.parameters()),
        tokens=vision.tokens,
        sources=sources,
    )


def _sources(run: Run, fingerprint: str) -> tuple[CardSource, ...]:
    """The corpus's sources, if the run still holds the corpus that the stage was trained on."""
    manifest = Corpus.open(run.corpus).manifest
    if manifest.fingerprint != fingerprint:
        say("the run's corpus is not the one that the student was trained on; the card omits it")
        return ()
    return tuple(CardSource(s.name, s.spans, s.license) for s in manifest.sources)


def _teachers(run: Run, shares: tuple[TeacherShare, ...]) -> Iterator[CardTeacher]:
    """The teachers trained with; the store, and else the recipe, says more about each."""
    known = [*run.recipe.teachers]
    if (run.store / "manifest.json").exists():
        store = TeacherStore.open(run.store, check_commits=False)
        known = [*(entry.config for entry in store.teachers.values()), *known]
    for share in shares:
        configs = [config for config in known if config.fingerprint == share.fingerprint]
        stated = [config.license for config in configs if config.license.lower() != "unknown"]
        yield CardTeacher(
            name=share.name,
            model=public_name(configs[0].model)[0] if configs else share.name,
            dim=configs[0].dim if configs else None,
            weight=share.weight,
            license=stated[0] if stated else None,
        )


def _results(run: Run, weights: str) -> str:
    """The last evaluation's table, if it is of these weights."""
    results = Results.read(run.results)
    if results is None:
        return ""
    if results.of.weights != weights:
        say("the last evaluation is of other weights; the card omits it (run `pipe eval` first)")
        return ""
    return results.table
