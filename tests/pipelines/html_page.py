"""A page as a strict reader sees it."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input"}
LOADS = {"src", "srcset", "poster", "data", "action", "xlink:href"}


class Page(HTMLParser):
    """Reads a page; ``faults`` says what is not well nested, ``loads`` what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.loads: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> stays open" for tag in self.open]

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self._add(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self._add(tag, attrs)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        elif "url(" in data or "@import" in data:
            self.loads.append(data)

    def _add(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        for name, value in attributes.items():
            linked = name == "href" and tag != "a" and not value.startswith("#")
            if (name in LOADS or linked) and not value.startswith("data:"):
                self.loads.append(f"{tag} {name}={value}")
            if "url(" in value and "url(#" not in value:
                self.loads.append(f"{tag} {name}={value}")
