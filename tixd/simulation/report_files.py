"""Simulated measurements as the tix-time-condenser leaves them: report files and their truth.

`<user>/<installation>/tix-report-<epoch>.json` has members and order as in real reports; key and
signature have the right form and are made up: nothing is signed, and the signature says so.
`description.yml` is the form in which recorded experiments state their truth. Equal input gives
equal bytes. Pure.
"""

from __future__ import annotations

import base64
import ipaddress
import itertools
from collections.abc import Iterator

import numpy as np
import orjson

from tixd.simulation.probing import Minute, Scenario, measured

#: DER of a SubjectPublicKeyInfo with a 2048-bit RSA key before the modulus (RFC 8017).
_KEY_HEAD = bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100")

#: The same after the modulus.
_KEY_TAIL = bytes.fromhex("0203010001")

#: Length of the modulus, and of a signature made with it.
_MODULUS_BYTES = 256

#: Content of a signature, repeated; a real one is SHA1withRSA over the message.
_SIGNATURE_TEXT = b"not signed: made by tixd simulate. "

#: Port of a real client.
_CLIENT_PORT = 4501

#: Port of a real server.
_SERVER_PORT = 4500


def reports(
    scenario: Scenario, seed: int, user_id: int, installation_id: int, source: str
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each report of one installation, in order of time.

    The random numbers depend on the seed and on both ids, so installations differ.
    """
    random = np.random.default_rng([seed, user_id, installation_id])
    key = _public_key(random)
    for minute in measured(random, scenario).minutes:
        name = f"tix-report-{minute.observations['second'].min()}.json"
        yield name, _report(minute, key, user_id, installation_id, source)


def _report(minute: Minute, key: str, user_id: int, installation_id: int, source: str) -> bytes:
    """Encode a report as compact JSON; times that the long packet never learned are 0."""
    version = ipaddress.ip_address(source).version
    members = {
        "from": f"{source if version == 4 else f'[{source}]'}:{_CLIENT_PORT}",
        "to": f"[0:0:0:0:0:0:0:0%0]:{_SERVER_PORT}",
        "type": "LONG",
        "initialTimestamp": minute.long_sent_ns,
        "receptionTimestamp": 0,
        "sentTimestamp": 0,
        "finalTimestamp": 0,
        "publicKey": key,
        "message": base64.b64encode(minute.observations.tobytes()).decode(),
        "signature": base64.b64encode(_signature()).decode(),
        "userId": user_id,
        "installationId": installation_id,
    }
    return orjson.dumps(members)


def _public_key(random: np.random.Generator) -> str:
    """Make a key's DER in base64; its modulus is a random odd number of 2048 bits."""
    modulus = bytearray(random.bytes(_MODULUS_BYTES))
    modulus[0] |= 0x80
    modulus[-1] |= 0x01
    return base64.b64encode(_KEY_HEAD + modulus + _KEY_TAIL).decode()


def _signature() -> bytes:
    return bytes(itertools.islice(itertools.cycle(_SIGNATURE_TEXT), _MODULUS_BYTES))


def description(scenario: Scenario) -> bytes:
    """Write the truth as YAML: speeds in kB/s, times in epoch seconds, lapses in seconds.

    `connection_speed` and `experiment` are the downstream, as recorded experiments have them;
    `upstream_connection_speed` and `upstream_experiment` say the same of the upstream.
    """
    lines = ["# made by tixd simulate: no real measurement"]
    for prefix, direction in (("", scenario.downstream), ("upstream_", scenario.upstream)):
        full = direction.bits_per_second / 8000
        lines += [f"{prefix}connection_speed: {full:.0f}", f"{prefix}experiment:"]
        for begin, lapse, usage in _parts(scenario, direction.usage):
            lines += [
                f"  - start: {begin}",
                f"    speed: {usage * full:.0f}",
                f"    lapse: {lapse}",
            ]
    return "\n".join([*lines, ""]).encode()


def _parts(scenario: Scenario, schedule: tuple[float, ...]) -> Iterator[tuple[int, int, float]]:
    """Yield epoch second, lapse in seconds and usage of each part of the schedule."""
    lapse = scenario.duration_seconds / len(schedule)
    edges = [scenario.start + round(lapse * number) for number in range(len(schedule) + 1)]
    for (begin, end), usage in zip(itertools.pairwise(edges), schedule, strict=True):
        yield begin, end - begin, usage
