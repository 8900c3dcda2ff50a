"""tixd as a service of a machine: what a test installs, sets, starts and reads there."""

from __future__ import annotations

import contextlib
import http.client
import time
from pathlib import Path

from tests.support import made
from tests.support.collecting import FORM
from tests.support.machine import Machine
from tests.support.stand_in_api import StandInApi
from tixd.collector.server import SERVLET

START = 1_700_000_000

#: Where drop-ins of a test lie, which are gone with the next boot.
DROP_IN = "/run/systemd/system/tixd.service.d/test.conf"

#: Where units and drop-ins of the administrator lie.
INSTALLED = "/etc/systemd/system/tixd"

#: How long systemd may take for what tixd does in a few seconds.
SECONDS = 60.0


class Host:
    """A machine on which tixd is installed."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.did, self.run, self.path = (
            machine,
            machine.did,
            machine.run,
            machine.path,
        )

    def installs(self, *words: str) -> str:
        """What scripts/install says."""
        return self.did("/root/tixd/scripts/install", *words, seconds=280)

    def sets(self, file: str = "tixd", **variables: str) -> None:
        """Write an environment file anew."""
        usual = {"TIX_WORKERS": "1", "TIX_HTTP_ADDRESS": "off"}
        lines = [f"{name}={text}\n" for name, text in {**usual, **variables}.items()]
        self.path(f"/etc/tixd/{file}.env").write_text("".join(lines))

    def posts_to(self, api: StandInApi, **variables: str) -> None:
        """Settings of a standalone role that posts to this tix-api, once in an hour."""
        address = {"TIX_API_HOST": "127.0.0.1", "TIX_API_PORT": str(api.port)}
        user = {"TIX_API_USER": "tix", "TIX_API_PASSWORD": "secret"}
        self.sets(**address, **user, **variables, TIX_PROCESSING_PERIOD="60000")

    def systemctl(self, *words: str) -> str:
        """What systemctl says when all went well."""
        return self.did("systemctl", *words)

    def show(self, name: str, unit: str = "tixd") -> str:
        """A property of the unit."""
        return self.did("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self, unit: str = "tixd") -> str:
        """The service's log since the last start of the test's."""
        since = f"--since=@{self.begun:.6f}"
        return self.did("journalctl", "--no-pager", "-o", "cat", since, f"--unit={unit}")

    def starts(self, *units: str) -> None:
        """Start units, and note when."""
        self.begun = time.time()
        self.systemctl("start", *(units or ("tixd",)))

    def settle(self) -> None:
        """Nothing of tixd runs, and nothing is left of what it did."""
        self.run("systemctl", "stop", "tixd", "tixd@*")
        self.run("systemctl", "reset-failed", "tixd", "tixd@*")
        self.path(DROP_IN).unlink(missing_ok=True)
        self.did("sh", "-c", "rm -rf /tmp/reports /srv/tix /var/lib/tixd*/* /var/log/tixd*/*")
        self.did("sh", "-c", f"rm -f {INSTALLED}*.service.d/tixd-*.conf /etc/tixd/*.env")
        self.sets()
        self.systemctl("daemon-reload")

    def reports(
        self, *, user: str = "root", reports: int = 19, folder: str = "/tmp/reports"
    ) -> Path:
        """Reports of an installation, as the condenser makes them as that user: rwxr-x---."""
        made.installation(self.path(folder), START, reports)
        self.did("chown", "-R", f"{user}:{user}", folder)
        self.did("find", folder, "-type", "d", "-exec", "chmod", "0750", "{}", "+")
        return self.path(folder)


def owner(host: Host) -> str:
    """The user whose process the service is."""
    return host.did("stat", "-c", "%U", f"/proc/{host.show('MainPID')}").strip()


def posted(port: int, body: bytes) -> int:
    """The status of a collector's answer to a bundle."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", SERVLET, body, FORM)
        return connection.getresponse().status
