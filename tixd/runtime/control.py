"""The control socket: what runs here can be asked, by its own user and by root.

In: one line of JSON, `{"ask": word, …}`. Out: one line of JSON, `{"answer": …}` or
`{"error": text}`. Rules: the socket file is `<role>.sock` in the runtime folder, of a stand-by
`<role>-<pid>.sock`, mode 0600; a file that nobody listens on is replaced; requests are short, slow
ones are dropped. A role that can have no socket works on without: it is for people, not for work.

One line of JSON from a socket, whoever may be at its other end.

In: a connected socket. Out: what the line says, fit to be shown. Rules: whoever answers may be a
user that root only asks: it has a limited time, its line a limited length, and its texts no
characters that a terminal obeys.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import glob
import os
import re
import socket
import stat
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any

import orjson

from tixd import bounded, errors, logs
from tixd.config.environment import Surroundings
from tixd.runtime import tasks

#: The longest answer; 100,000 installations whose results wait are about 12 MB.
LONGEST_ANSWER_BYTES = 64 * 2**20

#: Characters of a text that are shown.
LONGEST_TEXT = 1000

#: Bytes taken from a socket at once.
_PIECE_BYTES = 2**18


def read_json_line(sock: socket.socket, deadline: float) -> Any:
    """What the line says; deadline: monotonic seconds.

    Raises ValueError where it says nothing, OSError where it does not come in time.
    """
    line = bytearray()
    while not line.endswith(b"\n") and len(line) <= LONGEST_ANSWER_BYTES:
        left_seconds = deadline - time.monotonic()
        if left_seconds <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left_seconds)
        piece = sock.recv(_PIECE_BYTES)
        if not piece:
            break
        line += piece
    return sanitize(orjson.loads(line))


def sanitize(value: Any) -> Any:
    """The value with a question mark for each character that is not printed; long texts are cut.

    >>> sanitize({"a": ["red\\x1b[31m", 1]})
    {'a': ['red?[31m', 1]}
    """
    if isinstance(value, str):
        return bounded.printable(bounded.text(value, LONGEST_TEXT), "?")
    if isinstance(value, dict):
        return {sanitize(name): sanitize(member) for name, member in value.items()}
    return [sanitize(member) for member in value] if isinstance(value, list) else value


#: Answers one request, which has whatever members the asker gave; raises TixdError or ValueError.
Handler = Callable[[Mapping[str, Any]], Awaitable[object]]

#: Longest request.
LONGEST_REQUEST_BYTES = 4096

#: How long a request may take to arrive, and an answer to be read.
PATIENCE_SECONDS = 5.0

#: Requests of the same kind at work at once.
MOST_REQUESTS = 16

#: Connections that have not asked yet; a further one closes the oldest of them.
MOST_SILENT = 32

#: Connections that are taken before others have their turn in the loop.
TAKEN_AT_ONCE = 16

#: Connections that the kernel holds until they are taken.
QUEUED_CONNECTIONS = 1024

#: How often the socket's file is looked at, which somebody may have removed.
LOOK_SECONDS = 1.0

#: Longest text of an error.
LONGEST_ERROR_CHARACTERS = 1000

#: Pause before a connection is tried again where the other side's queue is full.
FULL_SECONDS = 0.02

#: Roles, those first that are sure to see the reports.
_ROLES = ("standalone", "worker", "dispatcher", "collector")

#: Names of control sockets; with a process id, the role has another process that leads.
_NAME = re.compile(rf"({'|'.join(_ROLES)})(-[0-9]+)?\.sock")

#: What connecting to a file says that nobody listens on.
_NOBODY = (errno.ECONNREFUSED, errno.ENOENT)


async def listen(
    around: Surroundings, role: str, handlers: Mapping[str, Handler], *, standby: bool
) -> Control | None:
    """Open the control socket; None, and an error in the log, where there can be none."""
    control = Control(partial(_open, around, role, standby=standby), handlers)
    try:
        await control.start()
    except OSError as error:
        logs.error("control_socket_not_available", role=role, reason=str(error))
        return None
    return control


class Control:
    """An open control socket; stop it before the loop ends.

    A file that somebody removes is made again.
    """

    def __init__(self, bind: Callable[[], socket.socket], handlers: Mapping[str, Handler]) -> None:
        self.path = ""
        self._bind, self._handlers = bind, handlers
        self._limiter = logs.RateLimiter()
        self._at_work: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._asked: Counter[str] = Counter()

    async def start(self) -> None:
        """Take requests from now on; raises OSError."""
        await self._listen()
        self._watching = tasks.start_loop(self._watch, "watch over the control socket")

    async def _listen(self) -> None:
        sock = self._bind()
        self.path = sock.getsockname()
        self._inode = os.stat(self.path).st_ino
        self._server = await asyncio.start_unix_server(
            self._begin, sock=sock, limit=LONGEST_REQUEST_BYTES, backlog=TAKEN_AT_ONCE
        )
        sock.listen(QUEUED_CONNECTIONS)

    async def stop(self) -> None:
        """Take no more requests, give up those at work, remove the file."""
        self._server.close()
        await tasks.end(self._watching, *self._at_work)
        if self._is_there():
            os.unlink(self.path)

    def _is_there(self) -> bool:
        """Whether the file is there, and is still this socket."""
        try:
            return os.stat(self.path).st_ino == self._inode
        except OSError:
            return False

    async def _watch(self) -> None:
        """Listen anew where somebody has removed the file or its folder."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._is_there():
                continue
            lost, now = self.path, time.monotonic()
            try:
                self._server.close()
                await self._listen()
            except OSError as error:
                event, reason = "control_socket_not_available", str(error)
                self._limiter.log(logs.error, event, now=now, file=lost, reason=reason)
            else:
                logs.warning("control_socket_replaced", file=self.path, removed=lost)

    # --- one connection ---------------------------------------------------------------------------

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._silent) >= MOST_SILENT:  # the oldest makes room
            self._silent.pop(next(iter(self._silent))).transport.abort()
        task = tasks.start(self._converse(reader, writer), "answering on the control socket")
        self._at_work.add(task)
        self._silent[task] = writer
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._at_work.discard(task)
        self._silent.pop(task, None)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer_one(reader, writer)
        except (OSError, TimeoutError):
            logs.debug("control_request_dropped")
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                request = await reader.readline()
            except ValueError:
                request = b""
        if (task := asyncio.current_task()) is not None:
            self._silent.pop(task, None)
        with self._understood(request) as (handler, members):
            writer.write(orjson.dumps(await _answer(handler, members)) + b"\n")
            async with asyncio.timeout(PATIENCE_SECONDS):
                await writer.drain()

    @contextlib.contextmanager
    def _understood(self, request: bytes) -> Iterator[tuple[Handler, Mapping[str, Any]]]:
        """What answers the request, and its members; few of the same kind are answered at once."""
        known = ", ".join(self._handlers)
        try:
            members = orjson.loads(request)
            word = members["ask"]
            handler = self._handlers.get(word)
        except (ValueError, TypeError, KeyError):
            yield _refuse(f"no request: known are {known}"), {}
            return
        if handler is None:
            yield (
                _refuse(f"this process does not answer {bounded.text(str(word))!r}, only: {known}"),
                {},
            )
            return
        if self._asked[word] >= MOST_REQUESTS:
            yield _refuse("too many requests at once"), {}
            return
        self._asked[word] += 1
        try:
            yield handler, members
        finally:
            self._asked[word] -= 1


async def _answer(handler: Handler, members: Mapping[str, Any]) -> dict[str, object]:
    try:
        return {"answer": await handler(members)}
    except (errors.TixdError, ValueError) as error:
        return {"error": bounded.text(str(error), LONGEST_ERROR_CHARACTERS)}
    except Exception as error:  # noqa: BLE001 - the asker is told, and so is the log
        logs.failure("control_request_failed", error)
        return {"error": f"{bounded.error(error)}: unexpected, see the log"}


def _refuse(reason: str) -> Handler:
    async def refuse(_: Mapping[str, Any]) -> object:
        raise ValueError(reason)

    return refuse


def _open(around: Surroundings, role: str, *, standby: bool) -> socket.socket:
    """The socket in the best folder; raises OSError."""
    return _bound(_usable_folder(around), role, standby=standby)


def runtime_folder(around: Surroundings) -> str:
    """The best folder for sockets; "" where there is none."""
    try:
        return _usable_folder(around)
    except OSError:
        return ""


def try_socket(around: Surroundings, role: str) -> str:
    """Make a stand-by's socket in the best folder, remove both again; raises OSError."""
    there = [folder for folder in around.runtime_folders if os.path.isdir(folder)]
    folder = _usable_folder(around)
    with _bound(folder, role, standby=True) as sock:
        os.unlink(sock.getsockname())
    if folder not in there:
        os.rmdir(folder)
    return folder


def _usable_folder(around: Surroundings) -> str:
    """The best folder that can be written to; raises PermissionError."""
    for folder in around.runtime_folders:
        own = folder in around.own_runtime_folders
        if own or len(around.runtime_folders) == 1:  # one that was given may have been removed
            with contextlib.suppress(OSError):
                os.mkdir(folder, 0o700)
        usable = os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
        if usable and (_is_ours(folder) or not own):
            return folder
    raise PermissionError(
        f"{' and '.join(around.runtime_folders)}: not there, or it belongs to another user"
    )


def _is_ours(folder: str) -> bool:
    """Whether nobody else can have put anything into the folder: anybody can make one in /tmp.

    Or else nobody but the user whom its name tells, whom only root asks.
    """
    facts = os.lstat(folder)
    private = stat.S_ISDIR(facts.st_mode) and facts.st_mode & 0o077 == 0
    whose = facts.st_uid
    return private and (whose == os.geteuid() or folder.endswith(f"-{whose}"))


def _bound(folder: str, role: str, *, standby: bool) -> socket.socket:
    """A socket bound to the role's file, or to one with our pid where the role is there already."""
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
        return sock.connect_ex(path) not in _NOBODY


# --- the asking side -----------------------------------------------------------------------------


def ask_all(
    around: Surroundings, role: str, request: Mapping[str, object], seconds: float
) -> list[Any]:
    """The answers of every role that runs here, or of `role` alone where it is not "".

    Each is waited for so long. Raises NotRunning where nobody answers, NotDone for an error.
    """
    answers, problems = [], []
    for path in _sockets(around, role):
        try:
            answers.append(_ask(path, request, seconds))
        except OSError as error:
            if error.errno not in _NOBODY:
                problems.append(f"{path}: {error.strerror or error}")
    if not answers:
        raise errors.NotRunning("; ".join(problems))
    return answers


def ask_one(around: Surroundings, role: str, request: Mapping[str, object], seconds: float) -> Any:
    """The answer of the first role that answers; raises as `ask_all`."""
    for path in _sockets(around, role):
        with contextlib.suppress(OSError):
            return _ask(path, request, seconds)
    return ask_all(around, role, request, seconds)[0]


def _sockets(around: Surroundings, role: str) -> Iterator[str]:
    """Control sockets in all runtime folders: who asks may have others than the one who runs."""
    found: list[tuple[str, re.Match[str]]] = []
    for folder in dict.fromkeys((*around.runtime_folders, *sorted(glob.glob(around.instances)))):
        with contextlib.suppress(OSError):
            if folder in around.own_runtime_folders and not _is_ours(folder):
                continue
            found += [(folder, m) for m in map(_NAME.fullmatch, os.listdir(folder)) if m]
    for folder, match in sorted(found, key=lambda f: (f[1][2] or "", _ROLES.index(f[1][1]))):
        if role in ("", match[1]):
            yield os.path.join(folder, match[0])


def _ask(path: str, request: Mapping[str, object], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(seconds)
        _connect(sock, path, deadline)
        sock.sendall(orjson.dumps(request) + b"\n")
        try:
            said = read_json_line(sock, deadline)
            if "error" in said:
                raise errors.NotDone(said["error"])
            return said["answer"]
        except (ValueError, TypeError, KeyError):
            raise errors.NotDone(f"{path}: no answer") from None


def _connect(sock: socket.socket, path: str, deadline: float) -> None:
    """Connect, again and again where the queue is full; raises OSError."""
    while True:
        try:
            return sock.connect(path)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(FULL_SECONDS)
