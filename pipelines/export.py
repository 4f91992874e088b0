"""Exporting a run's student with a model card written from the run."""

import json
from importlib.metadata import version
from pathlib import Path

from data_prep.corpus import Corpus
from data_prep.errors import PipeError
from pipelines.quiet import quiet_libraries
from pipelines.report import say
from pipelines.run import Run
from student.card import CardFacts, CardHead, CardSource, CardStage, CardTeacher, model_card
from student.export import dense_directory, export
from student.model import Student


def export_student(run: Run, directory: Path | None = None, head: str | None = None) -> Path:
    """Write the last finished stage's student as a sentence-transformers directory.

    Args:
        run: The run.
        directory: Where it goes; None puts it into the run.
        head: The head it uses; None takes the recipe's default.

    Returns:
        The exported directory.

    Raises:
        PipeError: No stage is finished, the head does not exist, or the directory holds
            something else.
    """
    quiet_libraries()
    number = run.students.last_finished(len(run.recipe.stages))
    if not number:
        raise PipeError("no stage is finished; run `pipe distill --stage 1` first.")
    if number < len(run.recipe.stages):
        say(f"stage {number} is the last that is finished; exporting its student")
    student = Student.load(run.students.final(number))
    target = directory or run.export
    export(student, target, card=model_card(_facts(run, student, number, head)), head=head)
    return target


def _facts(run: Run, student: Student, number: int, head: str | None) -> CardFacts:
    recipe = run.recipe
    default = head or student.default_head
    manifest = Corpus.open(run.corpus).manifest
    # A path says nothing outside this machine; a hub name and a package's name do.
    start = recipe.student.start
    on_hub = ":" not in start and not Path(start).exists()
    start = start if on_hub or ":" in start else Path(start).name
    kept = recipe.student.layers
    base = start if kept is None else f"layers {', '.join(map(str, kept))} of {start}"
    parameters = sum(p.numel() for p in student.text.parameters())
    if default in student.heads:
        parameters += sum(p.numel() for p in student.heads[default].parameters())
    results = ""
    if run.results.exists():
        results = str(json.loads(run.results.read_text())["table"])
    return CardFacts(
        name=f"{recipe.name}-student",
        base_model=base,
        base_model_on_hub=on_hub and kept is None,
        license="apache-2.0",
        parameters=parameters,
        max_tokens=student.max_tokens,
        question_prompt=student.prompts.question,
        passage_prompt=student.prompts.passage,
        default_head=default,
        heads=tuple(
            CardHead(name, layer.out_features, dense_directory(student, name))
            for name, layer in student.named_heads()
        ),
        stages=tuple(
            CardStage(
                name=stage.name,
                trained=", ".join(stage.trainable),
                losses="; ".join(f"{h}: {', '.join(names)}" for h, names in stage.heads.items()),
                steps=stage.steps,
                batch_size=stage.batch_size,
                learning_rate=stage.learning_rate,
            )
            for stage in recipe.stages[:number]
        ),
        sources=tuple(
            CardSource(source.name, source.spans, source.license) for source in manifest.sources
        ),
        teachers=tuple(
            CardTeacher(t.name, t.model, t.dim, t.weight, t.license) for t in recipe.teachers
        ),
        results=results,
        made_with=f"jasper-distill {version('jasper-distill')}",
    )
