"""The page itself: sections of tables and plots through a template that escapes everything."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from jinja2 import Environment as Templates
from jinja2 import PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pipelines.report_page.facts import EvaluationFacts, RunFacts, StageFacts, Table
from pipelines.report_page.plots import (
    Plot,
    PlotGroup,
    cost_plots,
    phase_plot,
    retention_plots,
    step_plot,
    training_plots,
)
from pipelines.report_page.spent import phase_times, step_times
from pipelines.report_page.summary import summary
from pipelines.report_page.svg import allowed
from pipelines.report_page.tables import (
    corpus_tables,
    environment_tables,
    licence_table,
    stage_table,
    step_table,
    teacher_table,
    time_table,
)
from pipelines.sessions import elapsed

_NUMBER: Final = r"[+-]?[0-9]+(,[0-9]{3})*(\.[0-9]+)?(e[+-]?[0-9]+)?"
_FIGURE: Final = re.compile(rf"{_NUMBER}%?( \[{_NUMBER}, {_NUMBER}\])?")
_MARKS: Final = {
    "o": "M17,2.8a3.2,3.2 0 1,0 0.01,0z",
    "s": "M14,3h6v6h-6z",
    "^": "M17,2.2l3.8,6.6h-7.6z",
    "D": "M17,2l4,4l-4,4l-4,-4z",
    "v": "M17,9.8l-3.8,-6.6h7.6z",
    "P": "M15.6,2.4h2.8v2.2h2.2v2.8h-2.2v2.2h-2.8v-2.2h-2.2v-2.8h2.2z",
}
_HATCHES: Final = (
    "",
    "M6,11l8,-10M14,11l8,-10M22,11l8,-10",
    "M7,4h1M13,4h1M19,4h1M25,4h1M10,8h1M16,8h1M22,8h1",
    "M6,1l8,10M14,1l8,10M22,1l8,10",
    "M6,11l8,-10M14,11l8,-10M22,11l8,-10M6,1l8,10M14,1l8,10M22,1l8,10",
    "M4,4h26M4,8h26",
)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page.

    Attributes:
        key: Its id.
        title: Its heading.
        notes: What is missing or damaged.
        groups: Its plots.
        tables: Its tables.
        picture: A picture as a data URL; empty for none.
        text: A preformatted text; empty for none.
    """

    key: str
    title: str
    notes: tuple[str, ...] = ()
    groups: tuple[PlotGroup, ...] = ()
    tables: tuple[Table, ...] = ()
    picture: str = ""
    text: str = ""

    def own_notes(self, told: Sequence[str]) -> tuple[str, ...]:
        """Its notes that the page has not told yet; all of them where there is nothing else.

        Args:
            told: What the page says is missing.
        """
        if not (self.groups or self.tables):
            return self.notes
        return tuple(note for note in self.notes if note not in told)


def render(facts: RunFacts) -> str:
    """Write the page.

    Args:
        facts: What to say.

    Returns:
        One HTML document that loads nothing. Equal facts give equal pages.
    """
    templates = Templates(
        loader=PackageLoader("pipelines.report_page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["commands"] = _with_commands
    templates.filters["figure_columns"] = _figure_columns
    style = templates.get_template("style.css").render()
    page: str = templates.get_template("page.html").render(
        facts=facts,
        summary=summary(facts),
        sections=[section for section in _sections(facts) if _filled(section)],
        style=Markup(style),  # noqa: S704 our own file
        trusted=Markup,
        marks=_MARKS,
        hatches=_HATCHES,
        made_with=f"jasper-distill {version('jasper-distill')}",
    )
    return allowed(page)


def _with_commands(note: str) -> Markup:
    """A sentence with what stands between backticks as code."""
    parts = [escape(part) for part in note.split("`")]
    code = Markup("<code>{}</code>")
    return Markup("").join(
        code.format(part) if place % 2 and place < len(parts) - 1 else part
        for place, part in enumerate(parts)
    )


def _figure_columns(table: Table) -> list[bool]:
    """Whether each column holds figures alone, which are set to the right."""
    return [
        any(cells) and all(_FIGURE.fullmatch(cell) for cell in cells if cell)
        for cells in zip(*table.rows, strict=True)
    ] or [False] * len(table.header)


def _filled(section: Section) -> bool:
    parts = (section.notes, section.groups, section.tables, section.picture, section.text)
    return any(parts)


def _sections(facts: RunFacts) -> Iterator[Section]:
    yield _evaluation(facts)
    stages = facts.stages.facts or ()
    yield Section(
        "training",
        "Training",
        facts.stages.notes,
        tuple(group for stage in stages for group in training_plots(stage)),
        (stage_table(stages),),
    )
    yield _data(facts)
    teachers = facts.teachers.facts or ()
    yield Section(
        "teachers",
        "Teachers, store and licences",
        facts.teachers.notes,
        (),
        (teacher_table(teachers), licence_table(facts)),
    )
    yield _time(facts, stages)
    yield Section(
        "environment",
        "Environment",
        (),
        (),
        tuple(environment_tables(facts.environment, facts.sessions.facts or ())),
    )
    yield Section("recipe", "Recipe", text=facts.recipe_text)


def _evaluation(facts: RunFacts) -> Section:
    found = facts.evaluation.facts or EvaluationFacts()
    speeds = {
        model.model: model.texts_per_s
        for compared in reversed(found.comparisons)
        for model in compared.measured.models
        if model.texts_per_s
    }
    groups = [
        group
        for place, compared in enumerate(found.comparisons)
        for group in (retention_plots(compared, place), cost_plots(compared, place, speeds))
    ]
    return Section(
        "evaluation",
        "What the student reaches",
        facts.evaluation.notes,
        tuple(group for group in groups if group is not None),
        found.tables,
        found.picture,
    )


def _data(facts: RunFacts) -> Section:
    tables: list[Table] = []
    for title, found in (("Corpus", facts.corpus), ("Image-caption pairs", facts.pairs)):
        if found.facts is not None:
            tables += corpus_tables(title, found.facts)
    notes = (*facts.corpus.notes, *facts.pairs.notes)
    return Section("corpus", "Corpus", notes, (), tuple(tables))


def _time(facts: RunFacts, stages: Sequence[StageFacts]) -> Section:
    sessions = facts.sessions.facts or ()
    phases = phase_times(sessions)
    spent = [(f"stage {stage.number}", step_times(stage)) for stage in stages]
    groups, tables = [], []
    drawn: Plot | None = phase_plot(phases)
    if drawn is not None:
        groups.append(PlotGroup("Time by phase", (), (drawn,)))
        tables.append(time_table(phases, elapsed(sessions)))
    steps, table = step_plot(spent), step_table(spent)
    if steps is not None and table is not None:
        groups.append(steps)
        tables.append(table)
    notes = facts.sessions.notes
    if not phases:
        notes = (*notes, "No session is recorded; runs of older versions have none.")
    return Section("time", "Where the time went", notes, tuple(groups), tuple(tables))
