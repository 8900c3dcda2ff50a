"""Brokers that speak Kafka's protocol: a real one, and librdkafka's mock with errors to order.

`with NoidaDb(tmp_path) as broker:` runs noida-db (PyPI) on 127.0.0.1 with its data below the
folder. `with MockCluster() as cluster:` is a cluster inside this process, reached over TCP.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.support import debian
from tests.support.program import freeze, until
from tests.support.stand_in_api import closed_port

#: Code of Produce in Kafka's protocol, and what a broker answers: a batch larger than the topic
#: takes; it has lost its place in the sequence of a producer, or the producer itself.
PRODUCE, TOO_LARGE, OUT_OF_ORDER, INVALID_EPOCH = 0, 10, 45, 47


class NoidaDb:
    """A real broker, to be killed, frozen, emptied and started again."""

    def __init__(self, folder: Path) -> None:
        self.port, self._data, self._folder = closed_port(), folder / "noida", folder
        try:
            package = Path(str(import_module("noida_db").__file__)).parent
        except ImportError:
            debian.cannot_run("no noida-db for this machine (PyPI)")
        self._program = package / "noida-db"
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What `kafka.brokers` says."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and go on once it takes connections."""
        options = ("--only", "kafka", "--kafka-port", str(self.port), "--data-dir", str(self._data))
        with (self._folder / "noida.log").open("ab") as log:
            command = (str(self._program), "start", *options)
            self._server = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._is_open)

    def _is_open(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """kill -9; it is gone after that."""
        if self._server:
            self._server.kill()
            self._server.wait(60)

    def freeze(self) -> None:
        """Stop it where it is: connections stay open and nothing answers."""
        assert self._server
        freeze(self._server.pid)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._server
        os.kill(self._server.pid, signal.SIGCONT)

    def empty(self) -> None:
        """Delete all that it has stored, while it does not run."""
        shutil.rmtree(self._data)


class MockCluster:
    """librdkafka's own cluster of one broker."""

    def __init__(self) -> None:
        (file,) = Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka.libs/librdkafka*")
        self._library = library = ctypes.CDLL(str(file))
        for name in ("conf_new", "new", "mock_cluster_new"):
            getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
        pointer, number = ctypes.c_void_p, ctypes.c_int
        library.rd_kafka_new.argtypes = [number, pointer, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_mock_cluster_new.argtypes = [pointer, number]
        library.rd_kafka_mock_cluster_destroy.argtypes = [pointer]
        library.rd_kafka_destroy.argtypes = [pointer]
        library.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        push = library.rd_kafka_mock_push_request_errors_array
        push.argtypes = [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(number)]

    def __enter__(self) -> Self:
        why, library = ctypes.create_string_buffer(512), self._library
        self._owner = library.rd_kafka_new(0, library.rd_kafka_conf_new(), why, 512)
        self._cluster = library.rd_kafka_mock_cluster_new(self._owner, 1)
        self.address = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        return self

    def __exit__(self, *_: object) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._owner)

    def answer_next(self, *codes: int, request: int = PRODUCE) -> None:
        """Have the next requests answered with these errors, one each."""
        errors = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, request, len(codes), errors
        )


def to_kafka(address: str, **changes: Any) -> dict[str, Any]:
    """The collector's settings for this broker."""
    kafka = {"enable": True, "brokers": address, "topic": "gracc"}
    return {"AMQP": {"enable": False}, "kafka": kafka, **changes}


def each_body(address: str) -> Iterator[bytes]:
    """Everything in the topic `gracc`, one message after the other."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "log_level": 0})
    try:
        numbers = consumer.list_topics("gracc", timeout=30).topics["gracc"].partitions
        parts = [TopicPartition("gracc", number, OFFSET_BEGINNING) for number in numbers]
        consumer.assign(parts)
        ends = sum(consumer.get_watermark_offsets(part, timeout=30)[1] for part in parts)
        yield from (message.value() for _ in range(ends) if (message := consumer.poll(30)))
    finally:
        consumer.close()


def identities(address: str) -> list[str]:
    """The records in the topic."""
    return [json.loads(body)["RecordId"] for body in each_body(address)]
