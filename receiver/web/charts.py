"""Serves the pictures of incidents: to the API, and to who has a message's signed address of one."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiohttp import web

from process.settings import Secret
from process.web import problem, whole_number
from receiver.evidence.alert_query import AbsentError
from receiver.evidence.charts import IN_MESSAGES, Charts
from receiver.evidence.svg import WIDE, WIDTHS, Theme
from receiver.incident.model import Incident
from receiver.messages.compose import reader_of
from receiver.messages.i18n import Reader, languages
from receiver.messages.link import LinkError, Refusal, read_chart
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError
from receiver.web.incident_acts import incident_number, unknown_incident

# A picture is nobody's page: whoever opens it by itself can run and load nothing.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, max-age=15",
}
_REFUSED = {Refusal.EXPIRED: 410}


class ChartRoutes:
    """See the routes."""

    def __init__(
        self,
        store: Store,
        charts: Charts,
        current: Current,
        link_secret: Secret,
        clock: Callable[[], datetime],
    ) -> None:
        self._store, self._charts, self._current = store, charts, current
        self._link_secret, self._clock = link_secret, clock

    def api(self) -> list[web.RouteDef]:
        """List what is served below /api/v1."""
        return [web.get("/incidents/{id}/chart.{form:svg|png}", self.show)]

    def application(self) -> web.Application:
        """Build what is served below /chart."""
        app = web.Application()
        app.add_routes([web.get("/{token}.{form:svg|png}", self.show_signed)])
        return app

    async def show(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents/{id}/chart.svg|png?zone=Europe/Berlin&language=de&theme=dark&width=360.

        404 with a ``reason`` where there is no picture, 503 where there may be one in a moment.
        """
        try:
            reader = reader_asked(request)
        except ValueError as error:
            return problem(400, str(error))
        stored = await self._store.incident(incident_number(request))
        return await self.picture(request, stored[0], reader) if stored else unknown_incident(request)

    async def show_signed(self, request: web.Request) -> web.Response:
        """GET /chart/{token}.png: the picture that a message names."""
        try:
            grant = read_chart(request.match_info["token"], self._link_secret.reveal(), self._clock())
            stored = await self._store.incident(grant.incident)
            if stored is None or not grant.is_ours(stored[0], await self._store.installation()):
                return problem(404, "no such picture")
        except LinkError as error:
            return problem(_REFUSED.get(error.refusal, 403), f"the address of the picture is {error.refusal.value}")
        except StoreError:
            return problem(503, "the store does not answer; try again")
        reader = reader_of(self._current.routing, grant.person)
        return await self.picture(request, stored[0], reader, IN_MESSAGES)

    async def picture(
        self, request: web.Request, incident: Incident, reader: Reader, usual: int = WIDE
    ) -> web.Response:
        """Answer with the picture, in the form of the path, or with why there is none; ``usual`` is its width."""
        theme, width = request.query.get("theme", Theme.LIGHT), whole_number(request.query.get("width", ""), WIDE)
        if theme not in set(Theme) or (request.query.get("width") and width not in WIDTHS):
            return problem(400, f"expected theme=light or dark, and width={' or '.join(map(str, WIDTHS))}")
        try:
            if request.match_info["form"] == "png":
                png = await self._charts.png(incident, reader, width or usual)
                return web.Response(body=png, content_type="image/png", headers=_HEADERS)
            text = await self._charts.svg(incident, reader, Theme(theme), width or usual)
            return web.Response(text=text, content_type="image/svg+xml", headers=_HEADERS)
        except AbsentError as error:
            said = reader.say(f"absent_{error.reason.value}")
            return problem(503 if error.reason.passing else 404, said, reason=error.reason.value)


def reader_asked(request: web.Request) -> Reader:
    """Read ``language`` and ``zone`` of the query; ValueError says what is wrong."""
    return Reader(_language(request), _zone(request))


def _language(request: web.Request) -> str:
    language = request.query.get("language", "en")
    if language not in languages():
        raise ValueError(f"language: expected {' or '.join(languages())}")
    return language


def _zone(request: web.Request) -> str:
    zone = request.query.get("zone", "UTC")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("zone: not a time zone (expected e.g. Europe/Berlin)") from error
    return zone
