"""The line between the parent and its workers, both ends; the only user of ZeroMQ.

In and out: messages of `job.py`. Rules: a ROUTER at the parent's end, on a private endpoint (folder
of mode 0700), a DEALER at each worker's; every send says at once whether it could be done; what a
worker says is never dropped for want of room, one job's words are few. The folder is locked as long
as its process lives, so that whoever comes next can tell what a killed one has left.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import multiprocessing
import os
import shutil
import signal
import tempfile

import zmq

from tixd import errors, logs
from tixd.jobs import Message, Phase
from tixd.pool.codec import decode, encode

#: How long a worker that ends waits for its last words to reach the parent.
LINGER_MILLISECONDS = 2000

#: Signals of the parent to its workers, which are deaf to those of the service: `systemctl kill`
#: sends these to every process, and what the parent passes on would be heard twice.
REOPEN_LOG, TOGGLE_DEBUG = signal.SIGRTMIN + 1, signal.SIGRTMIN + 2

#: How the names of the sockets' folders begin.
_PREFIX = "tixd-workers-"


class PoolSocket:
    """The parent's end, one for all workers; never waits."""

    def __init__(self, runtime_folder: str = "") -> None:
        """Open it in the runtime folder, else ("": always) in that of temporary files.

        Raises CannotStart where neither has room for the socket.
        """
        self._context, self._opened = zmq.Context(), contextlib.ExitStack()
        try:
            self._socket = self._context.socket(zmq.ROUTER)
            self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._runtime_folder = runtime_folder
            self.endpoint = self._bound(runtime_folder)
            self.fd: int = self._socket.fileno()
        except (OSError, zmq.ZMQError) as error:
            self.close()
            raise errors.CannotStart(f"socket for the worker processes: {error}") from error

    def close(self) -> None:
        """Close it and remove its folder; once is enough."""
        self._context.destroy(linger=0)
        self._opened.close()

    def is_there(self) -> bool:
        """Whether workers that start can find the socket; somebody may have removed its folder."""
        return os.path.exists(self.endpoint.removeprefix("ipc://"))

    def renew(self) -> None:
        """Bind anew, at another endpoint; workers that are connected stay so.

        Raises CannotStart where there is no room for a socket any more.
        """
        lost, opened = self.endpoint, self._opened
        with contextlib.suppress(OSError):
            os.mkdir(self._runtime_folder, 0o700)
        try:
            self.endpoint = self._bound(self._runtime_folder)
        except (OSError, zmq.ZMQError) as error:
            raise errors.CannotStart(f"socket for the worker processes: {error}") from error
        with contextlib.suppress(zmq.ZMQError):
            self._socket.unbind(lost)
        opened.close()

    def _bound(self, runtime_folder: str) -> str:
        """The endpoint, in the runtime folder if that can be; raises OSError or ZMQError."""
        if runtime_folder:
            _remove_leftovers(runtime_folder)
            with contextlib.suppress(OSError, zmq.ZMQError):
                return self._bind(runtime_folder)
        return self._bind(None)

    def _bind(self, folder: str | None) -> str:
        """Bind in a new folder in this one (None: that of temporary files), which is locked."""
        with contextlib.ExitStack() as opened:
            path = tempfile.mkdtemp(prefix=_PREFIX, dir=folder)
            opened.callback(shutil.rmtree, path, ignore_errors=True)
            opened.callback(os.close, _locked(path))
            self._socket.bind(f"ipc://{path}/jobs.sock")
            self._opened = opened.pop_all()
        return f"ipc://{path}/jobs.sock"

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._context.closed

    def send(self, identity: bytes, message: Message) -> bool:
        """Send to the worker of this identity; False where there is none or it has no room."""
        try:
            self._socket.send_multipart([identity, encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            logs.debug("worker_unreachable", worker=identity.decode(), reason=str(error))
            return False
        return True

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next message that is there, with who sent it; None: there is none.

        The descriptor `fd` only tells of changes: after it has, and after every send, receive until
        there is none.
        """
        try:
            identity, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        return identity, b"".join(frames)


def _locked(path: str) -> int:
    """A descriptor that holds the folder's lock; raises OSError where another one does."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _remove_leftovers(runtime_folder: str) -> None:
    """Remove the folders of processes that were killed: those that nobody holds the lock of."""
    for path in glob.glob(os.path.join(glob.escape(runtime_folder), f"{_PREFIX}*")):
        with contextlib.suppress(OSError):
            fd = _locked(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(fd)


class WorkerSocket:
    """A worker's end.

    careful: every Phase waits until the parent has it; ZeroMQ sends from a thread of its own, and a
    worker that crashes at once takes with it what has not been sent.
    """

    def __init__(self, endpoint: str, identity: bytes, signals_fd: int) -> None:
        """signals_fd: can be read when a signal has come."""
        self.careful = False
        self._parent = multiprocessing.parent_process()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, identity)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.connect(endpoint)
        self._parents, self._all = zmq.Poller(), zmq.Poller()
        self._all.register(signals_fd, zmq.POLLIN)
        for poller in (self._parents, self._all):
            poller.register(self._socket, zmq.POLLIN)
            if self._parent:
                poller.register(self._parent.sentinel, zmq.POLLIN)

    def close(self) -> None:
        """Close it, once the parent has what was said, if there still is one."""
        self._context.destroy(linger=0 if self.cut else LINGER_MILLISECONDS)

    @property
    def cut(self) -> bool:
        """Whether the parent is no more."""
        return self._parent is not None and os.getppid() != self._parent.pid

    def say(self, message: Message) -> None:
        """Send to the parent."""
        self._socket.send(encode(message))
        if self.careful and isinstance(message, Phase):
            self._parents.poll()
            self.hear()

    def wait(self) -> None:
        """Wait until the parent has said something, or is no more, or a signal has come."""
        self._all.poll()

    def hear(self) -> Message | None:
        """What the parent has said; None where it has not."""
        try:
            return decode(self._socket.recv(zmq.NOBLOCK))
        except zmq.Again:
            return None
