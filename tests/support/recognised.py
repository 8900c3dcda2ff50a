"""Passwords that can be found again in whatever shape somebody shows them.

Each has two words of plain letters, with all around them that programs escape, cut or encode:
letters stay letters in URLs, JSON and `repr`, and of Base64 there are three shapes of each.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import quote

#: What stands between the two words: a password like this is cut, quoted or encoded by most.
ODD = " \"%ä@:/\\'{}&<€ "


@dataclass(frozen=True, slots=True)
class Password:
    """A password for the purpose of this name, which must be of plain letters."""

    name: str
    odd: str = ODD

    @property
    def text(self) -> str:
        """The password itself."""
        return self.odd.join(self.words)

    @property
    def in_url(self) -> str:
        """As it stands in a URL."""
        return quote(self.text, safe="")

    @property
    def words(self) -> tuple[str, str]:
        """The two words that nobody else says."""
        return f"Qx{self.name}Vorne", f"Hinten{self.name}Xq"

    def seen_in(self, text: str) -> bool:
        """Whether it, a half of it, or the Base64 of one can be recognised in a text."""
        small = text.lower()
        return any(
            word.lower() in small or any(shape in text for shape in _base64(word))
            for word in self.words
        )


def _base64(word: str) -> list[str]:
    """What of the word's Base64 does not depend on its neighbours, after 0, 1 or 2 bytes."""
    found = []
    for before in range(3):
        whole = base64.b64encode(b"-" * before + word.encode()).decode()
        first = -(-before * 8 // 6) if before else 0
        last = (before + len(word)) * 8 // 6
        found.append(whole[first:last])
    return found
