"""`tixd asn build`, `tixd asn lookup`, `tixd asn info`: the table that tells the AS of addresses.

Rules: nothing is fetched over the network but from the database that is named; the table that is
there stays until the new one has been found good.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path

import click

from tixd import errors
from tixd.asn.install import LARGEST_CHANGE, MIN_NETWORKS, AcceptanceCriteria, Installed, install
from tixd.asn.origin import Origin, as_number
from tixd.asn.sources import Entries, read_file
from tixd.asn.table import KNOWN, Table, TableFacts
from tixd.commands import Invocation
from tixd.commands.output import format_option, print_columns, progress_bar
from tixd.config import values
from tixd.display import minute
from tixd.runtime.status import duration

#: The latest second that a date can tell.
LATEST = 253_402_300_799


@click.group()
def command() -> None:
    """Build or query the table of autonomous systems (AS)."""


_table = click.option(
    "--table", metavar="FILE", help="the table; else the one that TIX_ASN_TABLE names"
)
_format = format_option("a table to read, or one JSON object a line")


def _known(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, int], ...]:
    """Parse texts such as "8.8.8.8=15169"."""
    found = []
    for text in texts:
        address, _, number = text.partition("=")
        asn = as_number(number)
        if asn is None:
            raise click.BadParameter(f"{text!r} is not ADDRESS=ASN")
        found.append((_address(address), asn))
    return tuple(found)


def _addresses(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(map(_address, texts))


def _address(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an IPv4 or IPv6 address") from None
    return str(getattr(address, "ipv4_mapped", None) or address)


@command.command(short_help="Make the table from files, or from the original's database")
@click.argument("sources", metavar="[FILE]...", nargs=-1, type=click.Path())
@_table
@click.option("--mysql", metavar="URL", help="database: mysql://user@host:port/iptoas")
@click.option("--password-file", type=Path, help="file with the database's password")
@click.option(
    "--known",
    metavar="ADDRESS=ASN",
    multiple=True,
    callback=_known,
    help="the table must say so, may be repeated; else "
    + ", ".join(f"{address}={asn}" for address, asn in KNOWN),
)
@click.option(
    "--least",
    default=MIN_NETWORKS,
    show_default=True,
    type=click.IntRange(1),
    help="networks that the table must have",
)
@click.option(
    "--any-change",
    is_flag=True,
    help=f"take it also where over {LARGEST_CHANGE:.0%} differs from the table that is there",
)
@click.pass_obj
def build(
    invocation: Invocation,
    *,
    sources: tuple[str, ...],
    table: str | None,
    mysql: str | None,
    password_file: Path | None,
    known: tuple[tuple[str, int], ...],
    least: int,
    any_change: bool,
) -> None:
    """Make the table from FILEs, plain, gzip or xz, or from the original service's database.

    A FILE holds prefixes ("192.0.2.0/24 64500"), CAIDA's pfx2as, ranges of iptoasn.com (TSV) or
    IP2Location, CSV ranges ("first,last,number,name"), CSV with a header (GeoLite2, IPinfo,
    IPLocate), or names of AS numbers ("64500 NAME"); its first line tells. Several are taken
    together: the longest prefix counts, of equal ones the first.

    The new table replaces the old one at once, when it has been found good; tixd takes it up by
    itself.

    \b
    Examples: the original's files; one of iptoasn.com; the original's database
      tixd asn build prefixes.txt names.txt
      tixd asn build ip2asn-combined.tsv.gz --table /var/lib/tixd/asn.mmdb
      tixd asn build --mysql mysql://reader@db/iptoas --password-file /run/secret
    """
    if not sources and not mysql:
        raise click.UsageError("name a FILE, or a database with --mysql")
    path, entries = _path(invocation, table), Entries()
    for source in sources:
        with progress_bar(f"reading {source}", share=True) as progress:
            found = read_file(entries, source, progress)
        print(f"{source}: {found}")
    if mysql:
        _from_database(entries, mysql, password_file)
    if not any(entries.ranges.values()):
        raise errors.BadSource("there are names, but no addresses")
    criteria = AcceptanceCriteria(known or KNOWN, least, 1.0 if any_change else LARGEST_CHANGE)
    with progress_bar("making the table") as progress:
        done = install(entries, path, criteria, progress)
    _say_installed(path, done, entries.left_out)


def _from_database(entries: Entries, url: str, password_file: Path | None) -> None:
    try:
        from tixd.asn.mysql import read_database  # noqa: PLC0415 - an extra
    except ImportError:
        raise errors.BadSource(
            "--mysql needs pymysql: EXTRAS=mysql scripts/install, "
            "or beside tixd: pip install pymysql"
        ) from None
    password = ""
    if password_file:
        try:
            password = values.from_file(password_file)
        except ValueError as error:
            raise errors.BadSource(f"{password_file}: {error}") from error
    with progress_bar("reading the database") as progress:
        read_database(entries, url, password, progress)


def _say_installed(path: str, done: Installed, left_out: int) -> None:
    changed = "the first one" if done.change is None else f"{done.change:.1%} changed"
    if done.old_problem:
        changed = f"not compared: {done.old_problem}"
    print(f"{path}: {done.networks:,} networks, {done.size_bytes:,} bytes, {changed}")
    if left_out:
        print(f"{left_out:,} lines left out that make no sense")


@command.command(short_help="Show the AS of each ADDRESS")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True, callback=_addresses)
@_table
@_format
@click.pass_obj
def lookup(
    invocation: Invocation, *, addresses: tuple[str, ...], table: str | None, form: str
) -> None:
    """Show the AS of each ADDRESS: number, name, network, and country where the table has it.

    \b
    Example:
      tixd asn lookup 8.8.8.8 2001:4860:4860::8888
    """
    with Table(_path(invocation, table)) as opened:
        found = [(address, opened.origin(address)) for address in addresses]
    if form == "json":
        for address, origin in found:
            print(json.dumps({"address": address, **asdict(origin)}))
    else:
        print_columns([(address, _origin_words(origin)) for address, origin in found])


def _origin_words(origin: Origin) -> str:
    place = " ".join(text for text in (origin.prefix, origin.country) if text)
    return f"{origin}  {place}"


@command.command()
@_table
@_format
@click.pass_obj
def info(invocation: Invocation, *, table: str | None, form: str) -> None:
    """Show what the table is, and how old.

    Exit code 1: it cannot be used.

    \b
    Example: what would the service use?
      tixd asn info
    """
    path = _path(invocation, table)
    with Table(path) as opened:
        facts = opened.facts
    if form == "json":
        print(json.dumps({"table": path, **asdict(facts)}))
    else:
        _show(path, facts)


def _show(path: str, facts: TableFacts) -> None:
    at = minute(min(facts.built, LATEST))
    versions = "IPv4 and IPv6" if facts.ip_version == 6 else "IPv4"
    print(f"table    {path}")
    print(f"kind     {facts.kind}, {versions}")
    print(f"built    {at} UTC, {duration(time.time() - facts.built)} ago")
    print(f"size     {facts.size_bytes:,} bytes, {facts.nodes:,} nodes")


def _path(invocation: Invocation, table: str | None) -> str:
    path = table or invocation.load().settings.asn_table
    if not path:
        raise click.UsageError("no table: set TIX_ASN_TABLE, or give --table")
    return path
