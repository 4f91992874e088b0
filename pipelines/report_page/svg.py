"""matplotlib's SVG, made fit to stand in a page: several in one, in the page's colours."""

import re
from typing import Final
from xml.etree import ElementTree

INK: Final = "#010101"
GRID: Final = "#020202"
SERIES: Final = ("#030301", "#030302", "#030303", "#030304", "#030305", "#030306")
"""What a chart is drawn in; the page says what colours they are, by day, by night and on paper."""

_NAMES: Final = {
    INK: "--plot-ink",
    GRID: "--plot-grid",
    **{color: f"--series-{place + 1}" for place, color in enumerate(SERIES)},
}
_SVG: Final = "{http://www.w3.org/2000/svg}"
_XLINK: Final = "{http://www.w3.org/1999/xlink}"
_URL: Final = re.compile(r"url\(#([^)]+)\)")
_COLOR: Final = re.compile("|".join(_NAMES))
_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def allowed(text: str) -> str:
    """Leave out what neither XML nor a page may hold, such as control characters.

    Args:
        text: From a file that anybody may have written.
    """
    return _NO_XML.sub("", text)


def page_svg(source: str, key: str, alternative: str) -> str:
    """Turn an SVG file into an element of a page.

    Args:
        source: What matplotlib wrote.
        key: Stands in front of each of its ids, which are then no other chart's.
        alternative: What it says, for those who do not see it.

    Returns:
        An ``<svg>`` element without style sheets, links or metadata, whose colours are the page's
        custom properties.
    """
    # Written by matplotlib in this process, so there is nothing in it to be afraid of. It escapes
    # markup in names, and leaves control characters as they are.
    root = ElementTree.fromstring(allowed(source))  # noqa: S314
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{_SVG}style" or "metadata" in child.tag:
                parent.remove(child)
    used = {name for element in root.iter() for name in _references(element)}
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = {
            name.removeprefix(_XLINK): _rewritten(name, value, key)
            for name, value in element.attrib.items()
            if not (name == "id" and value not in used)
        }
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "class": "plot",
        "role": "img",
        "aria-label": allowed(alternative),
    }
    return ElementTree.tostring(root, encoding="unicode")


def _references(element: ElementTree.Element) -> list[str]:
    found = [name for value in element.attrib.values() for name in _URL.findall(value)]
    link = element.attrib.get(f"{_XLINK}href", "")
    return [*found, *([link[1:]] if link.startswith("#") else [])]


def _rewritten(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == f"{_XLINK}href":
        return f"#{key}-{value[1:]}"
    value = _URL.sub(lambda found: f"url(#{key}-{found[1]})", value)
    return _COLOR.sub(lambda found: f"var({_NAMES[found[0]]})", value)
