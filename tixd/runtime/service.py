"""How a running role is seen from outside: HTTP, control socket, systemd, metrics.

In: the settings, what the process was told by its environment, a function that gives a Snapshot.
Out: answers to whoever asks. Rules: a role that cannot be seen works all the same, but for an HTTP
address that the operator asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tixd import errors, logs
from tixd.config.loader import ProcessingConfig
from tixd.runtime import control_server, http_server
from tixd.runtime.metrics import Metrics
from tixd.runtime.status import Snapshot
from tixd.runtime.systemd import Notifier

#: What to do where the address is taken.
_ADVICE = "; if another tixd runs here, give this one another TIX_HTTP_ADDRESS, or off"


class Presence:
    """The outside of one role."""

    def __init__(self, loaded: ProcessingConfig, snapshot: Callable[[], Snapshot]) -> None:
        self.metrics = Metrics()
        self.systemd = Notifier(loaded.surroundings.notify_socket)
        self._settings, self._around = loaded.settings, loaded.surroundings
        self._snapshot = snapshot
        self._listener: http_server.Listener | None = None
        self._told = False
        self._control: control_server.ControlSocket | None = None

    async def start(self) -> None:
        """Answer HTTP, unless it is done already: whoever had the address may have gone.

        Raises CannotStart where an address that was asked for cannot be had; the usual one that is
        taken is told once.
        """
        address = self._settings.http_address_used
        try:
            if self._listener is None and address != "off":
                sockets = await http_server.bound_or_refused(address, _ADVICE)
                self._listener = await http_server.serve(sockets, self._routes())
        except errors.CannotStart as error:
            if self._settings.http_address:
                raise
            if not self._told:
                logs.warning("http_address_not_available", address=address, reason=error.detail)
            self._told = True

    def _routes(self) -> http_server.Routes:
        return http_server.health_routes(
            lambda: self._snapshot().not_ready(), lambda: self.metrics.text(self._snapshot())
        )

    async def answer(
        self, commands: Mapping[str, control_server.Command], *, standby: bool
    ) -> None:
        """Answer `tixd status` and its like with these from now on."""
        await self._stop_answering()
        self._control = await control_server.listen(
            self._around, self._settings.role, commands, standby=standby
        )

    async def _stop_answering(self) -> None:
        if self._control:
            await self._control.stop()
            self._control = None

    async def stop(self) -> None:
        """Be seen no more."""
        await self._stop_answering()
        if self._listener:
            await self._listener.stop()
