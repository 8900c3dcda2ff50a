"""Control sockets: where they are, and how a command asks the roles behind them.

Rules: HTTP over `<role>.sock` in the runtime folder, of a stand-by `<role>-<pid>.sock`, mode 0600;
root asks other users' sockets too, so an answer has a limited time and length, and its texts lose
the characters that a terminal obeys. `tixd health` runs every few seconds: no asyncio and no
aiohttp here.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import http.client
import io
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import orjson

from tixd import bounded, errors
from tixd.config.environment import Environment

#: The longest answer; 100,000 installations whose results wait are about 12 MB.
MAX_ANSWER_BYTES = 64 * 2**20

#: Characters of a text that are shown.
MAX_TEXT_CHARACTERS = 1000

#: Bytes taken from a socket at once.
_PIECE_BYTES = 2**18

#: Pause before a connection is tried again where the other side's queue is full.
FULL_SECONDS = 0.02

#: Roles, those first that are sure to see the reports.
_ROLES = ("standalone", "worker", "dispatcher", "collector")

#: Names of control sockets; with a process id, another process leads for the role.
_NAME = re.compile(rf"({'|'.join(_ROLES)})(-[0-9]+)?\.sock")

#: Errors of connecting to a socket without a listener.
_NO_LISTENER = (errno.ECONNREFUSED, errno.ENOENT)


def ask_all(environment: Environment, role: str, request: str, seconds: float) -> list[Any]:
    """Ask every role that runs here, or `role` alone where it is not ""; return the answers.

    Each has this many seconds. Raises NotRunning where none answers, NotDone for an error.
    """
    answers, problems = [], []
    for path in _sockets(environment, role):
        try:
            answers.append(_ask(path, request, seconds))
        except OSError as error:
            if error.errno not in _NO_LISTENER:
                problems.append(f"{path}: {error.strerror or error}")
    if not answers:
        raise errors.NotRunning("; ".join(problems))
    return answers


def ask_one(environment: Environment, role: str, request: str, seconds: float) -> Any:
    """Return the answer of the first role that answers; raises as `ask_all`."""
    for path in _sockets(environment, role):
        with contextlib.suppress(OSError):
            return _ask(path, request, seconds)
    return ask_all(environment, role, request, seconds)[0]


def _sockets(environment: Environment, role: str) -> Iterator[str]:
    """Control sockets in all runtime folders: who asks may have others than the one who runs."""
    found: list[tuple[str, re.Match[str]]] = []
    for folder in dict.fromkeys(
        (*environment.runtime_folders, *sorted(glob.glob(environment.instances)))
    ):
        with contextlib.suppress(OSError):
            if folder in environment.own_runtime_folders and not _is_ours(folder):
                continue
            found += [(folder, m) for m in map(_NAME.fullmatch, os.listdir(folder)) if m]
    for folder, match in sorted(found, key=lambda f: (f[1][2] or "", _ROLES.index(f[1][1]))):
        if role in ("", match[1]):
            yield os.path.join(folder, match[0])


def _ask(path: str, request: str, seconds: float) -> Any:
    """Return the answer; raises OSError without one in time, NotDone for a foreign one."""
    head = f"{request} HTTP/1.1\r\nHost: tixd\r\nConnection: close\r\n\r\n"
    received = _exchange(path, head.encode(), time.monotonic() + seconds)
    if not received:
        raise errors.NotDone(f"{path}: no answer")
    try:
        status, body = _parse(received)
        answer = sanitize(orjson.loads(body) if status == HTTPStatus.OK else body.decode().strip())
    except (http.client.HTTPException, ValueError):
        raise errors.NotDone(f"{path}: the process there is not this version of tixd") from None
    if status == HTTPStatus.NOT_FOUND:
        raise errors.NotDone(f"{path}: a role that stands by, or a collector, keeps no results")
    if status != HTTPStatus.OK:
        raise errors.NotDone(answer or f"{path}: HTTP status {status}")
    return answer


def _parse(received: bytes) -> tuple[int, bytes]:
    """Return status and body of a response; raises HTTPException or ValueError."""
    if len(received) > MAX_ANSWER_BYTES:
        raise ValueError
    response = http.client.HTTPResponse(_Received(received))  # type: ignore[arg-type]
    response.begin()
    return response.status, response.read()


class _Received:
    """The received bytes, as HTTPResponse reads them."""

    def __init__(self, received: bytes) -> None:
        self._received = received

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._received)


def _exchange(path: str, request: bytes, deadline: float) -> bytes:
    """Return all that comes until the other end closes, or more than is allowed."""
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_left(deadline))
        _connect(sock, path, deadline)
        sock.sendall(request)
        piece = request
        while piece and len(received) <= MAX_ANSWER_BYTES:
            sock.settimeout(_left(deadline))
            piece = sock.recv(_PIECE_BYTES)
            received += piece
    return bytes(received)


def _left(deadline: float) -> float:
    """Seconds until the deadline; raises TimeoutError when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


def _connect(sock: socket.socket, path: str, deadline: float) -> None:
    """Connect, again and again where the queue is full; raises OSError."""
    while True:
        try:
            return sock.connect(path)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(FULL_SECONDS)


def sanitize(value: Any) -> Any:
    """Return the value with "?" for each character that is not printed; long texts are cut.

    >>> sanitize({"a": ["red\\x1b[31m", 1]})
    {'a': ['red?[31m', 1]}
    """
    if isinstance(value, str):
        return bounded.printable(bounded.text(value, MAX_TEXT_CHARACTERS), "?")
    if isinstance(value, dict):
        return {sanitize(name): sanitize(member) for name, member in value.items()}
    return [sanitize(member) for member in value] if isinstance(value, list) else value


# --- the sockets ----------------------------------------------------------------------------------


def open_socket(environment: Environment, role: str, *, standby: bool) -> socket.socket:
    """Bind the role's socket in the best folder; raises OSError."""
    return _bind(_usable_folder(environment), role, standby=standby)


def runtime_folder(environment: Environment) -> str:
    """Return the best folder for sockets; "" where there is none."""
    try:
        return _usable_folder(environment)
    except OSError:
        return ""


def try_socket(environment: Environment, role: str) -> str:
    """Make a stand-by's socket in the best folder, remove both again; raises OSError."""
    there = [folder for folder in environment.runtime_folders if os.path.isdir(folder)]
    folder = _usable_folder(environment)
    with _bind(folder, role, standby=True) as sock:
        os.unlink(sock.getsockname())
    if folder not in there:
        os.rmdir(folder)
    return folder


def _usable_folder(environment: Environment) -> str:
    """Return the best folder that can be written to; raises PermissionError."""
    for folder in environment.runtime_folders:
        own = folder in environment.own_runtime_folders
        if own or len(environment.runtime_folders) == 1:  # one that was given may have been removed
            with contextlib.suppress(OSError):
                os.mkdir(folder, 0o700)
        usable = os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
        if usable and (_is_ours(folder) or not own):
            return folder
    raise PermissionError(
        f"{' and '.join(environment.runtime_folders)}: not there, or it belongs to another user"
    )


def _is_ours(folder: str) -> bool:
    """Return whether only this user can write to the folder; in /tmp any user can make one.

    Or only the user in its name, whose folders root alone asks.
    """
    facts = os.lstat(folder)
    private = stat.S_ISDIR(facts.st_mode) and facts.st_mode & 0o077 == 0
    owner = facts.st_uid
    return private and (owner == os.geteuid() or folder.endswith(f"-{owner}"))


def _bind(folder: str, role: str, *, standby: bool) -> socket.socket:
    """Bind a socket to the role's file, or to one with our pid where the role is there already."""
    path = os.path.join(folder, f"{role}.sock")
    if standby or _is_alive(path):
        path = os.path.join(folder, f"{role}-{os.getpid()}.sock")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(path)
        sock.listen()
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def _is_alive(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        return sock.connect_ex(path) not in _NO_LISTENER
