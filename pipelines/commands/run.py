"""``pipe run``."""

import click

from data_prep.prepare import prepare
from pipelines.commands.options import run_options
from pipelines.distill import distill
from pipelines.evaluate import evaluate, kept_table
from pipelines.example import example_search
from pipelines.export import export_student
from pipelines.plan import plan
from pipelines.report import say
from pipelines.run import Run
from pipelines.teach import teach
from student.evaluation.table import render


@click.command("run")
@run_options
def command(run: Run) -> None:
    r"""Do everything that is not done yet: prep, teach, distill, eval, export.

    \b
    Examples:
      pipe run --recipe laptop
      pipe run --recipe laptop --run r --set corpus.texts=5000
    """
    run.begin()
    say(plan(run).as_text())
    prepare(run.recipe.corpus, run.corpus, say)
    run.keep_recipe()
    teach(run, run.recipe.teachers)
    for number in range(1, len(run.recipe.stages) + 1):
        distill(run, number)
    run.keep_recipe()
    table = kept_table(run) or render(evaluate(run))
    exported = export_student(run)
    click.echo(f"{table}\n\nthe student is in {exported}")
    query = run.recipe.evaluation.example_query
    if query:
        click.echo(f"\n{example_search(exported, run.corpus, query)}")
