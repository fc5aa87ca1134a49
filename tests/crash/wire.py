"""The line to a provider: it passes everything on, until it is asked to break the next exchange."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable

import trustme

BEFORE = ("refused", "reset", "hang")  # nothing arrives at the provider
AFTER = ("reset after", "half answer", "drip", "hang after")  # the provider takes it, and its answer is lost
TLS = ("tls alert", "tls stranger")
NAMES = ("dns",)
GAVE_UP = "gave up"  # whoever asked did not wait for the answer
_CHUNK = 1 << 16
_DRIP = 0.2  # seconds a byte
_HTTP, _SMTP = b"", b"\r\n.\r\n"  # how a request ends; of HTTP each is small enough to be read at once


class Wire:
    """Listens, and passes on to a port of this machine; ``fault`` is what happens to the next exchange.

    ``began`` is told of each fault as it hits.
    """

    def __init__(self, target: int, began: Callable[[str], None], *, smtp: bool = False) -> None:
        self._target, self._began, self._end = target, began, _SMTP if smtp else _HTTP
        self._open, self._idle = set[asyncio.StreamWriter](), set[asyncio.StreamWriter]()
        self.fault = ""
        self._trusted: ssl.SSLContext | None = None

    async def start(self, name: str = "", trusted: trustme.CA | None = None) -> None:
        """Listen, with a certificate for ``name`` if there is a CA."""
        if trusted is not None:
            self._trusted, self._strange = (_context(ca, name) for ca in (trusted, trustme.CA()))
            self._trusted.sni_callback = self._shake_hands
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._trusted)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    def cut(self) -> None:
        """End the connections on which nothing is under way, so that the next exchange needs a new one."""
        for writer in list(self._idle):
            writer.transport.abort()

    def _take(self, *kinds: str) -> str:
        """Give the fault that is asked for, once, if it is one of these."""
        if self.fault not in kinds:
            return ""
        fault, self.fault = self.fault, ""
        self._began(fault)
        return fault

    def _shake_hands(
        self, handshake: ssl.SSLObject | ssl.SSLSocket, _name: str, _context: ssl.SSLContext
    ) -> int | None:
        fault = self._take(*TLS)
        if fault == "tls stranger":
            handshake.context = self._strange
        return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR if fault == "tls alert" else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        exchange = _Exchange()
        try:
            if self._take("refused"):
                return
            provider, to_provider = await asyncio.open_connection("127.0.0.1", self._target)
            self._open.add(to_provider)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._requests(reader, to_provider, writer, exchange))
                    both.create_task(self._answers(provider, writer, exchange))
            finally:
                self._open.discard(to_provider)
                to_provider.transport.abort()
        except* (OSError, EOFError):
            pass
        finally:
            if exchange.is_awaited:
                self._began(GAVE_UP)
            self._open.discard(writer)
            self._idle.discard(writer)
            _reset(writer)

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        to_provider: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        exchange: "_Exchange",
    ) -> None:
        tail = b""
        while data := await reader.read(_CHUNK):
            tail = (tail + data)[-_CHUNK:]
            if tail.endswith(self._end):
                tail = b""
                self._idle.discard(writer)
                fault = self._take("reset", "hang")
                if fault == "hang":
                    await reader.read()  # until whoever asks gives up
                if fault:
                    break
                exchange.fault, exchange.is_awaited = self._take(*AFTER), True
            to_provider.write(data)
            await to_provider.drain()
        raise EOFError

    async def _answers(
        self, provider: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: "_Exchange"
    ) -> None:
        while data := await provider.read(_CHUNK):
            fault, exchange.fault = exchange.fault, ""
            if fault == "reset after":
                break
            if fault == "hang after":
                await asyncio.sleep(3600)  # _requests ends when whoever asks gives up
            if fault == "half answer":
                data = data[: len(data) // 2]
            for piece in _pieces(data, 1 if fault == "drip" else len(data)):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(_DRIP if fault == "drip" else 0)
            if fault == "half answer":
                await asyncio.sleep(_DRIP)  # until it has been read
                break
            exchange.is_awaited = False
            if not self._end:
                self._idle.add(writer)
        raise EOFError


class CommitWire:
    """The line to PostgreSQL, which may be cut just after COMMIT has been passed on, or before."""

    def __init__(self, target: int, began: Callable[[str], None]) -> None:
        self._target, self._began = target, began
        self._open = set[asyncio.StreamWriter]()
        self.fault = ""  # one of CUTS, for the next COMMIT

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            database, to_database = await asyncio.open_connection("127.0.0.1", self._target)
            self._open.add(to_database)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pass_on(reader, to_database))
                    both.create_task(_copy(database, writer))
            finally:
                self._open.discard(to_database)
                to_database.transport.abort()
        except* (OSError, EOFError):
            pass
        finally:
            self._open.discard(writer)
            _reset(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, to_database: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            fault = ""
            if self.fault and b"COMMIT" in data:
                fault, self.fault = self.fault, ""
                self._began(fault)
            if fault == "before":
                break
            to_database.write(data)
            await to_database.drain()
            if fault == "after":
                await asyncio.sleep(_DRIP)  # it is executed, and its answer is on the way
                break
            if fault == "at once":
                break
        raise EOFError


CUTS = ("before", "at once", "after")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    raise EOFError


class _Exchange:
    """What happens to the answer that is awaited."""

    fault, is_awaited = "", False


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def _context(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name).configure_cert(context)
    return context


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST, so that what was written and not read yet is lost, too."""
    line = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if line is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
