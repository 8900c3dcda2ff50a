"""Bundles as Gratia probes send them, made up."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode

#: A record with what most probes send; `{id}` is its identity.
JOB = """<JobUsageRecord xmlns="http://www.gridforum.org/2003/ur-wg"
 xmlns:urwg="http://www.gridforum.org/2003/ur-wg">
<RecordIdentity urwg:recordId="{id}" urwg:createTime="2016-05-27T22:46:46Z"/>
<JobIdentity><GlobalJobId>condor.{id}</GlobalJobId><LocalJobId>17</LocalJobId></JobIdentity>
<UserIdentity><LocalUserId>cms</LocalUserId><VOName>/cms</VOName></UserIdentity>
<JobName>a job</JobName><Status urwg:description="exit code">0</Status>
<WallDuration>PT1H2M3.5S</WallDuration>
<CpuDuration urwg:usageType="user">PT20S</CpuDuration>
<StartTime>2016-05-27T20:00:00Z</StartTime><EndTime>2016-05-27T21:02:03Z</EndTime>
<Host primary="true">wn1.example</Host><ProjectName>none</ProjectName>
<Resource urwg:description="ResourceType">Batch</Resource>
</JobUsageRecord>"""


def job(identity: object) -> str:
    """One record."""
    return JOB.format(id=identity)


def update(identities: Iterable[object]) -> str:
    """The `arg1` of an update with a record for each identity."""
    return "".join(f"replication|{job(identity)}|||" for identity in identities)


def parameters(identities: Iterable[object], **changes: str) -> dict[str, str]:
    """The parameters of an update with these records; `changes` replace some."""
    found = list(identities)
    usual = {"command": "update", "arg1": update(found), "from": "probe"}
    return {**usual, "bundlesize": str(len(found)), **changes}


def form(identities: Iterable[object], **changes: str) -> bytes:
    """The body of an update with these records."""
    return urlencode(parameters(identities, **changes)).encode()


#: Names as hostile as a sender can make them, and how they are shown.
HOSTILE = {
    "evil\x1b[2J\x1b]0;pwned\x07\r\nline": "evil\\x1b[2J\\x1b]0;pwned\\x07\\r\\nline",
    "=cmd|'/c calc'!A0": "=cmd|'/c calc'!A0",
    "@SUM(1)": "@SUM(1)",
    "\u202eexe.gnp\u200f": "\\u202eexe.gnp\\u200f",
    "n" * 400: "n" * 300,
}

#: The body of a request that only asks whether somebody is there.
PING = urlencode({"command": "update", "arg1": "xxx", "from": "probe"}).encode()
