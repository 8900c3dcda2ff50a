"""The words of the results and what they mean: sections of the manual's page `glossary`.

Rules: the glossary is the only source; below its title, a section names in "Also:" the other words
that lead to it: marks, columns, members.
"""

from __future__ import annotations

import re
from importlib import resources

PAGE = "glossary"

#: A word or mark in the paragraph of other words.
_QUOTED = re.compile(r"`([^`]+)`")

#: A link, of which the words stay where it cannot be followed.
_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")


def sections() -> dict[str, str]:
    """Return the sections of the glossary by their titles, each with its heading."""
    text = (resources.files("tixd") / "manual" / f"{PAGE}.md").read_text(encoding="utf-8")
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.split("\n")[0].removeprefix("## "): part for part in parts}


def other_words(section: str) -> list[str]:
    """Return the other words that lead to a section."""
    line = section.split("\n\n")[1]
    return _QUOTED.findall(line) if line.startswith("Also: ") else []


def meaning(section: str) -> str:
    """Return the sentence that says what the word means."""
    paragraphs = section.split("\n\n")
    return paragraphs[1 + paragraphs[1].startswith("Also: ")].replace("\n", " ")


def plain(markdown: str) -> str:
    """Return the text of a sentence without marks and links.

    >>> plain("Posted as `upUsage`: see [analyze](analyze.md).")
    'Posted as upUsage: see analyze.'
    """
    return _LINK.sub(r"\1", markdown).replace("`", "").replace("*", "")
