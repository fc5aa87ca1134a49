"""Serves what explains an incident to the API and to the console: similar ones, deployments, the post-mortem."""

from collections.abc import Callable
from datetime import datetime

import msgspec
from aiohttp import web

from process.web import problem
from receiver.evidence.deployments import Deployments
from receiver.evidence.handover import current_shift, summed_up, text
from receiver.evidence.postmortem import Material, postmortem
from receiver.evidence.similar import ending_text, similar
from receiver.incident.model import Entry, Incident
from receiver.messages.i18n import Reader
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError
from receiver.web.access.viewer import VIEWER, Role
from receiver.web.charts import ChartRoutes, reader_asked
from receiver.web.console.layout import viewing
from receiver.web.incident_acts import incident_number, unknown_incident


class EvidenceRoutes:
    """See the routes; ``url`` is the console's address."""

    def __init__(  # the composition root hands over every collaborator
        self,
        store: Store,
        current: Current,
        clock: Callable[[], datetime],
        charts: ChartRoutes,
        deployments: Deployments,
        url: str,
    ) -> None:
        self._store, self._current, self._clock = store, current, clock
        self._charts, self._deployments, self._url = charts, deployments, url.rstrip("/")

    def api(self) -> list[web.RouteDef]:
        """List what is served below /api/v1."""
        return [
            web.get("/incidents/{id}/evidence", self.show),
            web.get("/incidents/{id}/postmortem", self.postmortem),
            web.get("/handover", self.handover),
        ]

    def console(self) -> list[web.RouteDef]:
        """List what is served at the console's own address to those who are signed in."""
        return [
            web.get(r"/incidents/{id:\d{1,17}}/chart.{form:svg|png}", self.chart_of_page),
            web.get(r"/incidents/{id:\d{1,17}}/postmortem", self.postmortem_of_page),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents/{id}/evidence: similar incidents and the last deployments."""
        stored = await self._store.incident(incident_number(request))
        if stored is None:
            return unknown_incident(request)
        reader = Reader(name_of=self._current.routing.directory.name)
        found = await similar(self._store, stored[0])
        deployed = await self._deployments.before(stored[0], self._clock())
        return web.json_response(
            {
                "similar": [
                    {
                        **msgspec.to_builtins(one.incident),
                        "shared_labels": one.shared,
                        "ending": ending_text(one, reader),
                    }
                    for one in found
                ],
                "deployments": msgspec.to_builtins(deployed),
            }
        )

    async def postmortem(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents/{id}/postmortem?zone=Europe/Berlin&language=de: the draft in Markdown."""
        try:
            asked = reader_asked(request)
        except ValueError as error:
            return problem(400, str(error))
        stored = await self._store.incident(incident_number(request))
        reader = Reader(asked.language, asked.zone, self._current.routing.directory.name)
        return await self._draft(stored, reader) if stored else unknown_incident(request)

    async def handover(self, request: web.Request) -> web.Response:
        """GET /api/v1/handover?role=on-call-engineer&zone=Europe/Berlin&language=de: the shift that is under way."""
        routing, now, role = self._current.routing, self._clock(), request.query.get("role", "")
        if role not in routing.roles:
            return problem(400, f"role: expected one of {', '.join(routing.roles)}")
        try:
            asked = reader_asked(request)
        except ValueError as error:
            return problem(400, str(error))
        summary = await summed_up(self._store, current_shift(routing, role, now))
        return web.json_response(
            {
                **msgspec.to_builtins(summary.change),
                "open": [one.id for one in summary.open],
                "ending": [{"at": end.isoformat(), "incident": one.id} for end, one in summary.ending],
                "resolved": [one.id for one in summary.over],
                "opened": summary.opened,
                "pages": summary.pages,
                "breaches": summary.breaches,
                "text": text(summary, Reader(asked.language, asked.zone, routing.directory.name), now),
            }
        )

    async def chart_of_page(self, request: web.Request) -> web.Response:
        """GET /incidents/{id}/chart.svg|png?theme=dark&width=360: the picture, in the viewer's language and zone."""
        stored = await self._allowed(request)
        return (
            stored
            if isinstance(stored, web.Response)
            else await self._charts.picture(request, stored[0], self._reader(request))
        )

    async def postmortem_of_page(self, request: web.Request) -> web.Response:
        """GET /incidents/{id}/postmortem: the draft in Markdown, in the viewer's language and zone."""
        stored = await self._allowed(request)
        return stored if isinstance(stored, web.Response) else await self._draft(stored, self._reader(request))

    async def _allowed(self, request: web.Request) -> tuple[Incident, tuple[Entry, ...]] | web.Response:
        """Give the incident, or why the viewer does not see it."""
        number = incident_number(request)
        if not request[VIEWER].may(Role.VIEWER, number):
            return problem(403, "this link is for another incident")
        try:
            return await self._store.incident(number) or unknown_incident(request)
        except StoreError:
            return problem(503, "the store does not answer; try again")

    async def _draft(self, stored: tuple[Incident, tuple[Entry, ...]], reader: Reader) -> web.Response:
        incident, now = stored[0], self._clock()
        page = f"{self._url}/incidents/{incident.id}"
        material = Material(
            *stored,
            similar=await similar(self._store, incident),
            deployments=await self._deployments.before(incident, now),
            chart=f"{page}/chart.png",
            page=page,
        )
        text = postmortem(material, reader, now)
        headers = {"Content-Disposition": f'inline; filename="incident-{incident.id}.md"'}
        return web.Response(text=text, content_type="text/markdown", headers=headers)

    def _reader(self, request: web.Request) -> Reader:
        return viewing(request, self._current, self._clock(), 0).reader
