"""Bundles made to take time or memory, and what reading one takes.

`python -m tests.support.hostile_bundles` reads each one whose name comes on standard input in a
process of its own, and prints a JSON line: status, CPU seconds, and by how many bytes memory grew
beyond the parameters at its peak.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

from tests.support import memory
from tests.support.gratia import enveloped, job, update
from tixd.collector.bundle import read_bundle
from tixd.collector.record_parser import Limits
from tixd.errors import BadRequest

MIB = 1 << 20

ATTRIBUTES = " ".join(f'a{i}="1"' for i in range(200_000))


def laughs() -> str:
    """A DOCTYPE whose last entity would be a gigabyte."""
    inner = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    return f'<!DOCTYPE l [<!ENTITY a0 "lol">{inner}]>'


def envelope(text: str) -> dict[str, bytes]:
    """A multiupdate whose whole text this is."""
    return enveloped("") | {"arg1": text.encode()}


#: Parameters by name, and the statuses that they may get.
HOSTILE: dict[str, Callable[[], dict[str, bytes]]] = {
    "billion laughs in an update": lambda: update(f"replication|{laughs()}{job('&a9;')}|||"),
    "billion laughs in an envelope": lambda: envelope(
        f"{laughs()}<RecordEnvelope>{job('&a9;')}</RecordEnvelope>"
    ),
    "billion laughs before a record": lambda: enveloped(laughs() + job("&a9;")),
    "quadratic entities": lambda: envelope(
        f'<!DOCTYPE l [<!ENTITY a "{"x" * MIB}">]><RecordEnvelope>{"&a;" * 10_000}</RecordEnvelope>'
    ),
    "external entity": lambda: update(
        f'replication|<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>{job("&a;")}|||'
    ),
    "a DOCTYPE alone": lambda: envelope("<!DOCTYPE RecordEnvelope><RecordEnvelope/>"),
    "depth in an update": lambda: update(
        f"replication|{job('<a>' * 200_000 + '</a>' * 200_000)}|||"
    ),
    "depth in an envelope": lambda: enveloped(job("<a>" * 200_000 + "</a>" * 200_000)),
    "depth of envelopes": lambda: enveloped("<RecordEnvelope>" * 200_000),
    "attributes of an element": lambda: enveloped(job(f"<a {ATTRIBUTES}/>")),
    "attributes in an update": lambda: update(f"replication|{job(f'<a {ATTRIBUTES}/>')}|||"),
    "attributes of the envelope": lambda: enveloped("", ATTRIBUTES),
    "a million records in an envelope": lambda: enveloped("<UsageRecord/>" * 1_000_000),
    "a million records in an update": lambda: update("replication|<UsageRecord/>|||" * 500_000),
    "elements of a record": lambda: enveloped(job("<a/>" * 4 * MIB)),
    "a text without end": lambda: enveloped(job("x" * 15 * MIB)),
    "a name without end": lambda: enveloped(f"<{'a' * 15 * MIB}/>"),
    "tags that do not end": lambda: enveloped('<R "' * 4 * MIB),
    "tags of one name that do not end": lambda: enveloped("<R>" + '<R "' * 4 * MIB),
    "comments that do not end": lambda: enveloped("<!--" * 4 * MIB),
    "comments in a record that do not end": lambda: enveloped("<R>" + "<!--" * 4 * MIB),
    "empty comments": lambda: enveloped("<!---->" * 2 * MIB),
    "XML declarations": lambda: enveloped("<?xml ?>" * 2 * MIB),
    "namespaces of the envelope": lambda: enveloped(
        "<UsageRecord/>" * 9999, f'xmlns:a="{"u" * MIB}"'
    ),
    "empty tokens": lambda: update("|" * 16 * MIB),
    "quotes": lambda: update('"' * (16 * MIB - 1)),
    "escapes": lambda: update(('"' + "\\" * 100) * 160_000),
    "odd quotes everywhere": lambda: update('replication|<UsageRecord/>|<x>"||' * 200_000, 10_000),
    "a mark and entities before a record": lambda: update(
        f"replication|\ufeff{laughs()}{job('&a9;')}|||"
    ),
    "entities behind every kind of prolog": lambda: update(
        f"replication|x\ufeff<?xml version='1.0'?><!-- --><?p?>{laughs()}{job('&a9;')}|||"
    ),
    "names in a long namespace": lambda: enveloped(
        job(f"<b xmlns:n='{'u' * 2 * MIB}'>{''.join(f'<n:a{i}/>' for i in range(19_000))}</b>")
    ),
    "attributes in a long namespace": lambda: enveloped(
        job(f"<b xmlns:n='{'u' * MIB}'>" + "<c n:a='1'/>" * 9000 + "</b>")
    ),
    "undeclared prefixes": lambda: enveloped(job("".join(f"<p{i}:a/>" for i in range(19_000)))),
    "attributes of a record in all": lambda: enveloped(
        job("<a b='1' c='2' d='3' e='4' f='5' g='6'/>" * 19_000)
    ),
    "keys of a long name": lambda: enveloped(
        job(f"<{'n' * 3 * MIB} unit='1' metric='1' formula='1' storageUnit='1'/>")
    ),
    "namespaces everywhere in text": lambda: enveloped(job("xmlns" * 3 * MIB)),
    "an instruction without end": lambda: enveloped("<?p " + "?" * 15 * MIB),
    "UTF-16": lambda: enveloped("") | {"arg1": "<RecordEnvelope/>".encode("utf-16")},
    "NUL bytes": lambda: enveloped(job("\0" * MIB)),
    "bytes that are no UTF-8": lambda: enveloped(b"\xff" * 15 * MIB),
}


def taken(name: str) -> dict[str, float]:
    """Read the bundle of this name: the status, CPU seconds and bytes that it takes."""
    parameters = HOSTILE[name]()
    memory.forget_peak()
    before, begun = memory.resident_bytes(), time.process_time()
    try:
        read_bundle(parameters, Limits())
        status = 200
    except BadRequest as error:
        status = error.status
    return {
        "status": status,
        "seconds": time.process_time() - begun,
        "bytes": memory.peak_bytes() - before,
    }


def main() -> None:
    """Print what each bundle takes whose name is a line of standard input, in a process of its own.

    The line is empty where that process died.
    """
    read_bundle(update(f"replication|{job()}|||"), Limits())
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            sys.stdout.write(json.dumps(taken(line.rstrip("\n"))))
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
