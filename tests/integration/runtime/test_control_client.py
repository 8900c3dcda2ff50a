"""Answers of somebody who means harm: root asks the sockets of users that are not root."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from tixd import errors
from tixd.config.environment import Environment
from tixd.runtime import control


@contextlib.contextmanager
def answering(folder: Path, answer: Callable[[socket.socket], object]) -> Iterator[Environment]:
    """A control socket whose owner answers one request like this."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "standalone.sock"))
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                peer.recv(4096)
                answer(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Environment((str(folder),), (), "", "")
        thread.join(60)
    assert not thread.is_alive()


def response(body: object, status: str = "200 OK") -> bytes:
    """An HTTP response with this JSON, or this text."""
    sent = body.encode() if isinstance(body, str) else orjson.dumps(body)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(sent)}\r\n\r\n".encode() + sent


def without_end(piece: bytes, pause: threading.Event) -> Callable[[socket.socket], None]:
    """An answer that goes on as long as somebody listens, or until `pause` is set."""

    def answer(peer: socket.socket) -> None:
        while not pause.wait(0.01 * (len(piece) == 1)):
            peer.sendall(piece)

    return answer


def test_what_a_terminal_would_obey_is_not_passed_on(tmp_path):
    odd = response({"leader": "\x1b[2J\n\u202eready", "workers": [{"job": "\x07"}]})
    with answering(tmp_path, lambda peer: peer.sendall(odd)) as environment:
        (heard,) = control.ask_all(environment, "", "GET /status", 60)
    assert heard == {"leader": "?[2J??ready", "workers": [{"job": "?"}]}


def test_an_error_is_one_line(tmp_path):
    odd = response("\x1b]0;x\x07\nready", "400 Bad Request")
    said = pytest.raises(errors.NotDone, match=r"^\?\]0;x\?\?ready")
    with answering(tmp_path, lambda peer: peer.sendall(odd)) as environment, said:
        control.ask_all(environment, "", "GET /status", 60)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "no answer"),
        (b'{"answer": {}}\n', "not this version of tixd"),
        (b"\xff" * 5000, "not this version of tixd"),
        (response({})[:-1], "not this version of tixd"),
        (response("a page"), "not this version of tixd"),
        (response("", "418 Teapot"), "HTTP status 418"),
    ],
)
def test_a_foreign_answer_is_told_in_plain_words(tmp_path, answer, words):
    def send(peer: socket.socket) -> None:
        peer.sendall(answer)

    with answering(tmp_path, send) as environment, pytest.raises(errors.NotDone, match=words):
        control.ask_all(environment, "", "GET /status", 60)


def test_an_answer_without_end_is_given_up_at_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "MAX_ANSWER_BYTES", 2**20)
    endless = without_end(b"x" * 65536, threading.Event())
    refused = pytest.raises(errors.NotDone, match="not this version of tixd")
    with answering(tmp_path, endless) as environment, refused:
        control.ask_all(environment, "", "GET /status", 60)


@pytest.mark.alone
def test_an_answer_byte_by_byte_is_given_up_when_its_time_is_over(tmp_path):
    over = threading.Event()
    with answering(tmp_path, without_end(b" ", over)) as environment:
        begun = time.monotonic()
        with pytest.raises(errors.NotRunning, match="timed out"):
            control.ask_all(environment, "", "GET /status", 0.3)
        over.set()
    assert time.monotonic() - begun < 4
