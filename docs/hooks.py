"""What the documentation tool does to pages: the recipe's keys come from the types."""

from pipelines.recipe_reference import markdown

_MARK = "<!-- the recipe's keys -->"


def on_page_markdown(text: str, **_: object) -> str:
    """Put the keys in place of the mark."""
    return text.replace(_MARK, markdown()) if _MARK in text else text
