"""A role's HTTP address that another process has is had as soon as that one has gone."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.support.log_events import heard
from tests.support.stand_in_api import closed_port
from tixd import errors
from tixd.config.loader import load
from tixd.config.settings import Settings
from tixd.roles import processing
from tixd.roles.processing import ProcessingService


def service(**environ: str) -> ProcessingService:
    """A service that has not begun."""

    async def nothing(_: ProcessingService) -> None:
        return None

    return ProcessingService(load({}, environ, None), lambda: load({}, environ, None), nothing)


async def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def test_an_address_that_was_asked_for_and_is_taken_stops_the_start():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = service(TIX_HTTP_ADDRESS=address)
        with pytest.raises(errors.CannotStart, match="Address already in use") as caught:
            asyncio.run(refused.open_http())
    assert caught.value.exit_code == 3


def test_off_means_that_nobody_listens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processing, "serve", None)
    asyncio.run(service(TIX_HTTP_ADDRESS="off").open_http())


def test_the_usual_address_is_tried_again_by_whoever_takes_over(monkeypatch: pytest.MonkeyPatch):
    async def take_over(taken: Any, port: int) -> None:
        second = service()
        async with second.answering():
            await second.open_http()
            taken.close()
            assert not await is_open(port)
            await second.open_http()
            assert await is_open(port)
            await second.open_http()
        assert not await is_open(port)

    port = closed_port()  # or another process is given it meanwhile
    with socket.create_server(("127.0.0.1", port)) as taken, heard() as log:
        usual = property(lambda _: f"127.0.0.1:{port}")
        monkeypatch.setattr(Settings, "http_address_used", usual)
        asyncio.run(take_over(taken, port))
    assert log.events == [("warning", "http_address_not_available")]
