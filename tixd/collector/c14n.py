"""Write XML as Canonical XML 1.1 without comments (W3C, 2008).

Rules: those of the recommendation for a whole document without a DOCTYPE. expat has done line ends,
references and the normalisation of attributes; what is left is order, quotes and what each
character becomes. lxml could do it, but keeps every name it meets until the process ends (libxml2's
dictionary), which senders could use to fill the memory. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tixd.collector.record_parser import new_parser

#: What characters become in texts and in values of attributes; & first.
_IN_TEXTS = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"}
_IN_VALUES = {"&": "&amp;", "<": "&lt;", '"': "&quot;"}
_IN_VALUES |= {"\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}

_XML = "http://www.w3.org/XML/1998/namespace"


def canonical(source: bytes) -> bytes:
    """Return the canonical form of a record's source, which is well-formed with its namespaces."""
    parts: list[str] = []
    scope = {"": [""], "xml": [_XML]}
    opened: list[list[str]] = []

    def begin(name: str, raw: dict[str, str]) -> None:
        if not raw:
            opened.append([])
            parts.append(f"<{name}>")
            return
        declared = {key[6:]: uri for key, uri in raw.items() if _declares(key)}
        opened.append(list(declared))
        new = sorted(
            prefix for prefix, uri in declared.items() if scope.get(prefix, [])[-1:] != [uri]
        )
        for prefix, uri in declared.items():
            scope.setdefault(prefix, []).append(uri)
        parts.append(f"<{name}")
        parts.extend(_attribute(f"xmlns:{p}" if p else "xmlns", declared[p]) for p in new)
        keyed = sorted((_sort_key(key, scope), key) for key in raw if not _declares(key))
        parts.extend(_attribute(key, raw[key]) for _, key in keyed)
        parts.append(">")

    def end(name: str) -> None:
        for prefix in opened.pop():
            scope[prefix].pop()
        parts.append(f"</{name}>")

    def instruct(target: str, data: str) -> None:
        parts.append(f"<?{target} {data}?>" if data else f"<?{target}?>")

    parser = new_parser()
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: parts.append(_escaped(text, _IN_TEXTS))
    parser.ProcessingInstructionHandler = instruct
    parser.Parse(source, True)  # noqa: FBT003 - expat takes it by position only
    return "".join(parts).encode()


def _declares(name: str) -> bool:
    return name == "xmlns" or name.startswith("xmlns:")


def _sort_key(name: str, scope: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Sort by namespace, then local name; an attribute without a prefix has no namespace."""
    prefix, colon, local = name.rpartition(":")
    return (scope[prefix][-1], local) if colon else ("", name)


def _attribute(name: str, value: str) -> str:
    return f' {name}="{_escaped(value, _IN_VALUES)}"'


def _escaped(text: str, escapes: Mapping[str, str]) -> str:
    for character, escape in escapes.items():
        text = text.replace(character, escape)
    return text
