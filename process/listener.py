"""Accepts connections for an aiohttp server, never more than the process can hold, and ends those that send nothing.

Whoever opens connections and sends half a header costs one of a few hundred file descriptors. asyncio's own servers
accept until there are none left, and then log an error for each further try. Here a new connection always gets in: at
the limit it takes the place of one from the peer that has most, and peers that have shown a token or password keep a
share for themselves.
"""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar, copy_context
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

log = logging.getLogger(__name__)


class _ServerLog(logging.LoggerAdapter[logging.Logger]):
    """What aiohttp logs. Its error for a request that is not HTTP quotes it, and that may be a token or a link."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401  # as the base has it
        error = kwargs.get("exc_info")
        if isinstance(error, HttpProcessingError):
            text = "the request from %s is not valid HTTP (%s), and was answered %d"
            super().log(min(level, logging.WARNING), text, args[0] if args else "", type(error).__name__, error.code)
        else:
            super().log(level, msg, *args, **kwargs)

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """Add nothing."""
        return msg, kwargs


# How aiohttp serves each connection. It must not inflate bodies by itself: it does so even while it throws away what
# follows a refusal. ``process.web.read_body`` inflates, up to its limit.
SERVING: dict[str, Any] = {
    "access_log": None,
    "auto_decompress": False,
    "keepalive_timeout": 75.0,  # seconds without a request; also for a later request's header
    "lingering_time": 3.0,  # seconds in which the rest of a refused body is thrown away
    "logger": _ServerLog(server_logger),
}
MAX_CONNECTIONS = 2000
FILES_KEPT = 64  # for the database, the journal, the log and connections that we open ourselves
FIRST_REQUEST = 10.0  # seconds for the handshake and the first request's header
READ_RESPONSE = 60.0  # seconds for the peer to read a response, which is held in memory until then
_TRUSTED_SHARE = 0.25  # of all connections, for peers that have authenticated
_MAX_TRUSTED = 1000  # peers that are remembered for it; the least recent is forgotten
_BACKLOG = 512  # connections that the kernel completes while we are busy
_PER_TURN = 16  # connections accepted before others have their turn
_PAUSE = 0.1  # seconds to wait when the system has no more descriptors
# Seconds in which connections that are open may still ask, when the next process takes over our socket: one that was
# accepted a moment ago has its request on the way, and each answer asks its client to come back on a new connection.
HAND_OVER = 0.5


class Connection:
    """One accepted connection."""

    __slots__ = ("at", "group", "has_asked", "is_trusted", "pool", "socket", "task", "transport", "unread_since")

    def __init__(self, pool: "Connections", sock: socket.socket, group: str, at: float) -> None:
        self.pool, self.socket, self.group, self.at = pool, sock, group, at
        self.has_asked = self.is_trusted = False
        self.unread_since: float | None = None  # since when the peer has left a part of a response unread
        self.task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None

    @property
    def is_closed(self) -> bool:
        """Whether its descriptor is free again."""
        return self.socket.fileno() < 0

    def is_late(self, now: float) -> bool:
        """Whether the peer has taken too long to send its first header, or to read a response; ask it regularly."""
        if self.transport is None or not self.transport.get_write_buffer_size():
            self.unread_since = None
        elif self.unread_since is None:
            self.unread_since = now
        unread = 0.0 if self.unread_since is None else now - self.unread_since
        return unread > READ_RESPONSE or (not self.has_asked and now - self.at > FIRST_REQUEST)

    def abort(self) -> None:
        """End it at once."""
        if self.transport is not None:
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()


_CONNECTION: ContextVar[Connection | None] = ContextVar("connection", default=None)


@web.middleware
def note_request(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> Awaitable[web.StreamResponse]:
    """Note that the connection has sent a whole header; every application that is served here has this first."""
    connection = _CONNECTION.get()
    if connection is not None:
        connection.pool.used(connection)
    return handler(request)  # no coroutine of our own: it would cost a small request 2 %


def note_authenticated() -> None:
    """Note that the peer of the request being handled has shown a token or password."""
    connection = _CONNECTION.get()
    if connection is not None and not connection.is_trusted:
        connection.pool.trust(connection)


class Connections:
    """The connections of one address, at most ``limit``; ``clock`` gives seconds that never go back."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit, self._clock = limit, clock
        self._strangers_limit = limit - int(limit * _TRUSTED_SHARE)
        self._trusted: dict[Connection, None] = {}  # least recently used first, as in each group
        self._strangers: dict[str, dict[Connection, None]] = {}
        self._number = 0  # of strangers
        self._trusted_groups: dict[str, None] = {}
        self._pruned_at = clock()

    def __len__(self) -> int:
        return self._number + len(self._trusted)

    def add(self, sock: socket.socket, peer: str) -> Connection:
        """Admit a connection; at the limit another one is ended for it."""
        connection = Connection(self, sock, _group(peer), self._clock())
        connection.is_trusted = connection.group in self._trusted_groups
        self._make_room(connection)
        if connection.is_trusted:
            self._trusted[connection] = None
        else:
            self._strangers.setdefault(connection.group, {})[connection] = None
            self._number += 1
        return connection

    def used(self, connection: Connection) -> None:
        """Note that a request has come."""
        connection.has_asked = True
        table = self._trusted if connection.is_trusted else self._strangers.get(connection.group, {})
        if table.pop(connection, connection) is None:
            table[connection] = None

    def trust(self, connection: Connection) -> None:
        """Note that a connection's peer has authenticated; its others that come are trusted, too."""
        self._trusted_groups.pop(connection.group, None)
        self._trusted_groups[connection.group] = None
        if len(self._trusted_groups) > _MAX_TRUSTED:
            del self._trusted_groups[next(iter(self._trusted_groups))]
        if self._remove(connection):
            connection.is_trusted = True
            self._trusted[connection] = None

    def sweep(self) -> None:
        """Forget what is closed, and end what has not sent its first header or not read a response in time."""
        now = self._pruned_at = self._clock()
        for connection in self._all():
            if connection.is_closed:
                self._remove(connection)
            elif connection.is_late(now):
                self._end(connection)

    def end_one(self) -> None:
        """End a connection, because the system has no room for more."""
        self.sweep()
        if self._number:
            self._end_stranger()
        elif self._trusted:
            self._end(_first_to_go(self._trusted))

    def are_open(self) -> bool:
        """Say whether a connection is left."""
        return not all(connection.is_closed for connection in self._all())

    def close(self) -> None:
        """End all."""
        for connection in self._all():
            self._end(connection)

    def _all(self) -> list[Connection]:
        return [*self._trusted, *(connection for group in self._strangers.values() for connection in group)]

    def _make_room(self, new: Connection) -> None:
        if self._has_room(new):
            return
        if self._clock() - self._pruned_at > _PAUSE:
            self.sweep()
            if self._has_room(new):
                return
        if self._number:
            self._end_stranger()
        else:
            self._end(_first_to_go(self._trusted))

    def _has_room(self, new: Connection) -> bool:
        return len(self) < self._limit and (new.is_trusted or self._number < self._strangers_limit)

    def _end_stranger(self) -> None:
        """End one of the peer that has most."""
        self._end(_first_to_go(max(self._strangers.values(), key=len)))

    def _end(self, connection: Connection) -> None:
        self._remove(connection)
        connection.abort()

    def _remove(self, connection: Connection) -> bool:
        if connection.is_trusted:
            return self._trusted.pop(connection, connection) is None
        group = self._strangers.get(connection.group, {})
        if group.pop(connection, connection) is not None:
            return False
        self._number -= 1
        if not group:
            del self._strangers[connection.group]
        return True


def _first_to_go(connections: dict[Connection, None]) -> Connection:
    """Choose the oldest that has sent no request, else the least recently used."""
    return next((one for one in connections if not one.has_asked), next(iter(connections)))


def _group(peer: str) -> str:
    """Return the address, or the /56 of an IPv6 address: a customer has as many addresses there as he likes."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return ""
    return str(IPv6Network((address, 56), strict=False)) if isinstance(address, IPv6Address) else peer


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Listener:
    """Serves an application at one address."""

    def __init__(
        self,
        application: web.Application,
        tls: ssl.SSLContext | None,
        connections: Connections,
        shutdown_timeout: float,
        inherited: Sequence[socket.socket] = (),
        posts: Mapping[str, Handler] = {},
        *,
        reuse_port: bool = False,
    ) -> None:
        """``shutdown_timeout``: seconds for requests under way when it is closed.

        ``inherited``: sockets that listen already, and go on when this process has ended; it listens on them only.
        ``posts``: what answers POST to a path without the application's router and middlewares, which take a tenth of
        the CPU of a small request; a path that is written in another way takes the application's own route.
        ``reuse_port``: other processes of the same user may listen on the same port, and take over when this one ends.
        """
        self._runner = web.AppRunner(application, shutdown_timeout=shutdown_timeout, **SERVING)
        self._tls, self._connections = tls, connections
        self._sockets, self._posts = list(inherited), posts
        self._reuse_port = reuse_port
        self._is_inherited, self.hands_over = bool(inherited), bool(inherited) or reuse_port
        self._is_closing = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, host: str, port: int) -> None:
        """Listen; without a host, on every interface. OSError if that fails."""
        loop = asyncio.get_running_loop()
        try:
            if not self._is_inherited:
                await self._listen(host, port)
            await self._runner.setup()
            self._answer_posts()
        except BaseException:
            self._close_sockets()
            raise
        self._tasks = [loop.create_task(self._accept(sock)) for sock in self._sockets]
        self._tasks.append(loop.create_task(self._sweep()))

    def _answer_posts(self) -> None:
        server, posts = self._runner.server, self._posts
        if server is None or not posts:
            return
        application = server.request_handler

        def answer(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
            post = posts.get(request.raw_path) if request.method == hdrs.METH_POST else None
            if post is None or hdrs.EXPECT in request.headers:  # the application sends the 100 of Expect
                return application(request)
            return post(cast("web.Request", request))  # the runner's server makes no other requests

        server.request_handler = answer

    async def _listen(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            self._sockets.append(_listening(family, kind, protocol, address, reuse_port=self._reuse_port))

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        host, port = self._sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def hand_over(self) -> None:
        """Accept no more if the sockets are inherited: whoever connects waits for the next process."""
        if self.hands_over:
            self._stop_accepting()

    def _stop_accepting(self) -> None:
        """Let no accepted connection get lost, as it would if a task that waits for one were cancelled."""
        self._is_closing = True
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)

    async def close(self) -> None:
        """Accept no more, finish the requests under way, and end the connections."""
        self._stop_accepting()
        if self._reuse_port and not self._is_inherited:
            self._accept_queued()
        await asyncio.sleep(0)  # what was accepted last is served now
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._close_sockets()
        if self.hands_over:
            await self._finish_open()
        await self._runner.cleanup()
        self._connections.close()

    async def _finish_open(self) -> None:
        """Answer what open connections still ask, for a short time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER):
                while self._connections.are_open():  # noqa: ASYNC110  # a closed descriptor tells nobody
                    await asyncio.sleep(0.01)

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        accepted = 0
        while not self._is_closing:
            try:
                sock, address = await loop.sock_accept(listening)
            except OSError as error:  # no descriptor, no memory, or a connection that was gone before it was accepted
                log.warning("cannot accept a connection: %s", error.strerror or error)
                self._connections.end_one()
                await asyncio.sleep(_PAUSE)
                continue
            self._admit(sock, str(address[0]))
            accepted += 1
            if accepted % _PER_TURN == 0:
                await asyncio.sleep(0)

    def _admit(self, sock: socket.socket, peer: str) -> None:
        connection = self._connections.add(sock, peer)
        context = copy_context()
        context.run(_CONNECTION.set, connection)
        connection.task = asyncio.get_running_loop().create_task(self._serve(connection), context=context)

    def _accept_queued(self) -> None:
        """Take what the kernel has queued for this socket: it would reset them, although others share the port.

        docs.kernel.org/networking/ip-sysctl.html: it moves them to another socket only with tcp_migrate_req.
        """
        for listening in self._sockets:
            with contextlib.suppress(OSError):  # the queue is empty
                while True:
                    sock, address = listening.accept()
                    sock.settimeout(0)
                    self._admit(sock, str(address[0]))

    async def _serve(self, connection: Connection) -> None:
        """Hand a connection to aiohttp, after the handshake if there is one."""
        server = self._runner.server
        if server is None:  # closed meanwhile
            connection.socket.close()
            return
        try:
            connection.transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                server,
                connection.socket,
                ssl=self._tls,
                ssl_handshake_timeout=FIRST_REQUEST if self._tls else None,
            )
        except (OSError, asyncio.CancelledError):  # the handshake failed, or took too long
            connection.socket.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._connections.sweep()


def capacity() -> int:
    """Return how many connections this process can hold, by the limit of its open files (``ulimit -n``)."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else max(8, min(MAX_CONNECTIONS, files - FILES_KEPT))


def _listening(family: int, kind: int, protocol: int, address: object, *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        sock.bind(address)  # type: ignore[arg-type]
        sock.listen(_BACKLOG)
        sock.settimeout(0)
    except OSError:
        sock.close()
        raise
    return sock
