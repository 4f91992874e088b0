"""The charts of a report, each with words that say the same and a key to its lines."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipelines.report import duration
from pipelines.report_page.charts import Bars, Chart, Line, Look, bar_svg, line_svg
from pipelines.report_page.curves import ALL_HEADS, Curves, evaluation_curves, loss_curves, thinned
from pipelines.report_page.facts import Compared, StageFacts, Table
from pipelines.report_page.measured import AGREEMENTS, Measured, Model
from pipelines.report_page.spent import PhaseTime
from student.evaluation.lines import MEAN

_TERMS = {"loss": "total loss, weighted"}


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart as the page shows it.

    Attributes:
        title: What it shows.
        svg: An ``<svg>`` element.
        caption: What is to be seen, in words.
    """

    title: str
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class PlotGroup:
    """Charts that share a key.

    Attributes:
        title: What they show.
        key: The name and look of each series; empty where the charts name them.
        plots: The charts.
        table: The same in numbers; None where another table has them.
    """

    title: str
    key: tuple[tuple[str, Look], ...]
    plots: tuple[Plot, ...]
    table: Table | None = None


def training_plots(stage: StageFacts) -> tuple[PlotGroup, ...]:
    """A stage's losses, and what it was measured on while it trained.

    Args:
        stage: The stage.

    Returns:
        No more groups than there are metrics for.
    """
    heads, lines = tuple(stage.settings.heads), stage.metrics.lines
    groups = (
        ("losses", f"Losses of {stage.title}", loss_curves(lines, heads)),
        ("measured", f"Measured during {stage.title}", evaluation_curves(lines, heads)),
    )
    return tuple(
        _curve_group(f"stage-{stage.number}-{kind}", title, curves, heads)
        for kind, title, curves in groups
        if curves
    )


def _curve_group(key: str, title: str, curves: Curves, heads: Sequence[str]) -> PlotGroup:
    looks = {head: Look.of(place) for place, head in enumerate(heads)}
    seen = [head for head in heads if any(head in by_head for by_head in curves.values())]
    if ALL_HEADS in curves.get("loss", {}):
        looks[ALL_HEADS] = Look.of(len(heads))
        seen.append(ALL_HEADS)
    plots = []
    for place, (measure, by_head) in enumerate(curves.items()):
        name = _TERMS.get(measure, measure.replace("_", " "))
        drawn = {head: thinned(curve) for head, curve in by_head.items()}
        chart = Chart(
            key=f"{key}-{place}",
            title=name,
            x_label="step",
            y_label="",
            lines=tuple(
                Line(head, curve.steps, curve.values, looks[head]) for head, curve in drawn.items()
            ),
        )
        caption = "; ".join(
            f"{head}: {_figure(curve.values[0])} at step {curve.steps[0]:g}, "
            f"{_figure(curve.values[-1])} at step {curve.steps[-1]:g}"
            for head, curve in by_head.items()
        )
        plots.append(Plot(name, line_svg(chart, f"{title}: {name}. {caption}"), ""))
    rows = tuple(
        (
            _TERMS.get(measure, measure.replace("_", " ")),
            head,
            _figure(curve.values[0]),
            _figure(curve.values[-1]),
            _figure(min(curve.values)),
            _figure(max(curve.values)),
        )
        for measure, by_head in curves.items()
        for head, curve in by_head.items()
    )
    table = Table(f"{title}, in numbers", ("", "head", "first", "last", "least", "most"), rows)
    return PlotGroup(title, tuple((head, looks[head]) for head in seen), tuple(plots), table)


def retention_plots(compared: Compared, place: int) -> PlotGroup | None:
    """Dimension against retention, by head.

    Args:
        compared: What was measured.
        place: Its place among the comparisons of the page.

    Returns:
        A chart for each measure that the student and a teacher have; None without any.
    """
    measured = compared.measured
    looks = {teacher.model: Look.of(place) for place, teacher in enumerate(measured.teachers)}
    measures = {MEAN: "mean over the sets"} | {
        name: f"held-out {word}" for name, word in AGREEMENTS.items()
    }
    plots, seen = [], []
    for measure, name in measures.items():
        lines = [
            line
            for teacher in measured.teachers
            if (line := _kept_by_head(measured, teacher, measure, looks[teacher.model]))
        ]
        if not lines:
            continue
        seen += [line.label for line in lines]
        chart = Chart(
            key=f"retention-{place}-{measure}",
            title=name,
            x_label="dimensions (logarithmic)",
            y_label="kept, %",
            lines=tuple(lines),
            log_x=True,
            x_ticks=tuple(sorted({x for line in lines for x in line.x})),
            level=100.0,
        )
        caption = "; ".join(
            f"of {line.label}: "
            + ", ".join(f"{y:.1f}% at {x:g}" for x, y in zip(line.x, line.y, strict=True))
            for line in lines
        )
        title = f"Kept of the teachers, {name}"
        plots.append(Plot(title, line_svg(chart, f"{title}. {caption}"), f"{caption}."))
    key = tuple((f"of {name}", looks[name]) for name in dict.fromkeys(seen))
    title = f"Dimension against retention: {compared.title}"
    return PlotGroup(title, key, tuple(plots)) if plots else None


def _kept_by_head(measured: Measured, teacher: Model, measure: str, look: Look) -> Line | None:
    points = sorted(
        (float(student.dim), kept.value, kept.low, kept.high)
        for student in measured.students
        if student.dim
        and (kept := student.kept(teacher, measure)) is not None
        and math.isfinite(kept.value)
    )
    if not points:
        return None
    dims, values, lows, highs = zip(*points, strict=True)
    known = None not in lows and None not in highs
    spans = tuple(zip(lows, highs, strict=True)) if known else ()
    return Line(teacher.model, dims, values, look, spans=spans)


def cost_plots(compared: Compared, place: int, speeds: Mapping[str, float]) -> PlotGroup | None:
    """Quality against speed and against size.

    Args:
        compared: What was measured.
        place: Its place among the comparisons of the page.
        speeds: Texts per second by model.

    Returns:
        Two charts of every model whose quality and cost are known; None without any.
    """
    measured = compared.measured
    quality = "mean over the sets" if measured.has_scores else "held-out Spearman"
    looks = {
        kind: Look.of(place, joined=False)
        for place, kind in enumerate(("teacher", "start", "student"))
    }
    # The heads of a student share its speed, which is measured once.
    student_speed = max((speeds.get(s.model, 0.0) for s in measured.students), default=0.0)
    plots = []
    for axis, title, label in (
        ("speed", "Quality against speed", "texts per second (logarithmic)"),
        ("size", "Quality against size", "parameters (logarithmic)"),
    ):
        points: list[tuple[str, str, float, float]] = []
        for kind, model in _kinds(measured):
            shared = student_speed if kind == "student" else 0.0
            speed = speeds.get(model.model, shared)
            cost = speed if axis == "speed" else float(model.parameters or 0)
            score = measured.score(model)
            if 0 < cost < math.inf and score is not None and math.isfinite(score):
                points.append((kind, model.model, cost, score))
        if not points:
            continue
        lines = tuple(
            Line(
                kind,
                tuple(cost for of, _, cost, _ in points if of == kind),
                tuple(score for of, _, _, score in points if of == kind),
                look,
                tuple(name for of, name, _, _ in points if of == kind),
            )
            for kind, look in looks.items()
        )
        chart = Chart(
            key=f"cost-{place}-{axis}",
            title=title,
            x_label=label,
            y_label=quality,
            lines=tuple(line for line in lines if line.x),
            log_x=True,
        )
        caption = "; ".join(f"{name}: {_figure(y)} at {x:,.0f}" for _, name, x, y in points)
        plots.append(Plot(title, line_svg(chart, f"{title}. {caption}"), f"{caption}."))
    title = f"Quality against speed and size: {compared.title}"
    return PlotGroup(title, tuple(looks.items()), tuple(plots)) if plots else None


def _kinds(measured: Measured) -> Iterator[tuple[str, Model]]:
    yield from (("teacher", model) for model in measured.teachers)
    if measured.start is not None:
        yield "start", measured.start
    yield from (("student", model) for model in measured.students)


def phase_plot(phases: Sequence[PhaseTime]) -> Plot | None:
    """Where the time went, by phase.

    Args:
        phases: The phases in order.
    """
    if not phases:
        return None
    most = max(phase.seconds for phase in phases)
    unit, size = _unit(most)
    chart = Bars(
        "phases",
        "Time by phase",
        unit,
        tuple((phase.phase, (phase.seconds / size,)) for phase in phases),
    )
    caption = "; ".join(f"{phase.phase}: {duration(phase.seconds)}" for phase in phases)
    return Plot("Time by phase", bar_svg(chart, f"Time by phase. {caption}"), f"{caption}.")


def step_plot(stages: Iterable[tuple[str, Mapping[str, float]]]) -> PlotGroup | None:
    """Where the time of training steps went, by stage and part.

    Args:
        stages: Name, and seconds by part.
    """
    measured = [(name, parts) for name, parts in stages if parts]
    if not measured:
        return None
    names = tuple(dict.fromkeys(part for _, parts in measured for part in parts))
    names = (*(name for name in names if name != "other"), "other")
    unit, size = _unit(max(sum(parts.values()) for _, parts in measured))
    rows = tuple(
        (name, tuple(parts.get(part, 0.0) / size for part in names)) for name, parts in measured
    )
    chart = Bars("steps", "Time of the steps", unit, rows, names)
    caption = "; ".join(
        f"{name}: " + ", ".join(f"{part} {duration(parts.get(part, 0.0))}" for part in names)
        for name, parts in measured
    )
    title = "Time of training steps by part"
    key = tuple((name, Look(place % 6, (), "bar")) for place, name in enumerate(names))
    plot = Plot(title, bar_svg(chart, f"{title}. {caption}"), "")
    return PlotGroup(title, key, (plot,))


def _unit(most: float) -> tuple[str, float]:
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if most >= 2 * size:
            return unit, size
    return "seconds", 1.0


def _figure(value: float) -> str:
    return f"{value:.4g}"
