"""Takes what Slack sends over a connection that we open: Socket Mode, for sites without a public address.

docs.slack.dev/apis/events-api/using-socket-mode: apps.connections.open gives an address for one WebSocket; each
envelope is acknowledged by its id, within three seconds, with the answer in it.
"""

import asyncio
import logging
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from receiver.channels.base import Failure, SendError
from receiver.channels.slack_api import SlackApi
from receiver.store.base import StoreError
from receiver.web.slack_handler import SlackHandler
from receiver.web.slack_payload import Interaction, SlashCommand

log = logging.getLogger(__name__)

PERIOD = 30.0  # seconds between two looks at the connection
_PATIENCE = 10.0  # seconds for opening one
_LOST_AFTER = 2  # looks that find no connection, before a new one is made in place of the SDK's own attempts
_MOST = 1000  # envelopes that are remembered
_QUIET = logging.getLogger(f"{__name__}.sdk")  # its messages carry the address, which lets anybody in
_QUIET.disabled = True

Take = dict[str, object]


class SocketError(SendError):
    """There is no connection to Slack."""


class _Client(SocketModeClient):
    """The SDK's client, which asks us for an address: a token that Slack refuses ends it, and is not tried for ever."""

    def __init__(self, api: SlackApi, heartbeat: float) -> None:
        super().__init__(app_token="", logger=_QUIET, ping_interval=heartbeat)
        self._api = api

    async def issue_new_wss_url(self) -> str:
        try:
            answer = await self._api.call("apps.connections.open", {}, asyncio.get_running_loop().time() + _PATIENCE)
        except SendError as error:
            self.closed = self.closed or error.permanent
            raise
        return str(answer.get("url") or "")


class SlackSocket:
    """Keeps one connection. ``run_once`` looks after it, ``close`` ends it."""

    def __init__(
        self, handler: SlackHandler, api: SlackApi, registry: CollectorRegistry, heartbeat: float = 5.0
    ) -> None:
        self._handler, self._api, self._heartbeat = handler, api, heartbeat
        self._client: _Client | None = None
        self._lost = 0
        self._taken: dict[str, None] = {}
        text = "1 while Slack can reach us by Socket Mode."
        self._connected = Gauge("receiver_slack_socket_connected", text, registry=registry)
        text = "Failures to connect to Slack by Socket Mode, by reason."
        self._failures = Counter("receiver_slack_socket_failures", text, ["reason"], registry=registry)
        for reason in Failure:
            self._failures.labels(reason.value)

    async def run_once(self) -> None:
        """Make sure that there is a connection; SocketError says why there is none."""
        client = self._client
        if client is not None and not client.closed:
            is_there = await client.is_connected()
            self._connected.set(is_there)
            self._lost = 0 if is_there else self._lost + 1
            if self._lost < _LOST_AFTER:
                return
        await self.close()
        try:
            await self._connect()
        except SendError as error:
            self._failed(error.reason, str(error))
            raise SocketError(str(error), error.reason, permanent=error.permanent) from None
        except TimeoutError:
            self._failed(Failure.TIMEOUT, "no answer in time")
            raise SocketError("no answer in time", Failure.TIMEOUT) from None

    def _failed(self, reason: Failure, text: str) -> None:
        self._failures.labels(reason.value).inc()
        fix = "; check channels.slack.socket_mode.app_token" if reason is Failure.AUTH else ""
        log.error("no Socket Mode, so nobody can answer in Slack: %s%s", text, fix)

    async def _connect(self) -> None:
        client = _Client(self._api, self._heartbeat)
        client.socket_mode_request_listeners.append(self._take)
        try:
            client.wss_uri = await client.issue_new_wss_url()
            async with asyncio.timeout(_PATIENCE):
                await client.connect()  # type: ignore[no-untyped-call]  # it tries until it works
        except BaseException:
            await client.close()  # type: ignore[no-untyped-call]
            raise
        self._client, self._lost = client, 0
        self._connected.set(1)
        log.info("connected to Slack by Socket Mode")

    async def close(self) -> None:
        """End the connection; what was taken goes on."""
        client, self._client = self._client, None
        self._connected.set(0)
        if client is not None:
            await client.close()  # type: ignore[no-untyped-call]

    async def _take(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        """Handle one envelope, and acknowledge it once what it wants is on the disk."""
        number = str(request.envelope_id)[:100]
        try:
            content = {} if number in self._taken else await self._handled(request.type, request.payload)
        except StoreError:
            return  # nothing has happened, and nobody could be told: Slack shows that it failed
        self._remember(number)
        await client.send_socket_mode_response(SocketModeResponse(number, content or None))

    def _remember(self, number: str) -> None:
        while len(self._taken) >= _MOST:
            del self._taken[next(iter(self._taken))]
        self._taken[number] = None

    async def _handled(self, kind: str, payload: dict[str, Any]) -> Take:
        try:
            if kind == "interactive":
                return await self._handler.interaction(msgspec.convert(payload, Interaction))
            if kind == "slash_commands":
                return await self._handler.command(msgspec.convert(payload, SlashCommand))
        except (msgspec.ValidationError, RecursionError):
            self._handler.refused()
        return {}
