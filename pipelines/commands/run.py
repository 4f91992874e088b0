"""``pipe run``."""

from typing import TYPE_CHECKING

import click

from data_prep.errors import first_line
from pipelines.commands.options import json_option, run_options
from pipelines.report import result, say
from pipelines.suggestions import in_run

if TYPE_CHECKING:
    from pipelines.run import Run


@click.command("run")
@run_options
@json_option
def command(run: "Run", as_json: bool) -> None:
    """Do everything that is not done yet: prep, teach, distill, eval, export, report.

    \b
    Examples:
      pipe run --recipe laptop
      pipe run --recipe laptop --run r --set corpus.texts=5000
      pipe run --run r --json
    """
    from data_prep.executors.processes import Processes
    from pipelines.distill import distill
    from pipelines.evaluate import evaluate
    from pipelines.example import example_search
    from pipelines.export import export_student
    from pipelines.plan import plan
    from pipelines.prepare import prepare_run
    from pipelines.results import current_results, recipe_sets
    from pipelines.sessions import session
    from pipelines.teach import teach
    from student.evaluation.mteb_library import check_mteb
    from student.start import load_start

    # What would stop the run behind days of work had better stop it now.
    if recipe_sets(run) is not None:
        check_mteb()
    if not run.students.finished(1) and not run.students.last_checkpoint(1):
        load_start(run.recipe.student)
    run.begin()
    say(plan(run).as_text())
    prepare_run(run, Processes())
    run.keep_recipe()
    teach(run, run.recipe.teachers)
    for number in range(1, len(run.recipe.stages) + 1):
        distill(run, number)
    run.keep_recipe(trained=True)
    kept = current_results(run)
    # A table made where a teacher could not be loaded may be had whole now.
    measured = kept if kept and all(kept.loaded.values()) else None
    if measured is None:
        with session(run.directory, "eval"):
            measured = evaluate(run)
    exported = export_student(run, keep=True)
    places = {"export": str(exported.directory)}
    if run.recipe.stages[-1].inputs == "images":
        places["export_images"] = str(export_student(run, images=True, keep=True).directory)
    where = " and, with its images, in ".join(places.values())
    lines = [f"{measured.table}\n", f"the student is in {where}"]
    report = _report(run)
    if report is not None:
        lines.append(f"the report is in {report}")
        places["report"] = report
    result("\n".join(lines), {**measured.comparison, **places}, as_json)
    query = run.recipe.evaluation.example_query
    if query and not as_json:
        click.echo(f"\n{example_search(exported.directory, run.corpus, query)}")


def _report(run: "Run") -> str | None:
    """Write the report; the result of days is not lost where that fails."""
    from pipelines.report_page import write_report

    try:
        return str(write_report(run).path)
    # Drawing meets whatever stands in the run's files, and the disk may be full.
    except Exception as error:
        say(
            f"the report cannot be written ({first_line(error)}); "
            f"`{in_run('pipe report', run.directory)}` writes it anew"
        )
        return None
