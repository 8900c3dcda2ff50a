"""`tixd simulate DIR`: report trees whose truth is known.

It writes `<DIR>/<user>/<installation>/tix-report-<epoch>.json` and `<DIR>/description.yml`.
Rules: nothing that is there is replaced but description.yml; every file appears whole or not at
all; the same --seed, --start and options write the same bytes.
"""

from __future__ import annotations

import ipaddress
import os
import time
from typing import get_args

import click

from tixd.directory import Folder
from tixd.simulation.link import Access, Traffic
from tixd.simulation.probing import LinkDirection, Scenario
from tixd.simulation.report_files import description, reports

#: Speed of the line that is simulated, downstream: a cable line.
DOWNSTREAM_BITS_PER_SECOND = 10e6

#: Its speed upstream.
UPSTREAM_BITS_PER_SECOND = 1e6

#: How long its buffers hold packets when the line is full, downstream.
DOWNSTREAM_BUFFER_SECONDS = 0.15

#: The same upstream.
UPSTREAM_BUFFER_SECONDS = 0.3

#: One way between client and server.
PROPAGATION_SECONDS = 0.012

#: How long a clock is slewed.
SLEW_SECONDS = 300.0


def _schedule(_context: click.Context, _option: click.Parameter, text: str) -> tuple[float, ...]:
    """Parse usages such as "0.1,0.5", each 0..1."""
    try:
        usages = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter("numbers from 0 to 1 with commas between them") from None
    if not all(0 <= usage <= 1 for usage in usages):
        raise click.BadParameter("each number must be from 0 to 1")
    return usages


def _address(_context: click.Context, _option: click.Parameter, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an IPv4 or IPv6 address") from None


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
@click.option("--user", default=1, show_default=True, type=click.IntRange(1), help="user id")
@click.option(
    "--installations",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="how many installations the user has, numbered from 1",
)
@click.option(
    "--hours",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.05, 24),
    help="simulated time; the first result needs 0.31",
)
@click.option(
    "--usage",
    default="0.1,0.5,0.95",
    show_default=True,
    callback=_schedule,
    help="downstream usage, 0 to 1, in equal parts of the time",
)
@click.option(
    "--up-usage",
    default="0.1",
    show_default=True,
    callback=_schedule,
    help="upstream usage, likewise",
)
@click.option(
    "--clock-offset",
    default=0.1,
    show_default=True,
    type=click.FloatRange(-86_400, 86_400),
    help="seconds the client's time of day is ahead of the server's (time zones too)",
)
@click.option(
    "--skew",
    default=20.0,
    show_default=True,
    type=click.FloatRange(-1000, 1000),
    help="how much faster the client's clock runs, ppm",
)
@click.option(
    "--jitter",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1000),
    help="mean random delay of a packet in each direction, ms",
)
@click.option(
    "--loss",
    default=0.005,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="share of packets that never come back; a lost long packet loses its minute",
)
@click.option(
    "--traffic",
    default="self-similar",
    show_default=True,
    type=click.Choice(get_args(Traffic)),
    help="what others send: bursts of flows, or single packets",
)
@click.option(
    "--access",
    default="wired",
    show_default=True,
    type=click.Choice(get_args(Access)),
    help="what the client is connected by; radio delays packets on idle lines too",
)
@click.option(
    "--up-extra",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1000),
    help="how much longer the way up takes than the way down, ms",
)
@click.option(
    "--clock-step",
    default=0.0,
    show_default=True,
    type=click.FloatRange(-86_400, 86_400),
    help="seconds by which the client's clock is set ahead, half-way through",
)
@click.option(
    "--clock-slew",
    default=0.0,
    show_default=True,
    type=click.FloatRange(-1000, 1000),
    help="ppm by which the client's clock gains for the five minutes after half-way",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="of the random numbers",
)
@click.option(
    "--start",
    default=None,
    show_default="so that it ends now",
    type=click.IntRange(0, 2**32 - 1 - 24 * 3600),
    help="first epoch second",
)
@click.option(
    "--source",
    default="192.0.2.1",
    show_default=True,
    callback=_address,
    help="address that the reports come from",
)
def command(
    *,
    directory: str,
    user: int,
    installations: int,
    hours: float,
    usage: tuple[float, ...],
    up_usage: tuple[float, ...],
    clock_offset: float,
    skew: float,
    jitter: float,
    loss: float,
    traffic: Traffic,
    access: Access,
    up_extra: float,
    clock_step: float,
    clock_slew: float,
    seed: int,
    start: int | None,
    source: str,
) -> None:
    """Write the reports of made-up installations below DIR.

    Packets cross a line of 10 Mbit/s down and 1 Mbit/s up whose buffers fill with other traffic as
    the schedule says. The truth is written to DIR/description.yml. Nothing is signed.

    \b
    Example: three installations, idle for half an hour, then full as long
      tixd simulate /tmp/reports --installations 3 --usage 0.05,0.95 --seed 1
    """
    duration_seconds = round(hours * 3600)
    half = duration_seconds / 2
    scenario = Scenario(
        start=_minute_before_now(duration_seconds) if start is None else start,
        duration_seconds=duration_seconds,
        upstream=LinkDirection(
            UPSTREAM_BITS_PER_SECOND, UPSTREAM_BUFFER_SECONDS, up_usage, traffic, up_extra / 1000
        ),
        downstream=LinkDirection(
            DOWNSTREAM_BITS_PER_SECOND, DOWNSTREAM_BUFFER_SECONDS, usage, traffic
        ),
        propagation_seconds=PROPAGATION_SECONDS,
        jitter_seconds=jitter / 1000,
        loss=loss,
        client_offset_seconds=clock_offset,
        client_skew_ppm=skew,
        client_steps=((half, clock_step),) if clock_step else (),
        client_slews=((half, half + SLEW_SECONDS, clock_slew),) if clock_slew else (),
        access=access,
    )
    folders = [(user, number) for number in range(1, installations + 1)]
    _refuse_to_mix(directory, folders)
    count = _write(directory, folders, scenario, seed, source)
    of = f"{installations} installation{'s' * (installations > 1)}"
    until = scenario.start + duration_seconds
    click.echo(
        f"{count} reports of {of} in {directory}, epoch seconds {scenario.start} to {until};"
        " truth: description.yml there"
    )


def _minute_before_now(duration_seconds: int) -> int:
    """Return the start, on a full minute, of a simulation that ends within the last minute."""
    return (int(time.time()) - duration_seconds) // 60 * 60


def _refuse_to_mix(directory: str, folders: list[tuple[int, int]]) -> None:
    """Refuse to put made-up reports among real ones, whose windows they would spoil."""
    for user_id, installation_id in folders:
        path = os.path.join(directory, str(user_id), str(installation_id))
        if os.path.lexists(path):
            raise click.BadParameter(f"{path} is there already", param_hint="DIR")


def _write(
    directory: str,
    folders: list[tuple[int, int]],
    scenario: Scenario,
    seed: int,
    source: str,
) -> int:
    """Write truth and reports; returns how many reports."""
    os.makedirs(directory, exist_ok=True)
    count = 0
    with Folder(directory, follow=True) as base:
        base.write("description.yml", description(scenario))
        for user_id, installation_id in folders:
            with (
                base.subfolder(str(user_id), create=True) as user,
                user.subfolder(str(installation_id), create=True) as installation,
            ):
                for name, content in reports(scenario, seed, user_id, installation_id, source):
                    installation.write(name, content)
                    count += 1
    return count
