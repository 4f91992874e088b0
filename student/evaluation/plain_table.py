"""Tables as plain text."""

from collections.abc import Mapping, Sequence


def aligned(header: Sequence[str], blocks: Sequence[Sequence[Sequence[str]]]) -> str:
    """Set a table as plain text.

    Args:
        header: Over each column.
        blocks: Rows of cells, with a rule over each block.
    """
    table = [header, *(row for block in blocks for row in block)]
    # A column without a value, such as the gain where there is no start, is left out.
    used = [0, *(i for i in range(1, len(header)) if any(row[i] for row in table[1:]))]
    widths = {index: max(len(row[index]) for row in table) for index in used}
    rule = "  ".join("-" * widths[index] for index in used)
    lines = ["  ".join(_padded(header, widths)).rstrip()]
    for block in blocks:
        lines.append(rule)
        lines.extend("  ".join(_padded(row, widths)).rstrip() for row in block)
    return "\n".join(lines)


def _padded(row: Sequence[str], widths: Mapping[int, int]) -> list[str]:
    return [
        row[index].rjust(width) if index else row[index].ljust(width)
        for index, width in widths.items()
    ]
