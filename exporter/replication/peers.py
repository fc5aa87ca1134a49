"""Tells each peer what it has not heard yet: ids at once, sketches and gauges every few seconds.

Nothing waits for a peer but its own task: a dead or slow one changes nothing for senders, scrapes and the other peers.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import aiohttp
import msgspec

from exporter.registry.replication_log import Fact, ReplicationLog
from exporter.registry.state import State
from exporter.replication.endpoint import CONTENT_TYPE, PATH
from exporter.replication.message import MAX_BODY, Message, Reply
from exporter.replication.progress import Draft, Progress
from exporter.self_metrics import Metrics
from process.settings import Secret

log = logging.getLogger("exporter.replication")

_GATHER = 0.02  # seconds between two messages to a peer, at least: ids that come meanwhile share the next one
_OFTEN = 1.0  # seconds after which facts of browsers are told
_WARN_EVERY = 300.0  # seconds
_CATCH_UP = 5.0  # seconds in which a new start asks the others for what they have counted meanwhile
_AGAIN = 0.1  # seconds between two tries of a peer that fails, at least
_LAST_WORDS = 2.0  # seconds for what is left to tell when the process ends


class Peer:
    """One peer: its address, what it knows, and whether the last message reached it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.progress = Progress()
        self.news, self.retry = asyncio.Event(), asyncio.Event()
        self.boot = ""
        self.is_self = False
        self.is_reachable: bool | None = None
        self.failures = 0
        self.whole_at = 0.0
        self.warned_at = float("-inf")


class Others(NamedTuple):
    """Where the peers are, and how they are told; ``every`` and ``timeout`` are in seconds."""

    urls: Sequence[str]
    secret: Secret | None
    boot: str
    every: float = 10.0
    timeout: float = 2.0
    ca: ssl.SSLContext | None = None


class Peers:
    """All peers of this exporter; ``run`` never ends by itself."""

    def __init__(
        self,
        others: Others,
        facts: ReplicationLog,
        state: Callable[[], State],
        metrics: Callable[[], Metrics],
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._peers = [Peer(url.rstrip("/")) for url in others.urls]
        self._others, self._facts, self._state, self._metrics = others, facts, state, metrics
        self._now, self._monotonic = now, monotonic
        self._timeout = aiohttp.ClientTimeout(total=others.timeout)
        self._session: aiohttp.ClientSession | None = None
        if self._peers:
            facts.changed = self._wake

    def _wake(self) -> None:
        for peer in self._peers:
            peer.news.set()

    def heard(self, boot: str) -> None:
        """Try at once the peer that has just said something, if it could not be reached; all, if it has restarted."""
        is_new = all(peer.boot != boot for peer in self._peers)
        for peer in self._peers:
            if peer.failures and (is_new or peer.boot == boot):
                peer.retry.set()

    async def catch_up(self, merge: Callable[[Sequence[Fact]], Awaitable[None]]) -> None:
        """Before the start, ask the peers that are there for the ids that they know, for a short time."""
        if not self._peers:
            return
        async with self._connected() as session:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CATCH_UP):
                    await asyncio.gather(*(self._ask(session, peer, merge) for peer in self._peers))

    async def _ask(
        self, session: aiohttp.ClientSession, peer: Peer, merge: Callable[[Sequence[Fact]], Awaitable[None]]
    ) -> None:
        position, more = (0, 0), True
        while more:
            message = Message(boot=self._others.boot, ask=position)
            outcome, reply = await self._post(session, peer.url, msgspec.msgpack.encode(message))
            self._metrics().sent(outcome)
            if reply is None:
                return
            await merge(reply.facts)
            position, more = reply.end, reply.more

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(ssl=self._others.ca or True, limit_per_host=1)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield session

    async def run(self) -> None:
        """Tell the peers until it is cancelled; then what is left, for a short time."""
        async with self._connected() as session:
            self._session = session
            try:
                async with asyncio.TaskGroup() as group:
                    for peer in self._peers:
                        group.create_task(self._keep_told(peer))
                    await asyncio.Event().wait()
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_WORDS):
                        await asyncio.gather(*(self._finish(peer) for peer in self._peers))

    def forget(self) -> None:
        """Say nothing more when it ends, as after a failure of the disk: what was not synced may be lost."""
        self._peers.clear()

    async def _keep_told(self, peer: Peer) -> None:
        while not peer.is_self:
            await self._wait(peer)
            await self._tell(peer)
            await asyncio.sleep(_AGAIN if peer.failures else _GATHER)

    async def _wait(self, peer: Peer) -> None:
        """Wait until there is something to tell; after a failure, until it is time or the peer may be there again."""
        pause = min(self._others.every, 2.0 ** (peer.failures - 1)) if peer.failures else _OFTEN
        with suppress(TimeoutError):
            await asyncio.wait_for((peer.retry if peer.failures else peer.news).wait(), pause)
        peer.news.clear()
        peer.retry.clear()

    async def _finish(self, peer: Peer) -> None:
        if peer.is_reachable and not peer.is_self:
            peer.whole_at = 0.0
            await self._tell(peer)

    async def _tell(self, peer: Peer) -> None:
        """Send messages until the peer knows all, or one fails."""
        more = True
        while more and not peer.is_self:
            whole = self._monotonic() >= peer.whole_at
            draft = peer.progress.draft(self._state(), self._facts, self._others.boot, whole=whole)
            if draft.is_empty and not whole:
                return
            more = await self._send(peer, draft) and draft.more
            if whole and not more and not peer.failures:
                peer.whole_at = self._monotonic() + self._others.every

    async def _send(self, peer: Peer, draft: Draft) -> bool:
        """Send a message; whether the peer has taken it."""
        assert self._session is not None  # noqa: S101  # only ``run`` comes here
        outcome, reply = await self._post(self._session, peer.url, draft.body)
        self._metrics().sent(outcome)
        peer.is_reachable = reply is not None
        self._show()
        if reply is None:
            peer.failures += 1
            self._warn(peer, outcome)
            return False
        peer.failures = 0
        peer.is_self = reply.boot == self._others.boot
        peer.progress.told(draft)
        if peer.boot not in {"", reply.boot}:
            peer.progress.forget()
            peer.whole_at = 0.0
            peer.news.set()
        peer.boot = reply.boot
        if peer.is_self:
            self._show()
        return True

    async def _post(self, session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[str, Reply | None]:
        """Post once; redirects are not followed, as the secret goes with each request."""
        secret = self._others.secret.reveal() if self._others.secret else ""
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": CONTENT_TYPE}
        try:
            async with session.post(
                f"{url}{PATH}", data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as answer:
                if answer.status != 200:  # noqa: PLR2004
                    return "refused", None
                return "ok", msgspec.msgpack.decode(await _read(answer), type=Reply)
        except TimeoutError:
            return "timeout", None
        except (aiohttp.ClientError, OSError):
            return "unreachable", None
        except (msgspec.MsgspecError, ValueError):
            return "refused", None

    def _show(self) -> None:
        others = [peer for peer in self._peers if not peer.is_self]
        for state, wanted in (("reachable", True), ("unreachable", False)):
            number = sum(peer.is_reachable is wanted for peer in others)
            self._metrics().gauge("exporter_peers", number, self._now(), state)

    def _warn(self, peer: Peer, outcome: str) -> None:
        now = self._monotonic()
        if now - peer.warned_at >= _WARN_EVERY:
            peer.warned_at = now
            log.warning("peer %s: %s", peer.url, _MEANING[outcome])


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Read an answer up to the bound; more is no answer of an exporter."""
    raw = bytearray()
    async for piece in answer.content.iter_chunked(65536):
        raw += piece
        if len(raw) > MAX_BODY:
            raise ValueError("too large")
    return bytes(raw)


_MEANING = {
    "refused": "it refused; it is stopping, or has another secret, or is no exporter of this version",
    "timeout": "no answer in time",
    "unreachable": "cannot connect",
}
