"""Faults of processes: killed, stopped, frozen, short of descriptors, of memory; clocks jump."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import sqlite3
import time
from pathlib import Path
from random import Random

import psutil

from soaking.processing import IN_FLIGHT, WORKERS, Processing, children
from soaking.registry import EVERY, PROCESSING, fault
from soaking.world import World, holds, is_gone, shows, stopped
from tixd.pool.failures import MAX_FAILURES

#: Posts that may be in flight in one role.
OF_ROLE = IN_FLIGHT * WORKERS


@fault("faults 1", roles=PROCESSING, ends=True, repeats=IN_FLIGHT)
def worker_process_killed(world: Processing, random: Random) -> str:
    role, pid = world.worker_process(random)
    os.kill(pid, signal.SIGKILL)
    shows(lambda: is_gone(pid), f"pid {pid} gone")
    return shows(
        lambda: len(children(role.pid)) == WORKERS, f"pid {pid} gone, another in its place"
    )


@fault("faults 2", "faults 4", "faults 19", "faults 32", roles=EVERY, ends=True, repeats=OF_ROLE)
def main_process_killed(world: World, random: Random) -> str:
    name, _ = world.any_role(random)
    proof = _killed(world, name)
    world.again(name)
    return proof


def _killed(world: World, name: str) -> str:
    """Kill the main process of a role; its workers must end by themselves."""
    role = world.roles[name]
    workers = children(role.pid)
    os.kill(role.pid, signal.SIGKILL)
    role.wait(60)
    if not holds(lambda: all(map(is_gone, workers)), 30):
        raise RuntimeError(f"{name}: workers outlive their parent: {workers}")
    return f"{name} {role.pid} gone, exit code {role.poll()}, {len(workers)} workers gone too"


@fault("faults 3", "faults 19", roles=PROCESSING, ends=True, repeats=OF_ROLE)
def all_processes_of_a_host_killed(world: World, random: Random) -> str:
    name, role = world.any_role(random)
    os.killpg(role.pid, signal.SIGKILL)
    role.wait(60)
    world.again(name)
    return f"{name} and its workers killed, exit code {role.poll()}"


@fault("faults 5", roles=PROCESSING)
def second_one_stands_by(world: Processing, random: Random) -> str:
    """Another process with the same schedule folder: it waits, and ends when it is told to."""
    name, _ = world.history()
    with world.second(name) as second:
        mark = second.log_file, 0
        shows(lambda: world.said(mark, "standing_by"), "standing_by", 60)
        time.sleep(random.uniform(0, 3))
        if (code := second.ends()[0]) != 0:
            raise RuntimeError(f"the second {name} ended with exit code {code}")
    return f"a second {name} said standing_by, and ended with exit code 0"


@fault("faults 8", roles=PROCESSING, ends=True, repeats=IN_FLIGHT * MAX_FAILURES)
def report_that_crashes_workers(world: Processing, random: Random) -> str:
    """Workers crash when they decode one report; the good ones beside it must be posted.

    Every role that has workers is started with ones that can be crashed, and again without.
    """
    names = sorted(name for name in world.roles if name != "dispatcher")
    with contextlib.ExitStack() as stack:
        for name in names:
            _stopped_well(world, name)
            world.again_with_odd_workers(name, "crashes_in_reading")
            stack.callback(_started_again, world, name)
        marks = [world.mark(world.roles[name]) for name in names]
        if not holds(world.is_well, 60):
            raise RuntimeError(f"{names} are not well with workers that can be crashed")
        aside = world.add_unusable(random, b'{"type": "CRASH"}')
        shows(aside.exists, "the report in bad-reports", 60)
        told = "reports_crash_workers"
        shows(lambda: any(world.said(mark, told) for mark in marks), told)
    return f"in bad-reports: {told}"


def _started_again(world: World, name: str) -> None:
    _stopped_well(world, name)
    world.again(name)


@fault("faults 9", "faults 32", roles=EVERY, ends=True)
def role_stopped(world: World, random: Random) -> str:
    name, _ = world.any_role(random)
    _started_again(world, name)
    return f"{name} ended with exit code 0"


@fault("faults 9", "field E", roles=EVERY, ends=True, repeats=OF_ROLE)
def role_stopped_twice(world: World, random: Random) -> str:
    name, role = world.any_role(random)
    role.send_signal(signal.SIGTERM)
    time.sleep(random.uniform(0.0, 0.3))
    role.send_signal(signal.SIGTERM)
    shows(lambda: role.poll() is not None, f"{name} ended", 30)
    world.again(name)
    return f"{name} ended at the second SIGTERM, exit code {role.poll()}"


@fault("faults 6", roles=PROCESSING)
def worker_process_frozen(world: Processing, random: Random) -> str:
    _, pid = world.worker_process(random)
    return _frozen(pid, random.uniform(1, 8))


@fault("faults 7", roles=EVERY)
def main_process_frozen(world: World, random: Random) -> str:
    _, role = world.any_role(random)
    return _frozen(role.pid, random.uniform(1, 12))


def _frozen(pid: int, seconds: float) -> str:
    with stopped(pid):
        shows(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "state T")
        time.sleep(seconds)
    return f"pid {pid} in state T for {seconds:.1f} s"


@fault("faults 11", "G7", roles=PROCESSING, ends=True)
def clock_jumps(world: Processing, random: Random) -> str:
    """A role is started with a clock that can be set, and again without at the end."""
    name, jump = world.history()[0], random.choice(["+3600", "-3600", "+90", "-90", "+86400"])
    _stopped_well(world, name)
    world.again_with_a_clock_that_can_be_set(name)
    mark = world.mark(world.roles[name])
    if not holds(world.is_well, 60):
        raise RuntimeError(f"{name} is not well with another clock")
    world.clock.write_text(jump)
    try:
        proof = shows(lambda: world.said(mark, "clock_changed"), f"clock_changed after {jump} s")
        time.sleep(random.uniform(2, 6))
        world.clock.write_text("+0")
        time.sleep(random.uniform(0, 3))
    finally:
        _stopped_well(world, name)
        world.again(name)
    return f"{name}: {proof}, and back"


def _stopped_well(world: World, name: str) -> None:
    role = world.roles[name]
    role.send_signal(signal.SIGTERM)
    if not holds(lambda: role.poll() is not None, 60) or role.poll() != 0:
        raise RuntimeError(f"{name}: SIGTERM gave exit code {role.poll()}")


@fault("G13", "G14", "faults 34", roles=PROCESSING)
def few_descriptors(world: Processing, random: Random) -> str:
    """The main process may open no more than it has open; connections come."""
    name, role = world.any_role(random)
    process, mark = psutil.Process(role.pid), world.mark(role)
    usual = process.rlimit(resource.RLIMIT_NOFILE)
    process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds() + 1, usual[1]))
    try:
        host, _, port = role.http.rpartition(":")
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            return f"{name}: " + shows(
                lambda: world.said(mark, "Too many open files"),
                "Too many open files in the log",
                15,
            )
    finally:
        process.rlimit(resource.RLIMIT_NOFILE, usual)


@fault("G13", "G14", roles=PROCESSING)
def few_descriptors_in_a_worker(world: Processing, random: Random) -> str:
    role, pid = world.worker_process(random)
    process, mark = psutil.Process(pid), world.mark(role)
    usual = process.rlimit(resource.RLIMIT_NOFILE)
    process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds() - 1, usual[1]))
    try:
        words = ("Too many open files", "file descriptors")
        return shows(lambda: world.said(mark, *words), f"worker {pid} said so in the log", 15)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(resource.RLIMIT_NOFILE, usual)


@fault("G8", "faults 6", roles=PROCESSING, ends=True, repeats=IN_FLIGHT)
def memory_limit_of_a_worker(world: Processing, random: Random) -> str:
    """A worker gets no more address space than it has; no report may be blamed."""
    role, pid = world.worker_process(random)
    process, mark = psutil.Process(pid), world.mark(role)
    usual = process.rlimit(resource.RLIMIT_AS)
    process.rlimit(resource.RLIMIT_AS, (process.memory_info().vms + 4096, usual[1]))
    try:
        words = ("out_of_memory", "worker_ended")
        return shows(
            lambda: world.said(mark, *words), f"worker {pid}: out_of_memory in the log", 15
        )
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(resource.RLIMIT_AS, usual)


@fault("G10", roles=PROCESSING)
def runtime_folder_removed(world: Processing, random: Random) -> str:
    name, role = world.any_role(random)
    mark = world.mark(role)
    _remove(role.state / "run")
    return shows(
        lambda: world.said(mark, "control_socket_replaced"), f"{name}: control_socket_replaced"
    )


def _remove(folder: Path) -> None:
    """Remove a folder in which somebody may be making a file."""
    while folder.exists():
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
            return


@fault("G10", roles=PROCESSING)
def schedule_folder_removed(world: Processing, random: Random) -> str:
    name, _ = world.history()
    role = world.roles[name]
    mark = world.mark(role)
    _remove(role.state / "schedule")
    return shows(lambda: world.said(mark, "leader_lock_replaced"), f"{name}: leader_lock_replaced")


@fault("G10", roles=EVERY)
def history_removed(world: World, random: Random) -> str:
    name, file = world.history()
    mark = world.mark(world.roles[name])
    shows(file.exists, "a history")
    file.unlink()
    return shows(lambda: world.said(mark, "history_replaced"), f"{name}: history_replaced")


@fault("G10", roles=EVERY, ends=True, repeats=OF_ROLE)
def history_damaged_while_its_role_is_down(world: World, random: Random) -> str:
    name, file = world.history()
    _killed(world, name)
    for path in (file, file.with_name(f"{file.name}-wal")):
        path.write_bytes(random.randbytes(20_000))
    mark = world.mark(world.roles[name])
    world.again(name)
    return shows(lambda: world.said(mark, "history_set_aside"), f"{name}: history_set_aside")


@fault("G10", roles=EVERY)
def history_locked(world: World, random: Random) -> str:
    """Somebody writes into the file of the history and does not end."""
    name, file = world.history()
    shows(file.exists, "a history")
    seconds = random.uniform(1, 8)
    with contextlib.closing(sqlite3.connect(file, timeout=20, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        other.execute("ROLLBACK")
    return f"{name}: locked for {seconds:.1f} s"


@fault("faults 27", roles=EVERY)
def signals_while_it_works(world: World, random: Random) -> str:
    """SIGHUP, SIGUSR1 and twice SIGUSR2: read again, reopen, more and less in the log."""
    name, role = world.any_role(random)
    mark = world.mark(role)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR2):
        os.kill(role.pid, number)
        time.sleep(0.2)
    return shows(
        lambda: world.said(mark, "secrets_reloaded", "reload"), f"{name} read secrets again"
    )
