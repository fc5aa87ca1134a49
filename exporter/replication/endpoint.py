"""Takes what the other exporters tell: POST /api/replication, with the secret that all of them have."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from aiohttp import web

from exporter.registry.replication_log import Fact, ReplicationLog
from exporter.registry.state import State
from exporter.replication.message import MAX_BODY, Message, merge_fact, merge_gauge, merge_sketch, reply
from exporter.self_metrics import Metrics
from process.settings import Secret
from process.web import BodyError, bearer_matches, problem, read_body, refused

PATH = "/api/replication"
CONTENT_TYPE = "application/msgpack"
_DEADLINE = 10.0  # seconds for a body
_PER_TURN = 200  # facts or gauges merged before others have their turn; a sketch takes as long as a turn


class Endpoint:
    """Merges messages of peers into the present ``state``."""

    def __init__(
        self,
        boot: str,
        secret: Secret | None,
        state: Callable[[], State],
        metrics: Callable[[], Metrics],
        now: Callable[[], float],
        log: ReplicationLog,
        heard: Callable[[str], None],
    ) -> None:
        """``heard`` is told the boot of each message: a peer that could not be reached may be there again."""
        self._boot, self._secret, self._state, self._metrics, self._now = boot, secret, state, metrics, now
        self._log, self._heard = log, heard
        self._decode = msgspec.msgpack.Decoder(Message).decode

    async def handle(self, request: web.Request) -> web.Response:
        """Answer 200, 400, 401, 404 or 413; whoever lacks the secret is answered before a byte of the body is read."""
        if self._secret is None:
            return problem(404, "this exporter has no peers: set replicas in exporter.yml")
        if not bearer_matches(request, self._secret):
            self._metrics().received("unauthorized")
            return problem(401, "missing or wrong bearer token (expected the replicas.secret of exporter.yml)")
        try:
            message = self._decode(await read_body(request, MAX_BODY, _DEADLINE))
        except BodyError as error:
            self._metrics().received("invalid")
            return refused(error)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self._metrics().received("invalid")
            return problem(400, "not a message of an exporter of this version")
        if message.boot != self._boot:  # it may be among its own peers
            await self._merge(message)
            self._heard(message.boot)
        self._metrics().received("merged")
        body = msgspec.msgpack.encode(reply(self._boot, self._log, message.ask))
        return web.Response(body=body, content_type=CONTENT_TYPE)

    async def merge_facts(self, facts: Sequence[Fact]) -> None:
        """Take facts, and count the ids that both have counted."""
        now = self._now()
        for number, fact in enumerate(facts, 1):
            if merge_fact(self._state(), fact, now):
                self._metrics().counted_twice()
            await _others(number)

    async def _merge(self, message: Message) -> None:
        now = self._now()
        await self.merge_facts(message.facts)
        for number, gauge in enumerate(message.gauges, 1):
            merge_gauge(self._state(), gauge, now)
            await _others(number)
        for sketch in message.sketches:
            merge_sketch(self._state(), sketch, now)
            await asyncio.sleep(0)


async def _others(number: int) -> None:
    if number % _PER_TURN == 0:
        await asyncio.sleep(0)
