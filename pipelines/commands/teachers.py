"""``pipe teachers``."""

import click

from pipelines.commands.options import json_option
from pipelines.report import result


@click.command("teachers")
@json_option
def command(as_json: bool) -> None:
    """List the teachers and the recipes that the project knows.

    \b
    Example:
      pipe teachers
    """
    from pipelines.recipe import built_in_recipes
    from teacher_cache.teachers import TEACHERS

    width = max(map(len, TEACHERS))
    lines = [
        f"{name:{width}}  {teacher.dim:>5}-d  {teacher.license}"
        for name, teacher in TEACHERS.items()
    ]
    lines.append(f"recipes: {', '.join(built_in_recipes())}")
    data = {
        "teachers": [teacher.model_dump(mode="json") for teacher in TEACHERS.values()],
        "recipes": built_in_recipes(),
    }
    result("\n".join(lines), data, as_json)
