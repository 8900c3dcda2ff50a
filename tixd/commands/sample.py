"""`tixd sample`: files that other programs need to run or watch tixd, to be put in their places.

Rules: each has its place and its purpose here; units name the program by its whole path where that
is known.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import resources
from types import MappingProxyType

import click

from tixd.commands.output import print_columns

#: Where files lie that change tixd.service; for instances it is tixd@.service.d.
DROP_INS = "/etc/systemd/system/tixd.service.d/"

#: Every sample: where it goes, and what it is for.
SAMPLES = MappingProxyType(
    {
        "tixd.service": ("/etc/systemd/system/", "tixd as a systemd service"),
        "tixd@.service": ("/etc/systemd/system/", "several roles of it on one host"),
        "tixd-reports.conf": (DROP_INS, "for reports outside /tmp/reports"),
        "tixd-user.conf": (DROP_INS, "runs tixd as the condenser's user"),
        "tixd-others.conf": (DROP_INS, "for reports in folders of other users"),
        "tixd-setup": ("/usr/local/bin/", "fits the service to the reports folder"),
        "tixd-check": ("/usr/local/bin/", "checks what the service needs"),
        "tixd.env": ("/etc/tixd/", "settings of the service, for you to fill in"),
        "tixd.logrotate": ("/etc/logrotate.d/", "where the log is a file"),
        "tixd-asn.service": ("/etc/systemd/system/", "renews the AS table"),
        "tixd-asn.timer": ("/etc/systemd/system/", "starts it once a week"),
        "prometheus-rules.yml": ("/etc/prometheus/, rule_files", "alerts, with what to do"),
        "grafana-dashboard.json": ("Grafana, Dashboards, Import", "a dashboard of what tixd does"),
    }
)

#: How units in the package name the program, which may be installed anywhere.
ANYWHERE = "/usr/bin/env tixd"

#: Paths that a unit can name as they are.
_PLAIN_PATH = re.compile(r"[\w./+-]+")


@click.command()
@click.argument("name", required=False, type=click.Choice([*SAMPLES]), metavar="[NAME]")
def command(name: str | None) -> None:
    """List the files that come with tixd for the programs around it, or print one of them.

    \b
    Example: the unit of the systemd service
      tixd sample tixd.service > /etc/systemd/system/tixd.service
    """
    if name is not None:
        print(text(name), end="")
        return
    rows = [(known, f"{purpose}; goes to {place}") for known, (place, purpose) in SAMPLES.items()]
    print_columns(rows)


def text(name: str) -> str:
    """Return the sample as it is to be put in its place."""
    found = (resources.files("tixd") / "samples" / name).read_text(encoding="utf-8")
    program = os.path.abspath(sys.argv[0])
    known = os.path.basename(program) == "tixd" and _PLAIN_PATH.fullmatch(program)
    return found.replace(ANYWHERE, program) if known else found
