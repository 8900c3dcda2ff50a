"""The sockets between the parent and its workers, both ends; the only user of ZeroMQ.

Rules: a ROUTER in the parent, on a private endpoint (folder of mode 0700), a DEALER in each worker;
the parent never waits; what a worker sends is never dropped because a buffer is full. The folder is
locked while its process lives, so that the next process can recognise the leftovers of a killed
one.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import math
import multiprocessing
import os
import shutil
import signal
import tempfile

import zmq

from tixd import errors, logs
from tixd.directory import lock
from tixd.jobs import Message
from tixd.pool.codec import Coded, decode, encode

#: How long a worker that ends waits for its last messages to reach the parent.
LINGER_MILLISECONDS = 2000

#: The parent's signal to its workers to open the log file anew. They block those of the service,
#: which `systemctl kill` sends to every process: they would act twice.
REOPEN_LOG = signal.SIGRTMIN + 1

#: The parent's signal to its workers to log debug events, or to stop that.
TOGGLE_DEBUG = signal.SIGRTMIN + 2

#: Endpoints whose file was removed that stay bound: to unbind one ends its connections.
MAX_LOST_ENDPOINTS = 8

#: How the names of the sockets' folders begin.
_PREFIX = "tixd-workers-"


class PoolSocket:
    """The parent's socket, one for all workers."""

    def __init__(self, runtime_folder: str = "") -> None:
        """Bind in the runtime folder, else ("": always) in that of temporary files.

        Raises CannotStart where neither can have a socket.
        """
        self._context = zmq.Context()
        self._folder = contextlib.ExitStack()
        self._runtime_folder = runtime_folder
        self._lost: list[str] = []
        try:
            self._socket = self._context.socket(zmq.ROUTER)
            self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            self._socket.setsockopt(zmq.LINGER, 0)
            self.endpoint = self._bind_anywhere()
            self.fd: int = self._socket.fileno()
        except (OSError, zmq.ZMQError) as error:
            self.close()
            raise errors.CannotStart(f"socket for the worker processes: {error}") from error

    def close(self) -> None:
        """Close it and remove its folder; harmless when repeated."""
        self._context.destroy(linger=0)
        self._folder.close()

    def is_reachable(self) -> bool:
        """Return whether new workers can find the socket: its folder can have been removed."""
        return os.path.exists(self.endpoint.removeprefix("ipc://"))

    def rebind(self) -> None:
        """Bind at another endpoint; connected workers stay connected, but for very old ones.

        Raises CannotStart where that is not possible.
        """
        self._lost.append(self.endpoint)
        lost_folder = self._folder
        with contextlib.suppress(OSError):
            os.mkdir(self._runtime_folder, 0o700)
        try:
            self.endpoint = self._bind_anywhere()
        except (OSError, zmq.ZMQError) as error:
            raise errors.CannotStart(f"socket for the worker processes: {error}") from error
        if len(self._lost) > MAX_LOST_ENDPOINTS:
            with contextlib.suppress(zmq.ZMQError):
                self._socket.unbind(self._lost.pop(0))
        lost_folder.close()

    def _bind_anywhere(self) -> str:
        """Bind, in the runtime folder if possible; return the endpoint."""
        if self._runtime_folder:
            _remove_leftovers(self._runtime_folder)
            with contextlib.suppress(OSError, zmq.ZMQError):
                return self._bind(self._runtime_folder)
        return self._bind(None)

    def _bind(self, parent: str | None) -> str:
        """Bind in a new locked folder in this one (None: that of temporary files)."""
        with contextlib.ExitStack() as folder:
            path = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
            folder.callback(shutil.rmtree, path, ignore_errors=True)
            folder.callback(os.close, _lock(path))
            self._socket.bind(f"ipc://{path}/jobs.sock")
            self._folder = folder.pop_all()
        return f"ipc://{path}/jobs.sock"

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._context.closed

    def send(self, identity: bytes, message: Message) -> bool:
        """Send to a worker; return False where it has ended or receives no more."""
        try:
            self._socket.send_multipart([identity, encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            logs.debug("worker_unreachable", worker=identity.decode(), reason=str(error))
            return False
        return True

    def receive(self) -> tuple[bytes, bytes] | None:
        """Return the next frame and the identity of its worker, None where there is none.

        `fd` becomes readable only when something changes: after that, and after every send, receive
        until there is none.
        """
        try:
            identity, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        return identity, b"".join(frames)


def _lock(path: str) -> int:
    """Return a descriptor that holds the folder's lock; raises OSError where it is locked."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not lock(fd):
            raise BlockingIOError(errno.EWOULDBLOCK, "locked by another process")
    except OSError:
        os.close(fd)
        raise
    return fd


def _remove_leftovers(runtime_folder: str) -> None:
    """Remove the folders of processes that were killed: those that are not locked."""
    for path in glob.glob(os.path.join(glob.escape(runtime_folder), f"{_PREFIX}*")):
        with contextlib.suppress(OSError):
            fd = _lock(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(fd)


class WorkerSocket:
    """A worker's socket."""

    def __init__(self, endpoint: str, identity: bytes, *fds: int) -> None:
        """Connect to the parent; wait() ends also when one of the descriptors is readable."""
        self._parent = multiprocessing.parent_process()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, identity)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.connect(endpoint)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        for fd in fds:
            self._poller.register(fd, zmq.POLLIN)
        if self._parent:
            self._poller.register(self._parent.sentinel, zmq.POLLIN)

    def close(self) -> None:
        """Close it, once the parent has received what was sent, if it still lives."""
        self._context.destroy(linger=0 if self.is_orphaned else LINGER_MILLISECONDS)

    @property
    def is_orphaned(self) -> bool:
        """Whether the parent has ended."""
        return self._parent is not None and os.getppid() != self._parent.pid

    def send(self, message: Message) -> None:
        """Send to the parent."""
        self._socket.send(encode(message))

    def wait(self, seconds: float | None) -> None:
        """Wait, for `seconds` or without limit, for a message, a descriptor or the parent's end.

        The end of the parent ends waits until `is_orphaned` says so, and one more: its sentinel
        stays readable, and is so a moment before the kernel gives this process another parent.
        """
        if self._parent and self.is_orphaned and self._parent.sentinel in self._poller:
            self._poller.unregister(self._parent.sentinel)
            return
        self._poller.poll(None if seconds is None else math.ceil(1000 * seconds))

    def receive(self) -> Coded | None:
        """Return the next message of the parent, None where there is none; raises BadMessage."""
        try:
            return decode(self._socket.recv(zmq.NOBLOCK))
        except zmq.Again:
            return None
