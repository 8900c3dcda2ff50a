"""Faults of the tix-api: every kind of answer, none, one that is cut at any byte, slow ones."""

from __future__ import annotations

import socket
import time
from collections import Counter
from random import Random
from typing import Any

from soaking.cut import CutAt
from soaking.plan import NotActed
from soaking.processing import IN_FLIGHT, USUAL, WORKERS, Processing
from soaking.registry import PROCESSING, STANDALONE, fault
from soaking.world import shows
from tests.support.stand_in_api import Behaviour

#: Answers by what they are called: statuses first, then what is no answer.
ANSWERS: dict[str, Behaviour] = {
    **{
        str(status): Behaviour(status, body=b'{"error": "soak"}')
        for status in (204, 302, 400, 404, 408, 409, 413, 418, 422, 500, 502, 503, 504, 599)
    },
    "429 with Retry-After": Behaviour(429, {"Retry-After": "1"}),
    "429 with an odd Retry-After": Behaviour(429, {"Retry-After": "soon\x01" + "9" * 500}),
    "503 with a long Retry-After": Behaviour(503, {"Retry-After": "99999999999"}),
    "500 with a long body": Behaviour(500, body=b"x" * 200_000),
    "102 and 103 first": Behaviour(interim=(102, 103)),
    "odd bytes": Behaviour(418, {"X": "\x7f" * 60_000}),
    "silent": Behaviour(fault="silent"),
    "trickle": Behaviour(fault="trickle", trickle_seconds=0.02),
    "trickle too slowly": Behaviour(fault="trickle", trickle_seconds=1.0),
    "cut": Behaviour(fault="cut"),
    "stored, then cut": Behaviour(fault="store_then_cut"),
    "body cut": Behaviour(fault="cut_body"),
}

#: Faults after which the client may send again although the result is stored.
DOUBTFUL = {"trickle", "cut_body"}


class Tally:
    """Answers some of the posts otherwise, and counts them."""

    def __init__(self, random: Random, behaviours: list[Behaviour], users: set[int]) -> None:
        self._random, self._behaviours, self._users = random, behaviours, users
        self.met: Counter[str] = Counter()

    def __call__(self, user: int, *_: Any) -> Behaviour:
        if user not in self._users:
            return USUAL
        behaviour = self._random.choice(self._behaviours)
        self.met[behaviour.fault or str(behaviour.status)] += 1
        return behaviour


def _some(world: Processing, random: Random, most: int = 12) -> set[int]:
    users = list(world.load.users)
    return set(random.sample(users, random.randint(1, min(most, len(users)))))


def _answered(world: Processing, tally: Tally, seconds: float, least: int = 1) -> str:
    world.api.answer(tally)
    shows(lambda: sum(tally.met.values()) >= least, f"{least} posts met it", 40)
    time.sleep(seconds)
    world.api.answer(USUAL)
    world.allow(sum(tally.met[name] for name in DOUBTFUL))
    return ", ".join(f"{count} x {name}" for name, count in sorted(tally.met.items()))


@fault("faults 20", "faults 21", "faults 22", "field A1", "G11", roles=PROCESSING)
def odd_answer(world: Processing, random: Random) -> str:
    """Each answer in its turn; what was stored and not understood is posted again."""
    name = random.choice(sorted(ANSWERS))
    tally = Tally(random, [ANSWERS[name]], _some(world, random))
    return f"{name}: " + _answered(world, tally, random.uniform(1, 6))


@fault("faults 21", "field A1", "field A2", roles=PROCESSING)
def answers_of_every_kind_at_once(world: Processing, random: Random) -> str:
    tally = Tally(random, [*ANSWERS.values()], _some(world, random))
    return _answered(world, tally, random.uniform(3, 9), least=4)


@fault("faults 21", "field A4", roles=PROCESSING)
def credentials_refused_for_two_users(world: Processing, random: Random) -> str:
    refused = [Behaviour(401, {"WWW-Authenticate": "Basic"}), Behaviour(403)]
    return _answered(world, Tally(random, refused, _some(world, random, 2)), 2)


@fault("field A2", roles=PROCESSING)
def no_as_for_some_installations(world: Processing, random: Random) -> str:
    """500 for the same installations for a while, as of IPv6 addresses."""
    return _answered(world, Tally(random, [Behaviour(500)], _some(world, random, 3)), 8)


@fault("field A1", "faults 22", roles=PROCESSING)
def installations_that_are_never_answered(world: Processing, random: Random) -> str:
    """The database lacks them; the others must go on."""
    users = _some(world, random, 3)
    world.api.unknown |= {(user, 1) for user in users}
    first = len(world.api.posts)
    shows(lambda: any(p.user in users for p in world.api.posts[first:]), "one was posted", 40)
    others = len(world.api.accepted)
    shows(lambda: len(world.api.accepted) > others + 3, "others go on", 40)
    time.sleep(random.uniform(0, 5))
    unanswered = sum(p.user in users for p in world.api.posts[first:])
    went_on = len(world.api.accepted) - others
    return f"{unanswered} posts of {len(users)} installations unanswered, {went_on} others taken"


@fault("faults 20", roles=PROCESSING, repeats=2 * IN_FLIGHT * WORKERS)
def api_refuses_connections(world: Processing, random: Random) -> str:
    world.relay.refuse()
    world.relay.reset()
    try:
        socket.create_connection(("127.0.0.1", world.relay.port), 5).close()
    except ConnectionRefusedError:
        time.sleep(random.uniform(2, 8))
        return "connection refused"
    raise NotActed("the port is open")


@fault("faults 22", "faults 25", roles=PROCESSING, repeats=2 * IN_FLIGHT * WORKERS)
def api_reset_again_and_again(world: Processing, random: Random) -> str:
    cut = 0
    for _ in range(random.randint(2, 6)):
        time.sleep(random.uniform(0.1, 1.0))
        cut += len(world.relay.open) // 2
        world.relay.reset()
    return f"{cut} connections reset"


@fault("faults 22", "faults 25", roles=PROCESSING, repeats=2 * IN_FLIGHT * WORKERS)
def api_in_a_black_hole(world: Processing, random: Random) -> str:
    """Nothing arrives for longer than the client waits."""
    seconds = random.uniform(1, 12)
    before, accepted = len(world.api.posts), world.relay.accepted
    world.relay.black_hole()
    time.sleep(seconds)
    world.allow(world.relay.accepted - accepted)
    return f"silence of {seconds:.1f} s, {len(world.api.posts) - before} posts arrived meanwhile"


@fault("faults 22", roles=PROCESSING, repeats=2 * IN_FLIGHT * WORKERS)
def answer_cut_at_any_byte(world: Processing, random: Random) -> str:
    cut = CutAt(random.randint(0, 400))
    world.relay.filter(cut)
    shows(lambda: cut.acted, "cut", 40)
    world.relay.reset()
    return f"answers cut at byte {cut.at}"


@fault("faults 22", roles=PROCESSING, repeats=2 * IN_FLIGHT * WORKERS)
def post_cut_at_any_byte(world: Processing, random: Random) -> str:
    cut = CutAt(random.randint(0, 900))
    world.relay.filter(from_client=cut)
    shows(lambda: cut.acted, "cut", 40)
    world.relay.reset()
    return f"posts cut at byte {cut.at}"


@fault("faults 10", "faults 22", roles=STANDALONE, repeats=2 * IN_FLIGHT * WORKERS)
def cycles_longer_than_the_period(world: Processing, random: Random) -> str:
    """Answers come so late that jobs still run when the next cycle begins."""
    before = world.skipped()
    world.relay.delay(random.uniform(1.5, 2.0))
    shows(lambda: world.skipped() > before, "installations skipped", 40)
    time.sleep(random.uniform(0, 6))
    return f"{world.skipped() - before} installations skipped: their jobs still ran"


@fault("faults 22", roles=PROCESSING, repeats=2 * IN_FLIGHT * WORKERS)
def api_slow(world: Processing, random: Random) -> str:
    seconds = random.uniform(0.2, 2.0)
    before = len(world.api.accepted)
    world.relay.delay(seconds)
    proof = shows(lambda: len(world.api.accepted) > before, "taken all the same", 40)
    time.sleep(3)
    return f"each piece {seconds:.1f} s late, {proof}"
