"""Every kind of fault that is known, and what makes new members of it: faults and fuzz targets."""

from __future__ import annotations

from soaking import (  # noqa: F401 - they declare their faults
    api_faults,
    broker_faults,
    collector_faults,
    process_faults,
    volume_faults,
)
from soaking.registry import FAULTS
from soaking.targets import TARGETS

__all__ = ["FAULTS", "KINDS", "generators"]

#: What the load itself does all the time.
OF_THE_LOAD = {
    "field A3": "load: a password beyond ASCII",
    "field B1": "load: names in each installation are looked at after each fault",
    "field B4": "load: reports that name another user than their folder",
}

#: Kinds by their rows in the project's lists of faults, and what each is about.
KINDS: dict[str, str] = {
    "faults 1": "a worker process is killed",
    "faults 2": "a kill between the answer and the deletion",
    "faults 3": "a whole host is killed",
    "faults 4": "the scheduling process is killed, or another has its lock",
    "faults 5": "a second one that schedules",
    "faults 6": "a worker process hangs",
    "faults 7": "a main process hangs",
    "faults 8": "a report that crashes its worker each time",
    "faults 9": "a stop, and a second one",
    "faults 10": "cycles longer than the period",
    "faults 11": "clocks that jump",
    "faults 12": "reports that are not complete",
    "faults 13": "reports that cannot be used",
    "faults 14": "reports that are odd",
    "faults 15": "links, pipes, folders and odd names in the place of reports",
    "faults 16": "reports that are too large",
    "faults 17": "a full disk",
    "faults 18": "a volume that is read-only, or away",
    "faults 19": "kills in every phase of a job",
    "faults 20": "a tix-api that is away",
    "faults 21": "every status of the tix-api",
    "faults 22": "answers that are cut, slow, or never come",
    "faults 23": "kept results that are damaged",
    "faults 24": "RabbitMQ is killed",
    "faults 25": "RabbitMQ is silent, slow, cut off",
    "faults 26": "jobs longer than RabbitMQ waits for an acknowledgement",
    "faults 27": "queues, rights and passwords that change",
    "faults 28": "messages that are no jobs",
    "faults 29": "RabbitMQ is killed under a collector",
    "faults 30": "RabbitMQ is short of memory or disk",
    "faults 31": "records that no queue takes, confirms that do not come",
    "faults 32": "a collector is stopped or killed under load",
    "faults 33": "hostile bundles",
    "faults 34": "slow, many and leaving senders, few descriptors",
    "faults fuzz": "any bytes where reports and messages are expected",
    "G1": "a filter before a parser that reads otherwise than the parser",
    "G2": "an irreversible act before the means to remember it are proved",
    "G3": "caches that are bounded in entries, not in bytes",
    "G4": "side duties on the main path; errors by a list of known numbers",
    "G5": "texts of any length from outside",
    "G6": "room that is held by slow senders",
    "G7": "two clocks that are compared",
    "G8": "the input is blamed for the machine",
    "G9": "two rules for one value",
    "G10": "files of tixd's own that somebody removes",
    "G11": "answers that are none yet",
    "G12": "many short connections",
    "G13": "errors of libraries that pass the log by",
    "G14": "small limits, long values, words that mislead",
    "field A1": "installations that the tix-api never answers",
    "field A2": "installations that the tix-api fails on for ever",
    "field A3": "passwords beyond ASCII",
    "field A4": "credentials that may not post",
    "field B1": "names that the original takes for reports",
    "field B4": "reports that name another installation than their folder",
    "field B5": "variables that Kubernetes and docker set",
    "field C1": "durations with parts of seconds",
    "field C2": "elements that are odd and not refused",
    "field C3": "the handshake of probes",
    "field C4": "files of settings of the original's form",
    "field C5": "Kafka is killed, frozen, forgets",
    "field C6": "bodies of many gzip members",
    "field C7": "bodies that grow in memory",
    "field C8": "records over a broker's limit",
    "field C9": "elements and settings at their limits",
    "field C10": "settings under the original's names",
    "field D1": "AS numbers that are part of another field",
    "field D2": "texts of libraries in messages about AS tables",
    "field D3": "sources of AS tables with a header",
    "field E": "stops at odd moments, settings and files that cannot be used",
}


def generators() -> dict[str, list[str]]:
    """Return, for each kind, the faults and fuzz targets that make more of it."""
    made: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for fault in FAULTS:
        for kind in fault.kinds:
            made[kind].append(fault.name)
    for target in TARGETS:
        for kind in target.kinds:
            made[kind].append(f"fuzz: {target.name}")
    for kind, what in OF_THE_LOAD.items():
        made[kind].append(what)
    return made
