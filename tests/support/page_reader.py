"""Read a page as a parser of HTML does: its tables as words, its elements, what could run in it."""

from __future__ import annotations

from html.parser import HTMLParser

#: Elements that have no end.
_VOID = {"meta", "link", "input", "br", "img"}


class Reader(HTMLParser):
    """What is in a page.

    tables: rows of cells in words, the heading first, what is drawn left out; elements: names with
    their attributes; text: all words outside of tables and inside.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self._cell: list[str] | None = None
        self.feed(page)
        self.close()
        assert self._open == [], f"never ended: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> ends nothing"
        assert self._open.pop() == tag
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if "svg" in self._open or "title" in self._open:
            return
        self.text += data
        if self._cell is not None:
            self._cell.append(data)

    def count(self, *tags: str) -> int:
        """How many elements have one of these names."""
        return sum(tag in tags for tag, _ in self.elements)

    def scripts(self) -> list[str]:
        """What runs in the page: sources of scripts, handlers, addresses that are scripts."""
        found = [attrs.get("src", "") for tag, attrs in self.elements if tag == "script"]
        for _, attrs in self.elements:
            found += [f"{name}={value}" for name, value in attrs.items() if name.startswith("on")]
            addresses = (attrs.get(name, "") for name in ("href", "src", "action", "formaction"))
            found += [
                each for each in addresses if each.strip().casefold().startswith("javascript:")
            ]
        return found
