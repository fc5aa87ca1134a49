"""The composition root: the one file that names the real clock, and that puts the parts of the exporter together."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry

from exporter import exposition
from exporter.catalogue import Catalogue
from exporter.config import Config
from exporter.event import Decoder
from exporter.ingest import Ingest
from exporter.metrics import Metrics
from exporter.recorder import Recorder
from exporter.settle import Settling
from process.settings import Secret, SettingsError

INDEX = """<!doctype html><html lang="en"><meta charset="utf-8"><title>HeyPeter exporter</title>
<h1>HeyPeter exporter</h1><p><a href="/metrics">Metrics</a> · <a href="/-/healthy">Health</a></p></html>
"""


class Exporter:
    """One exporter: its registry, its endpoints, and the loop that lets vitals settle."""

    def __init__(
        self,
        config: Config,
        catalogue: Catalogue,
        token: Secret | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, (family.name for family in catalogue.families))
        self.recorder = Recorder(catalogue, self.registry)
        self.settling = Settling(float(config.vitals_settle_after))
        self.ready = True
        self._monotonic = monotonic
        self._ingest = Ingest(
            self.recorder,
            Decoder(catalogue),
            self.metrics,
            self.settling,
            token=token,
            origins=frozenset(config.cors.origins),
            monotonic=monotonic,
        )

    def application(self) -> web.Application:
        """Build the web application."""
        app = web.Application()
        app.add_routes(self._ingest.routes())
        app.add_routes([web.get("/metrics", self._exposition), web.get("/", self._index)])
        app.add_routes([web.get("/-/healthy", self._healthy), web.get("/-/ready", self._readiness)])
        app.cleanup_ctx.append(self._settle)
        return app

    def settle_once(self) -> None:
        """Count the vitals that have settled."""
        for event in self.settling.settled(self._monotonic()):
            self.recorder.record(event)

    async def _settle(self, _app: web.Application) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self._settle_for_ever())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task  # a loop that has died raises here

    async def _settle_for_ever(self) -> None:
        try:
            while True:
                self.settle_once()
                await asyncio.sleep(1)
        except Exception:
            signal.raise_signal(signal.SIGTERM)  # a dead loop is a dead process
            raise

    async def _exposition(self, request: web.Request) -> web.Response:
        began = self._monotonic()
        for instrument in self.recorder.instruments:
            self.metrics.series.labels(instrument.family.name).set(instrument.series)
        gzip = "gzip" in request.headers.get("Accept-Encoding", "")
        body, content_type = await exposition.write(self.registry, request.headers.get("Accept", ""), gzip=gzip)
        self.metrics.render.observe(self._monotonic() - began)
        headers = {"Content-Type": content_type, **({"Content-Encoding": "gzip"} if gzip else {})}
        return web.Response(body=body, headers=headers)

    async def _index(self, _request: web.Request) -> web.Response:
        return web.Response(text=INDEX, content_type="text/html")

    async def _healthy(self, _request: web.Request) -> web.Response:
        return web.Response(text="The exporter is running.\n")

    async def _readiness(self, _request: web.Request) -> web.Response:
        if self.ready:
            return web.Response(text="The exporter is ready.\n")
        return web.Response(text="The exporter is stopping.\n", status=503)


async def serve(exporter: Exporter, listen: str, announce: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; gives the process's exit status."""
    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        raise SettingsError(f"--web.listen-address {listen!r}: write HOST:PORT, as 127.0.0.1:3001")
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    runner = web.AppRunner(exporter.application(), access_log=None, shutdown_timeout=10)
    await runner.setup()
    try:
        await web.TCPSite(runner, host or None, int(port)).start()
        announce(f"exporter listens on http://{listen}")
        await stop.wait()
        exporter.ready = False
    except OSError as error:
        raise SettingsError(f"cannot listen on {listen}: {error.strerror or error}") from error
    finally:
        await runner.cleanup()
    return 0
