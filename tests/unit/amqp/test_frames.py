"""Frames of a published message: byte for byte those that pika makes."""

from __future__ import annotations

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec
from pika.exceptions import AMQPError

from tixd.amqp.frames import content_frames, publish_frame
from tixd.amqp.messages import Properties

SHORT = st.text(max_size=60)
MAX_BODY = 50


def pikas(
    channel: int, exchange: str, key: str, body: bytes, properties: Properties, *, mandatory: bool
) -> bytes:
    """The same frames from pika's own classes."""
    texts = ("content_type", "content_encoding", "correlation_id")
    texts += ("reply_to", "expiration", "message_id")
    made = pika.BasicProperties(
        headers=dict(properties.headers) or None,
        delivery_mode=2 if properties.persistent else 1,
        **{name: getattr(properties, name) or None for name in texts},
    )
    method = spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory)
    parts = [body[start : start + MAX_BODY] for start in range(0, len(body), MAX_BODY)]
    frames = [
        frame.Method(channel, method),
        frame.Header(channel, len(body), made),
        *(frame.Body(channel, part) for part in parts),
    ]
    return b"".join(each.marshal() for each in frames)


@given(
    channel=st.integers(1, 65535),
    exchange=SHORT,
    key=SHORT,
    mandatory=st.booleans(),
    body=st.binary(max_size=3 * MAX_BODY),
    properties=st.builds(
        Properties,
        content_type=SHORT,
        content_encoding=SHORT,
        headers=st.dictionaries(SHORT, SHORT | st.integers(-(2**31), 2**31) | st.booleans()),
        correlation_id=SHORT,
        reply_to=SHORT,
        expiration=SHORT,
        message_id=SHORT,
        persistent=st.booleans(),
    ),
)
def test_any_message_has_the_frames_that_pika_makes(
    channel, exchange, key, mandatory, body, properties
):
    made = publish_frame(channel, exchange, key, mandatory=mandatory)
    made += content_frames(channel, body, properties, MAX_BODY)
    assert made == pikas(channel, exchange, key, body, properties, mandatory=mandatory)


def test_a_text_that_is_too_long_for_amqp_is_an_error():
    with pytest.raises(AMQPError):
        content_frames(1, b"", Properties(message_id="x" * 256), MAX_BODY)
    with pytest.raises(AMQPError):
        publish_frame(1, "", "q" * 256, mandatory=True)
