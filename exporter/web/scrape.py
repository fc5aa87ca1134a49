"""Serves /metrics; has the text of the index page."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry

from exporter.exposition.negotiate import Exposition, accepts, budget, negotiate
from exporter.persistence.journal import Journal
from exporter.registry.state import State
from exporter.self_metrics import Metrics
from exporter.web.rate_limit import Limiter

INDEX = """<!doctype html><html lang="en"><meta charset="utf-8"><title>HeyPeter exporter</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;margin:3rem auto;max-width:40rem;padding:0 1rem;color:#1f2933}}
a{{color:#1d5fbf}}dt{{font-weight:600}}dd{{margin:0 0 .7rem}}</style>
<h1>HeyPeter exporter</h1><p>Version {version}. Turns events into Prometheus metrics.</p><dl>
<dt><a href="/metrics">/metrics</a></dt><dd>for Prometheus to scrape</dd>
<dt><a href="/openapi.json">/openapi.json</a></dt><dd>how to send events</dd>
<dt><a href="{script}">{script}</a></dt><dd>the browser client; add it to your pages with<br><code>&lt;script defer
src="{script}" integrity="{integrity}"&gt;&lt;/script&gt;</code></dd>
<dt><a href="/-/healthy">/-/healthy</a>, <a href="/-/ready">/-/ready</a></dt><dd>health checks</dd></dl></html>
"""


class Scrape:
    """GET /metrics of one state."""

    def __init__(
        self,
        state: State,
        metrics: Metrics,
        process: CollectorRegistry,
        limiter: Limiter,
        journal: Journal | None,
        hold: float,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._state, self._metrics, self._limiter, self._journal = state, metrics, limiter, journal
        self._now, self._monotonic = now, monotonic
        self._exposition = Exposition(state.recorder, process, hold, now, metrics.omitted)

    async def handle(self, request: web.Request) -> web.Response:
        """Render the requested families within Prometheus' scrape timeout."""
        began = self._monotonic()
        synced = await self._synced(budget(request.headers.get("X-Prometheus-Scrape-Timeout-Seconds", "")))
        self._refresh(synced=synced)
        form = negotiate(request.headers.get("Accept", ""))
        gzip = accepts("gzip", ", ".join(request.headers.getall("Accept-Encoding", [])))
        body = await self._exposition.render(form, request.query.getall("name[]", []), gzip=gzip, process=True)
        self._metrics.rendered(self._monotonic() - began)
        headers = {"Content-Type": form.content_type, "Vary": "Accept, Accept-Encoding"}
        return web.Response(body=body, headers={**headers, **({"Content-Encoding": "gzip"} if gzip else {})})

    async def _synced(self, seconds: float) -> bool:
        """Sync what is about to be exposed: if a crash undid it, the counter would go back, a reset to Prometheus."""
        if self._journal is None or self._journal.clean:
            return True
        try:
            await asyncio.wait_for(self._journal.durable(), seconds)
        except (TimeoutError, OSError):
            return False
        return True

    def _refresh(self, *, synced: bool) -> None:
        now, gauge, state = self._now(), self._metrics.gauge, self._state
        for name, series in state.recorder.series.items():
            gauge("exporter_series", len(series.cells), now, name)
            gauge("exporter_series_limit", min(series.family.limit + 1, series.family.possible), now, name)
        gauge("exporter_dedup_entries", len(state.batches) + len(state.beacons) + len(state.ids), now)
        gauge("exporter_vitals_held", len(state.pending), now)
        gauge("exporter_limiter_clients", len(self._limiter), now)
        gauge("exporter_journal_bytes", self._journal.bytes if self._journal else 0, now)
        gauge("exporter_collector_success", int(synced), now, "journal")
        gauge("rum_active_sessions", state.sessions.active(now), now)
