"""What the documentation tool does to pages beside showing them."""

import re

from recipe_reference import markdown

_MARK = "<!-- the recipe's keys -->"
_EXAMPLES = re.compile(r"<p>(Examples?:)\n(.*?)</p>", re.S)


def on_page_markdown(text: str, **_: object) -> str:
    """Put the recipe's keys, which come from the types, in place of the mark."""
    return text.replace(_MARK, markdown()) if _MARK in text else text


def on_page_content(html: str, **_: object) -> str:
    """Keep the lines of a command's examples, which are one paragraph in its help."""
    return _EXAMPLES.sub(_as_code, html)


def _as_code(found: re.Match[str]) -> str:
    lines = "\n".join(line.strip() for line in found[2].splitlines())
    return f"<p>{found[1]}</p>\n<pre><code>{lines}</code></pre>"
