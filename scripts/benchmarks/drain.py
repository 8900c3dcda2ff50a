"""Drains a queue as the consumer behind the collector does: `python drain.py PORT QUEUE`."""

from __future__ import annotations

import sys

import pika


def main() -> None:
    """Take messages until told to end."""
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", int(sys.argv[1])))
    channel = connection.channel()
    channel.basic_consume(sys.argv[2], lambda *_: None, auto_ack=True)
    channel.start_consuming()


if __name__ == "__main__":
    main()
