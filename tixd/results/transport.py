"""One HTTP request to the tix-api and its response; the only user of urllib3.

Rules: one try, no redirects, kept-alive connections, not reused after 5 s; a failure of the tix-api
or the network is a PostOutcome, not an exception. Several threads may exchange at a time. After a
connection that breaks before the response it is unknown whether the result was stored: it is not
sent again here but counts as failed. Interim responses (1xx) do not count. The status decides, even
if the body breaks off. No message shows a password.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from tixd import errors
from tixd.config.fields import Secret
from tixd.config.settings import Settings
from tixd.results.response import Cause, PostOutcome, Request, of_status


def basic_auth(user: str, password: str) -> str:
    """Encode credentials as the tix-api decodes them, in UTF-8.

    >>> basic_auth("tix", "secret")
    'Basic dGl4OnNlY3JldA=='
    """
    encoded = f"{user}:{password}".encode("utf-8", "surrogateescape")
    return "Basic " + base64.b64encode(encoded).decode()


def proxy(setting: Secret) -> tuple[str, dict[str, str]]:
    """Split the setting into the proxy's URL and the headers with its credentials.

    Raises ConfigError where it is not such a URL.
    """
    text = setting.reveal()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise errors.ConfigError("api.proxy is not a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise errors.ConfigError("api.proxy is not an http:// or https:// URL")
    url = f"{parts.scheme}://{_in_url(host)}" + ("" if port is None else f":{port}")
    if parts.username is None:
        return url, {}
    secret = basic_auth(unquote(parts.username), unquote(parts.password or ""))
    return url, {"Proxy-Authorization": secret}


def ssl_context(ca_bundle: str) -> ssl.SSLContext:
    """Trust the certificates in a file or folder; empty: the system's.

    Raises ConfigError where they cannot be used.
    """
    try:
        if os.path.isdir(ca_bundle):
            return ssl.create_default_context(capath=ca_bundle)
        return ssl.create_default_context(cafile=ca_bundle or None)
    except OSError as error:
        raise errors.ConfigError(f"api.ca_bundle {ca_bundle}: {error.strerror}") from error


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


#: A kept-alive connection that is idle for longer may be closed by the server at any moment.
MAX_IDLE_SECONDS = 5.0

#: At most this much of a body is read; the tix-api answers with some hundred bytes.
MAX_BODY_BYTES = 64 * 2**10

#: At most this many interim responses (1xx) may come before the final one.
MAX_INTERIM = 100

#: What broke before the request was sent; the first match counts: some are kinds of a later one.
_CAUSES: tuple[tuple[type[Exception], Cause], ...] = (
    (ProxyError, "proxy"),
    (NameResolutionError, "name"),
    (NewConnectionError, "connect"),
    (ConnectTimeoutError, "connect_time"),
    (SSLError, "tls"),
)

#: Reasons for operators: urllib3's texts contain addresses and names of objects.
REASONS: Mapping[Cause, str] = MappingProxyType(
    {
        "proxy": "the proxy does not let it through",
        "name": "the host name is not known",
        "connect": "no connection",
        "connect_time": "no connection in time",
        "tls": "TLS failed",
        "setup": "the connection broke before the request",
        "setup_time": "no answer in time, before the request",
        "silent": "no answer in time",
        "late": "no answer before the deadline",
        "cut": "the connection broke before the answer",
        "idle": "the connection broke before the answer",
    }
)


class Attempt:
    """One request in progress: its state, and how to abort it from another thread."""

    def __init__(self, now: float = 0.0) -> None:
        """now: when it began, by the clock of the transport."""
        self.began = now
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_aborted = False
        self._is_over = False
        #: Whether its connection was kept from an earlier request.
        self.kept = False
        #: Whether the whole request has been sent.
        self.sent = False
        #: The outcome by the status of the response, as soon as that is known.
        self.answer: PostOutcome | None = None
        #: Reads the response; keeps the socket open, which urllib3 may forget.
        self.response: http.client.HTTPResponse | None = None

    def use_socket(self, sock: socket.socket) -> None:
        """Note the socket of the request; a duplicate is kept, because TLS replaces the object."""
        with self._lock:
            if self._socket is None:
                self._socket = socket.socket(fileno=os.dup(sock.fileno()))
            if self._is_aborted:
                self._socket.shutdown(socket.SHUT_RDWR)

    def abort(self) -> PostOutcome | None:
        """Break the connection, now or once there is one, and return the outcome.

        None where the attempt is over: then its thread has the outcome.
        """
        with self._lock:
            if self._is_over:
                return None
            self._is_aborted = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        return self.answer or _failure("late" if self.sent else "connect_time")

    def end(self) -> bool:
        """Close the duplicate, the connection stays as it is; return False where it was aborted."""
        with self._lock:
            self._is_over = True
            if self._socket is not None:
                self._socket.close()
            return not self._is_aborted

    def drop_response(self) -> None:
        """Close what reads the response."""
        if self.response is not None:
            self.response.close()


class _Current(threading.local):
    """The current attempt of a thread: urllib3 does not pass it to its connections."""

    attempt = Attempt()


#: The connections of this module report to it.
_CURRENT = _Current()


class _FinalResponse(http.client.HTTPResponse):
    """A response whose status is final: interim ones (1xx) before it are dropped, if few."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200:
                _note_status(status, None)
                return version, status, reason
            if status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.UnknownProtocol(f"{status}, which was not requested")
            http.client.parse_headers(self.fp)
        raise http.client.UnknownProtocol(f"more than {MAX_INTERIM} interim responses")

    def begin(self) -> None:
        """Read status and headers; from now on the outcome is known, whatever follows."""
        _CURRENT.attempt.response = self
        super().begin()
        _note_status(self.status, self.headers.get("Retry-After"))


def _note_status(status: int, retry_after: str | None) -> None:
    """Note the outcome by the status; before the request was sent it is that of a proxy."""
    if _CURRENT.attempt.sent:
        _CURRENT.attempt.answer = of_status(status, retry_after, time.time())


class _TrackedConnection(HTTPConnection):
    """A connection that reports its socket and its state to the attempt."""

    response_class = _FinalResponse

    #: When the attempt began that used it last.
    used_at = float("-inf")

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _CURRENT.attempt.use_socket(sock)
        return sock

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request, over a new connection or a kept one."""
        if self.sock is not None:
            _CURRENT.attempt.use_socket(self.sock)
        super().request(*args, **options)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        """Wait for the response to a request that has been sent."""
        _CURRENT.attempt.sent = True
        return super().getresponse()


class _TrackedTlsConnection(_TrackedConnection, HTTPSConnection):
    """The same with TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _TrackedConnection

    def _get_conn(self, timeout: float | None = None) -> Any:
        """Return a connection; one that was idle for long is closed first, so it connects anew."""
        connection: Any = super()._get_conn(timeout)
        attempt = _CURRENT.attempt
        if attempt.began - connection.used_at > MAX_IDLE_SECONDS:
            connection.close()
        attempt.kept = connection.sock is not None
        connection.used_at = attempt.began
        return connection


class _TlsPool(_Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _TrackedTlsConnection


class Transport:
    """Sends requests over at most as many kept connections; to be closed."""

    def __init__(self, settings: Settings, connections: int) -> None:
        """Make it without connecting.

        Raises errors.ConfigError where certificates or proxy cannot be used.
        """
        self._timeout = urllib3.Timeout(
            connect=settings.api_connect_seconds, read=settings.api_read_seconds
        )
        self._base_url = settings.api_base_url
        self._is_proxied = bool(settings.api_proxy)
        self._connections = _connections(settings, connections)
        #: The tix-api's own pool, except with a proxy: a look-up costs a quarter of a post.
        self._pool: urllib3.PoolManager | urllib3.HTTPConnectionPool = (
            self._connections
            if self._is_proxied
            else self._connections.connection_from_url(self._base_url)
        )

    def close(self) -> None:
        """Close the kept connections."""
        self._connections.clear()

    def exchange(self, attempt: Attempt, request: Request) -> PostOutcome:
        """Send once and wait for the response.

        Raises MemoryError or RuntimeError where the process lacks memory or threads.
        """
        _CURRENT.attempt = attempt
        try:
            return self._exchange(attempt, request)
        except (HTTPError, OSError) as error:
            return attempt.answer or _failure(_cause(error, attempt), error)

    def _exchange(self, attempt: Attempt, request: Request) -> PostOutcome:
        try:
            response = self._pool.urlopen(
                "GET" if request.body is None else "POST",
                self._base_url + request.path if self._is_proxied else request.path,
                redirect=False,
                body=request.body,
                headers=request.headers,
                timeout=self._timeout,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            body = _read_body(response)
        except Exception as error:  # a malformed response makes libraries raise anything
            attempt.drop_response()
            lacks_resources = attempt.answer is None and isinstance(
                error, MemoryError | RuntimeError
            )
            if lacks_resources or isinstance(error, HTTPError | OSError):
                raise
            raise HTTPError("a malformed response") from error
        return replace(attempt.answer or _failure("cut"), body=body)


def _read_body(response: urllib3.BaseHTTPResponse) -> bytes:
    """Return the beginning of the body; only if that was all, the connection is kept."""
    content = b""
    with contextlib.suppress(Exception):
        content = response.read(MAX_BODY_BYTES + 1)
        if len(content) <= MAX_BODY_BYTES:
            response.release_conn()
            return content
    response.close()
    return content[:MAX_BODY_BYTES]


def _cause(error: Exception, attempt: Attempt) -> Cause:
    """Return what broke: before the request was sent the connection, after it the answer."""
    if attempt.sent:
        if isinstance(error, ReadTimeoutError):
            return "silent"
        return "idle" if attempt.kept else "cut"
    if isinstance(error, ReadTimeoutError):
        return "setup_time"
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), "setup")


def _failure(cause: Cause, error: Exception | None = None) -> PostOutcome:
    """Return the outcome without an answer, with the message of the system or of TLS."""
    candidates = (error.__cause__, *error.args) if error else ()
    system = next((c for c in candidates if isinstance(c, OSError)), None)
    detail = getattr(system, "verify_message", "") or getattr(system, "strerror", "")
    words = REASONS[cause]
    return PostOutcome("later", f"{words}: {detail}" if detail else words, cause=cause)


def _connections(settings: Settings, most: int) -> urllib3.PoolManager:
    """Return a pool that keeps as many connections: to the tix-api, or to the proxy before it."""
    trusted = (
        ssl_context(settings.api_ca_bundle) if settings.api_ssl or settings.api_proxy else None
    )
    if settings.api_proxy:
        url, headers = proxy(settings.api_proxy)
        manager: urllib3.PoolManager = urllib3.ProxyManager(
            url,
            num_pools=1,
            maxsize=most,
            proxy_headers=headers,
            proxy_ssl_context=trusted,
            ssl_context=trusted,
        )
    else:
        manager = urllib3.PoolManager(num_pools=1, maxsize=most, ssl_context=trusted)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager
