"""Tables of a model card."""

from collections.abc import Sequence


def markdown_table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Write a table.

    Args:
        header: The names of the columns.
        rows: The cells, line by line.

    Returns:
        Markdown.
    """
    # A bar inside a cell would end it.
    table = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in table
    )
