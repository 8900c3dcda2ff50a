"""What a record may become in memory: the bounds hold whatever way the parser would read it."""

from __future__ import annotations

import contextlib
import time
from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gratia import enveloped, job
from tixd.collector import record_parser
from tixd.collector.bundle import reading
from tixd.collector.c14n import canonical
from tixd.collector.mapping import KINDS
from tixd.collector.record import record
from tixd.collector.record_parser import LOCAL_NAMES, Limits, parse_element
from tixd.errors import BadRequest, OverLimit

#: Small ones, so that few pieces exceed them.
LIMITS = Limits(attributes=4, tags=12, namespace_bytes=6, depth=5)

#: CPU seconds of a step: three times what one may take, since machines differ and share.
MOST_SECONDS = 0.3

NAMES = st.sampled_from(["a", "b", "c", "p:d", "xmlns", "xmlns:p", "xmlns:q", "xmlnsx", "xml:e"])
VALUES = st.sampled_from(
    ["", "1", ">", "/>", "=", "<!--", "urn:a", "urn:abc", "x='y'", "&#61;", "\n"]
)
BLANKS = st.sampled_from(["", " ", "\n\t"])


@st.composite
def tags(draw: st.DrawFn) -> str:
    """A tag with attributes in any spelling, or what stands between tags."""
    kind = draw(st.sampled_from(["open", "open", "empty", "close", "text"]))
    if kind == "text":
        return draw(
            st.sampled_from(["x", "<!-- <a b='1'> -->", "<![CDATA[<a =''>]]>", "<?p a='b'?>"])
        )
    if kind == "close":
        return "</e>"
    given = draw(st.lists(st.tuples(NAMES, BLANKS, BLANKS, VALUES), max_size=7))
    quote = draw(st.sampled_from("'\""))
    written = "".join(f" {n}{a}={b}{quote}{v.replace(quote, '')}{quote}" for n, a, b, v in given)
    return f"<e{written}{'/' if kind == 'empty' else ''}>"


def measured(source: bytes) -> tuple[int, int, int]:
    """Tags and attributes, most attributes of a tag, longest namespace, as expat reads them."""
    counts, wide, longest = [0], [0], [0]

    def begin(_: str, given: dict[str, str]) -> None:
        counts[0] += 1 + len(given)
        wide[0] = max(wide[0], len(given))
        uris = [uri for name, uri in given.items() if name.split(":")[0] == "xmlns"]
        longest[0] = max([longest[0], *map(len, uris)])

    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler = begin
    with contextlib.suppress(expat.ExpatError):
        parser.Parse(source, True)
    return counts[0], wide[0], longest[0]


@given(st.lists(tags(), max_size=12).map("".join))
def test_no_tree_is_larger_than_its_bounds(inside: str) -> None:
    source = f"<R>{inside}</R>".encode()
    elements, wide, longest = measured(source)
    try:
        parse_element(source, LIMITS, {})
    except BadRequest:
        return
    assert wide <= LIMITS.attributes
    assert longest <= LIMITS.namespace_bytes
    assert elements <= 2 * LIMITS.tags  # tags are counted apart from attributes


@pytest.mark.parametrize(
    "inside",
    [
        "".join(f"<p{i}:a/>" for i in range(19_000)),
        "".join(f"<p{i % 250}:a/>" for i in range(19_000)),
        *(
            f"<N>{piece * (3_000_000 // len(piece))}</N>"
            for piece in ("xmlns", " xmlns='", "= ", "'")
        ),
        *(f"<N>{piece * 19_000}</N>" for piece in ("<!---->", "<?p?>", "<![CDATA[]]>")),
        f"<WallDuration>P{'9' * 3_000_000}</WallDuration>",
    ],
    ids=lambda inside: inside[:12],
)
@pytest.mark.alone
@pytest.mark.usefixtures("small_heap")
def test_no_step_of_a_hostile_record_is_long(inside: str) -> None:
    work, longest = reading(enveloped(job(inside)), Limits()), 0.0
    with contextlib.suppress(StopIteration, OverLimit):
        while True:
            begun = time.thread_time()
            try:
                next(work)
            finally:
                longest = max(longest, time.thread_time() - begun)
    assert longest < MOST_SECONDS


def test_canonical_xml_of_many_scopes_has_each_declaration_once() -> None:
    depth, many = 50, 2000
    opened = "".join(f'<a xmlns:p{i}="u{i}">' for i in range(depth))
    inner = "".join(f'<p{i % depth}:b xmlns:q="u" xmlns:p0="u0"/>' for i in range(many))
    found = canonical(f"{opened}{inner}{'</a>' * depth}".encode())
    assert found.count(b"xmlns:q=") == many
    assert found.count(b"xmlns:p") == depth


def test_names_that_a_sender_makes_up_are_not_kept_for_ever(monkeypatch):
    writers, some = KINDS["UsageRecord"].writers, len(LOCAL_NAMES) + 10
    monkeypatch.setattr(record_parser, "_REMEMBERED_NAMES", some)
    names = [*(f"n{number}" for number in range(1000)), "x" * 900]
    children = "".join(f"<{name}/>" for name in names)
    made = record(parse_element(f"<UsageRecord>{children}</UsageRecord>".encode(), Limits(), {}))
    assert made.kind == "JobUsageRecord"
    assert len(LOCAL_NAMES) <= some
    assert set(writers) <= set(LOCAL_NAMES)
    assert "x" * 900 not in LOCAL_NAMES
