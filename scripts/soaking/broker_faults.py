"""Faults of RabbitMQ and of the way to it, for roles that need it."""

from __future__ import annotations

import time
from random import Random
from typing import Any

from soaking.cut import CutAt
from soaking.plan import NotActed
from soaking.processing import IN_FLIGHT, WORKERS, Processing
from soaking.registry import COLLECTOR, HOSTS, fault
from soaking.world import shows

BOTH = (*HOSTS, *COLLECTOR)


@fault("faults 24", "faults 29", roles=BOTH)
def broker_killed(world: Any, random: Random) -> str:
    pid = world.broker.pid
    world.broker.kill()
    time.sleep(random.uniform(0, 4))
    world.broker.start()
    return f"pid {pid} gone, pid {world.broker.pid} takes connections"


@fault("faults 25", roles=BOTH)
def broker_frozen(world: Any, random: Random) -> str:
    seconds = random.uniform(1, 10)
    world.broker.freeze()
    time.sleep(seconds)
    world.broker.thaw()
    return f"pid {world.broker.pid} stopped for {seconds:.1f} s"


@fault("faults 30", "faults 25", roles=BOTH)
def broker_alarm(world: Any, random: Random) -> str:
    resource = random.choice(["memory", "disk"])
    world.broker.alarm(resource)
    time.sleep(random.uniform(2, 8))
    world.broker.clear_alarm(resource)
    return f"{resource} alarm was set, and cleared"


@fault("faults 25", roles=BOTH)
def connections_closed_by_the_broker(world: Any, random: Random) -> str:
    mark = world.mark(world.any_role(random)[1])
    world.broker.close_connections()
    words = ("broker_disconnected", "broker_not_connected")
    return shows(lambda: world.said(mark, *words), "broker_disconnected")


@fault("faults 25", roles=BOTH)
def broker_reset_again_and_again(world: Any, random: Random) -> str:
    cut = 0
    for _ in range(random.randint(2, 5)):
        cut += len(world.broker_relay.open) // 2
        world.broker_relay.reset()
        time.sleep(random.uniform(0.1, 1.5))
    return f"{cut} connections reset"


@fault("faults 25", roles=BOTH)
def broker_in_a_black_hole(world: Any, random: Random) -> str:
    seconds = random.uniform(1, 12)
    world.broker_relay.black_hole()
    time.sleep(seconds)
    return f"silence of {seconds:.1f} s on {len(world.broker_relay.open) // 2} connections"


@fault("faults 25", "faults 31", roles=BOTH)
def broker_cut_at_any_byte(world: Any, random: Random) -> str:
    cut = CutAt(random.randint(0, 1200))
    side = random.choice(["from_server", "from_client"])
    world.broker_relay.filter(**{side: cut})
    if random.random() < 0.5:
        world.broker_relay.reset()  # the handshake is cut
    shows(lambda: cut.acted, "cut", 40)
    world.broker_relay.reset()
    return f"{side} cut at byte {cut.at}"


@fault("faults 25", roles=BOTH)
def broker_slow(world: Any, random: Random) -> str:
    seconds = random.uniform(0.05, 0.5)
    world.broker_relay.delay(seconds)
    time.sleep(random.uniform(3, 8))
    return f"each piece {seconds:.2f} s late on {len(world.broker_relay.open) // 2} connections"


@fault("faults 27", roles=BOTH)
def password_changed(world: Any, random: Random) -> str:
    mark = world.mark(world.any_role(random)[1])
    world.broker.set_password("another")
    world.broker.close_connections()
    try:
        return shows(lambda: world.said(mark, "broker_"), "the log says why there is no connection")
    finally:
        world.broker.set_password("guest")


@fault("faults 26", roles=HOSTS, repeats=2 * IN_FLIGHT * WORKERS)
def jobs_longer_than_the_consumers_timeout(world: Any, random: Random) -> str:
    """The broker takes messages away from a worker whose posts wait for the tix-api."""
    marks = [world.mark(role) for name, role in world.roles.items() if name != "dispatcher"]
    world.broker.eval("application:set_env(rabbit, channel_tick_interval, 500)")
    with world.broker.impatient(random.uniform(1.0, 2.0)):
        world.broker.close_connections()  # the next ones look more often
        world.relay.delay(2.0)
        return shows(
            lambda: any(world.said(mark, "timed out") for mark in marks), "messages timed out", 40
        )


@fault("faults 27", roles=HOSTS)
def queue_purged_or_deleted(world: Processing, random: Random) -> str:
    direct = world.direct()
    if random.random() < 0.5:
        direct.purge("celery")
        return "queue celery purged"
    direct.delete("celery")
    return shows(lambda: direct.exists("celery"), "queue celery deleted, and declared again", 60)


#: Messages that are no job; each must lie in tixd.dead, once.
_NO_JOBS: tuple[tuple[bytes, dict[str, Any]], ...] = (
    (b"not JSON", {"content_type": "application/json"}),
    (b"\x80\x04K\x01.", {"content_type": "application/x-python-serialize"}),
    (b'[["/etc", "1", "1"], {}, {}]', {"content_type": "application/json"}),
    (b"[]", {"content_type": "application/json", "headers": {"task": "os.system"}}),
    (b"x" * 2_000_000, {"content_type": "application/json"}),
)


@fault("faults 28", roles=HOSTS)
def message_that_is_no_job(world: Processing, random: Random) -> str:
    body, properties = random.choice(_NO_JOBS)
    direct = world.direct()
    world.direct().declare("tixd.dead")
    direct.drain("tixd.dead")
    direct.publish("celery", body, **properties)
    shows(lambda: direct.count("tixd.dead") == 1, "in tixd.dead, once")
    (dead,) = direct.drain("tixd.dead")
    reason = (dead.properties.headers or {}).get("tixd-reason", "")
    if not reason:
        raise NotActed("no reason in its header")
    return f"in tixd.dead: {reason[:80]}"
