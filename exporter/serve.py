"""Runs an exporter: listens, reloads on SIGHUP or POST /-/reload, and stops without losing anything."""

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiohttp import web

from exporter.app import Endpoint, Exporter, Settings
from process.settings import SettingsError
from process.web import problem

log = logging.getLogger("exporter")


class Listening(NamedTuple):
    """Where the process listens, and how it is told to take other settings."""

    private: str
    public: str  # empty: the same
    tls: ssl.SSLContext | None
    read: Callable[[], Settings]
    lifecycle: bool  # whether POST /-/reload is served, as Prometheus' --web.enable-lifecycle


def applications(exporter: Exporter, listening: Listening) -> list[tuple[str, web.Application]]:
    """Build the application of each address."""
    private = web.Application()
    private.add_routes(exporter.private_routes())
    if listening.lifecycle:

        async def reload(_request: web.Request) -> web.StreamResponse:
            error = take_settings(exporter, listening.read)
            return problem(500, error) if error else web.Response(text="Reloaded.\n")

        private.add_routes([web.post("/-/reload", exporter.guarded(reload))])
    public = web.Application() if listening.public else private
    public.add_routes(exporter.public_routes())
    public.cleanup_ctx.append(exporter.connect)
    return [(listening.private, private), *([(listening.public, public)] if listening.public else [])]


def take_settings(exporter: Exporter, read: Callable[[], Settings]) -> str:
    """Reload; gives why it was refused, and then the old settings stay."""
    try:
        exporter.reload(read())
    except SettingsError as error:
        exporter.reload_failed()
        log.error("reload refused, the old settings stay: %s", error)  # noqa: TRY400  # the text says it all
        return str(error)
    log.info("reloaded")
    return ""


async def serve(exporter: Exporter, listening: Listening, announce: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; gives the process's exit status: 1 if it stops because something in it died."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    loop.add_signal_handler(signal.SIGHUP, take_settings, exporter, listening.read)
    runners = []
    loops = {asyncio.ensure_future(work): name for name, work in exporter.loops().items()}
    stopped = asyncio.ensure_future(_wait(stop))
    try:
        for address, application in applications(exporter, listening):
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=10)
            runners.append(runner)
            await runner.setup()
            _shorten(runner, exporter.hot(application))
            await _listen(runner, address, listening.tls)
            announce(f"exporter listens on {'https' if listening.tls else 'http'}://{address}")
        await asyncio.wait([*loops, stopped], return_when=asyncio.FIRST_COMPLETED)
        return _why({name: task for task, name in loops.items() if task.done()})
    finally:
        # First refuse what is new, then finish what has begun, then save: nothing that was answered may be missing.
        exporter.draining = True
        for runner in runners:
            await runner.cleanup()
        for task in (*loops, stopped):
            task.cancel()
        await asyncio.gather(*loops, stopped, return_exceptions=True)
        await exporter.close()


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


def _why(dead: dict[str, asyncio.Future[None]]) -> int:
    """A dead loop is a dead process: say which one it was."""
    for name, task in dead.items():
        log.critical("the loop %s has ended; stopping", name, exc_info=task.exception())
    return 1 if dead else 0


def _shorten(runner: web.AppRunner, hot: Mapping[str, Endpoint]) -> None:
    """Answer what comes most without looking for its route, which is a sixth of the cost of a small batch."""
    server = runner.server
    if server is None:
        return
    whole: Endpoint = server.request_handler  # aiohttp calls it for each request, and offers no other place

    async def handle(request: web.Request) -> web.StreamResponse:
        endpoint = hot.get(request.raw_path) if request.method == "POST" else None
        return await (endpoint or whole)(request)

    server.request_handler = handle  # type: ignore[assignment]  # its requests are made by the application


async def _listen(runner: web.AppRunner, address: str, tls: ssl.SSLContext | None) -> None:
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        raise SettingsError(f"listen address {address!r}: write HOST:PORT, as 127.0.0.1:3001")
    try:
        await web.TCPSite(runner, host.strip("[]") or None, int(port), ssl_context=tls).start()
    except OSError as error:
        raise SettingsError(f"cannot listen on {address}: {error.strerror or error}") from error
