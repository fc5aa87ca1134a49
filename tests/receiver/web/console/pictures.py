"""Takes the pictures of docs/images/console again: ``python -m tests.receiver.web.console.pictures``."""

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgspec
from playwright.async_api import Browser, Route

from deploy.local.chromium import chromium
from receiver.clients.alertmanager import AlertmanagerApi, Seen
from receiver.evidence.chart import Chart, Line
from receiver.evidence.svg import Theme, svg
from receiver.incident.event import Acknowledge, Delivered, Note, Paused, Unreached
from receiver.incident.model import DEFAULT_SOURCE, Alert, Decision, Failure, Origin, Pause, PauseKind
from receiver.messages.i18n import Reader
from receiver.oncall.schedule import Layer, Schedule
from receiver.policy.matcher import match_all, parse
from receiver.policy.routing import Routing
from tests.receiver.example_site import deciding, the_routing
from tests.receiver.web.console.rig import Rig, a_console, with_people

FOLDER = Path("docs/images/console")
ZONE = "Europe/Berlin"
PAGES = {
    "now": "/",
    "incident": "/incidents/{page}",
    "on-call": "/on-call",
    "history": "/history?days=30",
    "policy": "/policy?labels=alertname%3DDatabaseDown%2C+severity%3Dcritical%2C+team%3Dpayments&at=2026-11-23T03:00",
    "status": "/status",
    "raise": "/raise",
    "silence": "/incidents/{page}/silence",
}
DEVICES = {"desktop": (1280, 800), "phone": (320, 640)}


class Answering(AlertmanagerApi):
    """Knows which alerts fire, without an Alertmanager."""

    firing: tuple[Alert, ...] = ()

    async def matching(self, matchers: Sequence[str]) -> list[Seen]:
        read = tuple(map(parse, matchers))
        return [Seen(one, ()) for one in self.firing if match_all(read, one.labels)]


def a_rota() -> Routing:
    """Give a site whose week has a gap."""
    routing = with_people(the_routing(), zone=ZONE)
    turns = Layer(ZONE, date(2026, 11, 2), 540, timedelta(days=2), (("linh",), ("marek",), ("aisha",)))
    ends = datetime(2026, 11, 29, 8, tzinfo=UTC)
    leads = Layer(ZONE, date(2026, 11, 2), 540, timedelta(days=7), (("marek",),), end=ends)
    schedules = {"primary": Schedule("primary", ZONE, (turns,)), "leads": Schedule("leads", ZONE, (leads,))}
    roles = {**routing.roles, "on-call-engineer": ("primary",), "tech-lead": ("leads",)}
    teams = {**routing.teams, "payments": routing.teams["backend"], "web": routing.teams["default"]}
    return msgspec.structs.replace(routing, schedules=schedules, roles=roles, teams=teams)


def alert(name: str, what: str, minutes: float, now: datetime, **labels: str) -> Alert:
    """Give an alert as a team writes it."""
    told = {
        "summary": what.partition(". ")[0].rstrip("."),
        "description": what,
        "runbook_url": f"https://wiki.example.com/{name}",
        "dashboard_url": "https://grafana.example.com/d/1",
    }
    labels = {"alertname": name, "severity": "critical", "team": "payments", **labels}
    since = now - timedelta(minutes=minutes)
    key = name + labels.get("instance", "")
    query = "http://prometheus.example.com/graph?g0.expr=avg_over_time%28pg_up%5B5m%5D%29+%3C+0.5"
    return Alert(key, True, since, None, labels, told, query)  # noqa: FBT003  # it fires


async def a_night(rig: Rig, now: datetime) -> int:
    """Let happen what the pictures show; gives the incident that is looked at."""

    async def at(minutes: float, key: str, *alerts: Alert) -> int:
        rig.clock.now = now - timedelta(minutes=minutes)
        return (await rig.fire(key, *alerts)).id

    await at(
        11, "k0", alert("BackupMissing", "The backup of db-1 is 26 h old.", 11, now, severity="info", instance="db-1")
    )
    disk = alert(
        "DiskFull",
        "The disk of web-7 is 96% full. Full in 2 h.",
        22,
        now,
        severity="warning",
        team="web",
        instance="web-7",
    )
    taken = await at(22, "k1", disk)
    rig.clock.now = now - timedelta(minutes=19)
    await rig.apply(taken, Acknowledge("aisha", Origin.SLACK))
    hosts = ("db-1:5432", "db-2:5432", "db-3:5432")
    down = [alert("DatabaseDown", f"{host[:4]} does not answer on port 5432.", 8, now, instance=host) for host in hosts]
    page = await at(8, "k2", *down)
    await at(3, "k3", alert("CheckoutErrors", "12% of checkouts fail.", 3, now, instance="shop-1:8080", team="web"))
    quiet = await at(
        2, "k4", alert("CertificateExpires", "Expires in 3 days.", 2, now, severity="warning", instance="api")
    )
    await rig.apply(
        quiet, Paused(Pause(PauseKind.SILENCE, "8f1c", "marek", now + timedelta(hours=2), comment="renewal"))
    )
    rig.clock.now = now
    await rig.store.beat(DEFAULT_SOURCE, now - timedelta(seconds=20))
    rig.metrics.reconciled.labels(DEFAULT_SOURCE).set(rig.clock.now.timestamp() - 40)
    for minutes in (21.9, 7.8, 2.9):
        await deliver(rig, now - timedelta(minutes=minutes), page)
    rig.clock.now = now - timedelta(minutes=2)
    await rig.apply(page, Note("marek", Origin.SLACK, "The switch of rack 4 lost power, somebody is on the way."))
    rig.clock.now = now
    return page


async def deliver(rig: Rig, when: datetime, page: int) -> None:
    """Send what is owed by then; PagerDuty refuses what is about the incident that is looked at."""
    for channel in ("email", "pagerduty", "slack"):
        for claimed in await rig.store.claim(channel, when, 60, 50):
            target, number = claimed.notification.target, claimed.notification.round
            if channel == "pagerduty" and claimed.incident.id == page:
                lost = deciding(Unreached(target, number, Failure.REFUSED), when, rig.routing)
                await rig.store.dead(claimed, Failure.REFUSED, "HTTP 400: invalid routing key", lost, Decision, when)
            else:
                heard = deciding(Delivered(number, target.person), when, rig.routing)
                await rig.store.settle(claimed, "ref", heard, when)
                rig.metrics.deliveries.labels(channel, "sent").inc()


def a_chart(now: datetime) -> Chart:
    """Draw how three hosts stop to answer, in place of a Prometheus that would have to have seen it."""
    start, opened = now - timedelta(hours=3), now - timedelta(minutes=8)

    def line(host: str, down: datetime) -> Line:
        times = [start + timedelta(minutes=minutes) for minutes in range(181)]
        values = tuple((at.timestamp(), 1 - min(max((at - down) / timedelta(minutes=5), 0.0), 1.0)) for at in times)
        return Line(f"instance={host}:5432", (values,), fires=True)

    lines = tuple(line(f"db-{number}", opened - timedelta(minutes=9 - 2 * number)) for number in (1, 2, 3))
    return Chart("DatabaseDown", "avg_over_time(pg_up[5m])", "<", 0.5, lines, start, now, opened)


async def take(rig: Rig, browser: Browser, page: int, drawn: Chart) -> None:
    """Take every page on each device, light and dark."""

    async def draw(route: Route) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        theme, width = Theme(asked.get("theme", ["light"])[0]), int(asked.get("width", ["640"])[0])
        await route.fulfill(body=svg(drawn, Reader("en", ZONE), theme, width), content_type="image/svg+xml")

    for device, (width, height) in DEVICES.items():
        for scheme in ("light", "dark"):
            shown = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            await shown.route("**/chart.svg*", draw)
            for name, path in PAGES.items():
                await shown.goto(rig.url + path.format(page=page))
                await shown.wait_for_selector("html.scripted")
                await shown.screenshot(path=FOLDER / f"{name}-{device}-{scheme}.png")
            await shown.close()


async def main() -> None:
    """Take them all."""
    now = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory() as folder:
        async with aiohttp.ClientSession() as session, chromium() as browser:
            api = Answering("http://alertmanager.example.com", session)
            async with a_console(Path(folder), a_rota(), {DEFAULT_SOURCE: api}) as rig:
                page = await a_night(rig, now)
                known = (await rig.read(page)).firing
                elsewhere = alert("DatabaseDown", "db-9 does not answer on port 5432.", 8, now, instance="db-9:5432")
                api.firing = (*known, elsewhere)
                await take(rig, browser, page, a_chart(now))


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    asyncio.run(main())
