"""What a run tells the model card of its student."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.config import SourceConfig
from data_prep.corpus import Corpus
from data_prep.pairs.corpus import PairCorpus
from pipelines.evaluate_images import trained_on
from pipelines.mteb_results import mteb_results
from pipelines.report import say
from pipelines.results import Results
from pipelines.results_revision import results_revision
from pipelines.run import Run
from student.card_facts import (
    CardFacts,
    CardHead,
    CardSource,
    CardStage,
    CardTeacher,
    CardVision,
)
from student.card_front import public_name
from student.encode import parameters_in_use
from student.export import dense_directory
from student.export_older import needs_transformers_5
from student.export_record import ExportRecord
from student.identity import StageIdentity, TeacherShare
from student.model import Student
from teacher_cache.store import TeacherStore


@dataclass(frozen=True)
class Told:
    """A card's facts, and the files that it shows.

    Attributes:
        facts: What the card says.
        beside: Files by the names under which the card shows them.
    """

    facts: CardFacts
    beside: dict[str, Path]


def card_facts(
    run: Run, student: Student, recorded: StageIdentity, record: ExportRecord, name: str | None
) -> Told:
    """Collect a card's facts: of what the stage was trained under, whatever the recipe says now.

    Args:
        run: The run.
        student: The student of the stage.
        recorded: What the stage was begun under, with the corpus and the teachers of the stages on
            texts.
        record: Which student it is, and the head in use.
        name: The model's name; None takes the recipe's.

    Returns:
        The facts, without a directory of this machine.
    """
    results, picture = _results(run, record)
    revision = results_revision(record.weights, student.prompts, student.max_tokens)
    beside = {picture.name: picture} if picture is not None else {}
    start, on_hub = public_name(recorded.student.start)
    kept = recorded.student.layers
    sources = _sources(run, recorded.corpus)
    configs = {source.name: source for source in run.recipe.corpus.sources}
    used = [configs[source.name] for source in sources if source.name in configs]
    facts = CardFacts(
        name=name or f"{record.recipe}-student",
        base_model=start if kept is None else f"layers {', '.join(map(str, kept))} of {start}",
        hub_base=start if on_hub else None,
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
        sources=sources,
        teachers=tuple(_teachers(run, recorded.teachers)),
        results=results,
        made_with=f"jasper-distill {record.version}",
        picture="".join(beside),
        languages=tuple(sorted({source.language for source in used})),
        datasets=tuple(sorted({name for source in used for name in hub_data_set(source)})),
        evaluations=mteb_results(run, revision, record.head),
        needs_transformers_5=needs_transformers_5(student),
    )
    return Told(facts, beside)


def card_vision(run: Run, number: int, student: Student, recorded: StageIdentity) -> CardVision:
    """Describe the vision encoder, with its pairs if the run still holds them.

    Args:
        run: The run.
        number: The stage.
        student: Its student, which has a vision encoder.
        recorded: What the stage was begun under.

    Returns:
        What the card says of it.
    """
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


def hub_data_set(source: SourceConfig) -> Iterator[str]:
    """Name a source's data set on the hub.

    Args:
        source: The source.

    Yields:
        ``owner/name``, if it comes from there.
    """
    if source.path.startswith("hf://datasets/"):
        owner, name, *_ = [*source.path.removeprefix("hf://datasets/").split("/"), ""]
        yield f"{owner}/{name.partition('@')[0]}"
    elif source.format == "datasets" and public_name(source.path)[1]:
        yield source.path


def _results(run: Run, record: ExportRecord) -> tuple[str, Path | None]:
    """The last evaluation's table and picture, if it is of these weights."""
    places = dict.fromkeys([run.results, run.of_stage(run.results, record.stage)])
    known = {place: found for place in places if (found := Results.read(place)) is not None}
    if not known:
        return "", None
    # The run's own evaluation first; that of the stage was asked for.
    place = next((p for p, found in known.items() if found.of.weights == record.weights), None)
    if place is None:
        say("the last evaluation is of other weights; the card omits it (run `pipe eval` first)")
        return "", None
    results = known[place]
    drawn = (results.comparison.get("images") or {}).get("picture")
    if drawn is None:
        return results.table, None
    # The table for people says where on this machine the picture lies.
    lines = [line for line in results.table.splitlines() if drawn not in line]
    # It lies beside the evaluation, wherever the run has been moved since.
    picture = place.with_name(Path(drawn).name)
    return "\n".join(lines).rstrip(), picture if picture.is_file() else None
