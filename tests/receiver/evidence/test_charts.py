"""Charts of incidents: what is asked, what is drawn, and each reason for which there is no picture."""

import asyncio
import os
import signal
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from receiver.clients.prometheus import Prometheus, Series
from receiver.clients.promql import Comparison
from receiver.evidence.alert_query import POINTS, SERIES, Absent, AbsentError, Span, alert_query, span
from receiver.evidence.axis import scale, times
from receiver.evidence.chart import Deployment, chart, deployments, in_words, number
from receiver.evidence.charts import Charts
from receiver.evidence.png import PngProcess
from receiver.evidence.svg import NARROW, WIDE, WIDTHS, Theme, svg
from receiver.incident.model import Alert, Incident, State
from receiver.messages.i18n import Reader
from tests.receiver.example_site import MINUTE, START, Clock, an_alert

ENGLISH, GERMAN = Reader(), Reader("de", "Europe/Berlin")
HOUR = timedelta(hours=1)
URL = "http://prometheus.example.com:9090/graph?g0.expr={}&g0.tab=1"
RATE = "rate%28errors_total%5B5m%5D%29+%3E+0.05"
ABOVE = Comparison("rate(errors_total[5m])", ">", 0.05, "")
SPAN = Span(START - 3 * HOUR, START, 45.0)


def alert(url: str = URL.format(RATE), instance: str = "a") -> Alert:
    return replace(an_alert(instance, instance=instance), generator_url=url)


def incident(*alerts: Alert, **fields: object) -> Incident:
    known = {one.fingerprint: one for one in alerts or (alert(),)}
    first = next(iter(known.values()))
    opened = Incident(7, "k", State.TRIGGERED, title="High error rate", labels=first.labels, alerts=known)
    return replace(opened, **{"opened_at": START, **fields})


def samples(*values: float, step: float = 45.0) -> list[tuple[float, float]]:
    return [(SPAN.start.timestamp() + step * at, value) for at, value in enumerate(values)]


def series(**named: list[tuple[float, float]]) -> Series:
    return {(("instance", name),): values for name, values in named.items()}


# What is asked.


@pytest.mark.parametrize(
    ("expression", "query"),
    [
        ("rate(errors_total[5m]) > 0.05", "topk(5, rate(errors_total[5m]))"),
        ("disk_free < 5e9 and on (instance) up == 1", "bottomk(5, disk_free)"),
        ("up == 0", "bottomk(5, up)"),
        ("failed == 1", "topk(5, failed)"),
        ("0.05 < errors", "topk(5, errors)"),
        ("errors > on (job) limit", "topk(5, (errors) / on (job) (limit))"),
    ],
)
def test_the_threshold_is_split_off_and_the_series_are_few(expression: str, query: str) -> None:
    url = "http://x/graph?" + urlencode({"g0.expr": expression, "g0.tab": "1"})
    assert alert_query(incident(alert(url))).query == query


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", Absent.NO_EXPRESSION),
        ("http://x/graph", Absent.NO_EXPRESSION),
        ("http://[x/graph?g0.expr=up", Absent.NO_EXPRESSION),
        ("http://x/graph?" + "&".join(f"a{n}=1" for n in range(99)), Absent.NO_EXPRESSION),
        (URL.format("up" * 5000), Absent.NO_EXPRESSION),
        (URL.format("absent%28up%29"), Absent.NO_THRESHOLD),
        (URL.format("vector%281%29"), Absent.NO_THRESHOLD),
        (URL.format("%3C%3E"), Absent.BAD_EXPRESSION),
        (URL.format("%28" * 200), Absent.BAD_EXPRESSION),
        (URL.format("a" + "%2Ba" * 400 + "%3E1"), Absent.BAD_EXPRESSION),
        (URL.format("a" + "%20and%20a" * 150 + "%3E1"), Absent.BAD_EXPRESSION),
    ],
)
def test_an_alert_without_a_readable_comparison_has_no_chart(url: str, reason: Absent) -> None:
    with pytest.raises(AbsentError) as error:
        alert_query(incident(alert(url)))
    assert error.value.reason is reason
    assert not reason.passing


def test_the_time_shown_is_of_some_hours_and_of_all_that_the_incident_took() -> None:
    young = span(incident(), START + MINUTE, 3 * HOUR)
    assert (young.start, young.end, young.step) == (START + MINUTE - 3 * HOUR, START + MINUTE, 45.0)
    old = span(incident(), START + 10 * HOUR, 3 * HOUR)
    assert (old.start, old.step) == (START - HOUR, 11 * 3600 / POINTS)
    over = span(incident(state=State.RESOLVED, resolved_at=START + HOUR), START + 90 * HOUR, 3 * HOUR)
    assert (over.start, over.end) == (START - 1.75 * HOUR, START + 1.25 * HOUR)
    ancient = span(incident(), START + timedelta(days=90), 3 * HOUR)
    assert ancient.end - ancient.start == timedelta(days=7)
    begun = span(incident(replace(alert(), starts_at=datetime(1970, 1, 1, tzinfo=UTC))), START, 3 * HOUR)
    assert begun.start == START - 3 * HOUR


# What is drawn.


def test_what_fires_is_drawn_first_and_the_number_of_lines_is_bounded() -> None:
    many = series(**{f"web-{n}": samples(0.01 * n, 0.01 * n) for n in range(20)})
    drawn = chart(incident(alert(instance="web-3")), ABOVE, many, SPAN)
    assert len(drawn.lines) == SERIES
    assert (drawn.lines[0].name, drawn.lines[0].fires) == ("instance=web-3", True)
    assert [line.name for line in drawn.lines[1:]] == [f"instance=web-{n}" for n in (19, 18, 17, 16)]


def test_a_line_ends_at_a_gap_and_at_what_is_no_number() -> None:
    gap = [*samples(1, 2, float("nan"), 3), (START.timestamp(), 4.0), (START.timestamp() + 45, 1e308)]
    (line,) = chart(incident(), ABOVE, series(a=gap), SPAN).lines
    assert [[value for _, value in piece] for piece in line.pieces] == [[1, 2], [3], [4]]
    with pytest.raises(AbsentError) as error:
        chart(incident(), ABOVE, series(a=samples(float("inf"), float("nan"))), SPAN)
    assert error.value.reason is Absent.NO_DATA


def test_lines_are_named_by_the_labels_in_which_they_differ() -> None:
    both: Series = {
        (("__name__", "x"), ("instance", "a"), ("job", "node")): samples(1),
        (("__name__", "x"), ("instance", "b"), ("job", "node")): samples(2),
    }
    assert [line.name for line in chart(incident(), ABOVE, both, SPAN).lines] == ["instance=b", "instance=a"]
    one: Series = {(("__name__", "x"), ("instance", "a"), ("job", "node")): samples(1)}
    assert chart(incident(), ABOVE, one, SPAN).lines[0].name == "instance=a, job=node"


def test_deployments_are_the_values_of_the_series_within_the_time_shown() -> None:
    at, before = (START - HOUR).timestamp(), (START - 30 * HOUR).timestamp()
    found = deployments({(("job", "shop"),): samples(0.0, before, at, at, 1e300)}, SPAN.start)
    assert found == (Deployment(START - HOUR, "job=shop"),)
    assert chart(incident(), ABOVE, series(a=samples(1)), SPAN, found).deployments == found


def test_numbers_are_short_and_as_the_reader_writes_them() -> None:
    shown = [number(value, ENGLISH) for value in (0, 0.05, 1234, 12_345, 5e9, -2.5e6, 1e-7)]
    assert shown == ["0", "0.05", "1230", "12.3k", "5G", "-2.5M", "1.0e-07"]
    assert number(0.05, GERMAN) == "0,05"


def test_a_picture_says_in_words_what_it_shows() -> None:
    drawn = chart(incident(), ABOVE, series(a=samples(0.1)), SPAN)
    assert in_words(drawn, ENGLISH) == "HighErrorRate: rate(errors_total[5m]); instance=a 0.1; threshold > 0.05"
    assert "Schwellwert > 0,05" in in_words(drawn, GERMAN)


def parsed(picture: str) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314  # our own text, which has no entities


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in parsed(picture).iter() if element.tag.endswith("text")]


def test_times_are_those_of_the_reader() -> None:
    drawn = chart(incident(), ABOVE, series(a=samples(0.1)), SPAN)
    assert {"02:00", "opened 03:00", "2026-11-23, UTC"} <= set(texts(svg(drawn, ENGLISH)))
    assert {"eröffnet 04:00", "2026-11-23, Europe/Berlin", "> 0,05"} <= set(texts(svg(drawn, GERMAN)))


def test_a_picture_has_attributes_only_and_loads_nothing() -> None:
    bad = '"><script>alert(1)</script>]]>&\x00\x1b\u202e\ud800'
    drawn = chart(
        incident(replace(alert(), labels={"alertname": bad})),
        replace(ABOVE, left=f'x{{a="{bad}"}}'),
        {(("instance", bad),): samples(1, 2), (("instance", "b"),): samples(1)},
        SPAN,
        (Deployment(START - HOUR, bad),),
    )
    for width in WIDTHS:
        root = parsed(svg(drawn, ENGLISH, Theme.DARK, width))
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {"svg", "rect", "line", "path", "text"}
        names = {name for element in root.iter() for name in element.attrib}
        assert not [name for name in names if name in {"style", "class"} or name.startswith("on") or "href" in name]


FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.lists(FLOATS, min_size=1, max_size=9), min_size=1, max_size=7),
    limit=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    operator=st.sampled_from(("<", ">", "<=", ">=", "==", "!=")),
    name=st.text(max_size=400),
)
@example(values=[[5e-324]], limit=0.0, operator=">", name="")
@example(values=[[0.1, 0.1]], limit=0.1, operator="<", name="x")
def test_whatever_prometheus_gives_the_picture_is_well_formed_and_within_its_frame(
    values: list[list[float]], limit: float | None, operator: str, name: str
) -> None:
    given_: Series = {(("instance", f"{name}{at}"),): samples(*row) for at, row in enumerate(values)}
    try:
        drawn = chart(incident(), Comparison("x", operator, limit, ""), given_, SPAN)
    except AbsentError:
        return
    root = parsed(svg(drawn, ENGLISH))
    for element in root.iter():
        for attribute in ("x", "x1", "x2", "y", "y1", "y2"):
            assert -1 <= float(element.get(attribute, 0)) <= WIDE


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e199, 1e199).filter(lambda value: value == 0 or abs(value) > 1e-100), min_size=1, max_size=5)
)
def test_an_axis_has_few_ticks_and_holds_every_value(values: list[float]) -> None:
    axis = scale(tuple(values), 5)
    assert axis.low <= min(values) <= max(values) <= axis.high
    assert axis.low < axis.high
    assert len(axis.ticks) <= 7


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 7 * 24 * 60),
    st.sampled_from(("UTC", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe")),
    st.integers(0, 365 * 24 * 60),
)
def test_a_time_axis_has_few_ticks_within_its_ends(minutes: int, zone: str, at: int) -> None:
    start = START + at * MINUTE
    ticks = [when for when, _ in times(start, start + timedelta(minutes=minutes), zone, 8)]
    assert len(ticks) <= 10
    assert all(start <= when <= start + timedelta(minutes=minutes) for when in ticks)
    assert ticks or minutes < 60


# Asking and drawing.


class Server:
    """Answers as Prometheus does, when it may."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self._more, self.hangs_up = asyncio.Condition(), False
        self.go = asyncio.Event()
        self.go.set()
        self.answer: Callable[[], web.Response] = lambda: self.matrix([[START.timestamp() - 60, "0.1"]])

    def matrix(self, *rows: list[list[object]]) -> web.Response:
        result = [{"metric": {"instance": f"web-{n}"}, "values": values} for n, values in enumerate(rows)]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": result}})

    def vector(self, sample: list[object]) -> web.Response:
        result = [{"metric": {"job": "shop"}, "value": sample}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append({key: str(value) for key, value in (await request.post()).items()})
        async with self._more:
            self._more.notify_all()
        await self.go.wait()
        if self.hangs_up and request.transport is not None:
            request.transport.close()
        return self.answer()

    async def was_asked(self, times: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: len(self.asked) >= times)


class Pens:
    """Draws at once."""

    def __init__(self) -> None:
        self.drawn, self.both = 0, asyncio.Event()

    async def draw(self, svg: str) -> bytes:
        self.drawn += 1
        if self.drawn > 1:
            self.both.set()
        return b"\x89PNG" + svg[:4].encode()


class Rig:
    def __init__(self, server: Server, prometheus: Prometheus) -> None:
        self.server, self.clock, self.pens, self.registry = server, Clock(), Pens(), CollectorRegistry()
        self.charts = self.made(prometheus)

    def made(self, prometheus: Prometheus | None, pens: Pens | None = None) -> Charts:
        sources = {} if prometheus is None else {"alertmanager": prometheus}
        registry = self.registry if not hasattr(self, "charts") else CollectorRegistry()
        return Charts(sources, self.clock, self.clock.elapsed, registry, rasteriser=pens or self.pens)

    async def absent(self, one: Incident | None = None) -> Absent:
        with pytest.raises(AbsentError) as error:
            await self.charts.png(one or incident(), ENGLISH)
        return error.value.reason

    def count(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("receiver_charts_total", {"outcome": outcome})


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    server, app = Server(), web.Application()
    app.router.add_post("/api/v1/query_range", server.handle)
    async with TestServer(app) as running, aiohttp.ClientSession() as session:
        rig = Rig(server, Prometheus(session, str(running.make_url("/")), timeout=30))
        yield rig
        server.go.set()
        await rig.charts.close()


async def test_prometheus_is_asked_for_few_points_and_told_when_to_stop(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.evidence.charts.PATIENCE", 2.0)
    await rig.charts.svg(incident(), GERMAN)
    (asked,) = rig.server.asked
    assert asked["query"] == "topk(5, rate(errors_total[5m]))"
    assert (asked["step"], asked["timeout"]) == ("45.000", "2.000")
    assert float(asked["end"]) - float(asked["start"]) == 3 * 3600


async def test_many_readers_of_one_chart_ask_once_until_it_is_old(rig: Rig) -> None:
    await asyncio.gather(*(rig.charts.svg(incident(), ENGLISH) for _ in range(30)))
    await rig.charts.png(incident(), ENGLISH)
    assert len(rig.server.asked) == 1
    rig.clock.forward(seconds=15)
    await rig.charts.svg(incident(), ENGLISH)
    assert len(rig.server.asked) == 2
    assert (rig.count("drawn"), rig.count("busy")) == (2, 0)


async def test_a_chart_of_what_is_over_is_asked_for_once(rig: Rig) -> None:
    over = incident(state=State.RESOLVED, resolved_at=START)
    rig.clock.forward(hours=2)
    await rig.charts.svg(over, ENGLISH)
    rig.clock.forward(days=2)
    await rig.charts.svg(over, ENGLISH)
    assert len(rig.server.asked) == 1


async def test_a_failure_is_remembered_for_a_moment(rig: Rig) -> None:
    rig.server.answer = lambda: web.json_response({"status": "error", "error": "too many samples"}, status=422)
    assert await rig.absent() is Absent.REFUSED
    assert await rig.absent() is Absent.REFUSED
    assert len(rig.server.asked) == 1
    rig.server.answer = rig.server.matrix
    rig.clock.forward(seconds=15)
    assert await rig.absent() is Absent.NO_DATA
    assert (rig.count("refused"), rig.count("no_data")) == (1, 1)


async def test_a_source_without_prometheus_has_no_chart(rig: Rig) -> None:
    assert await rig.absent(incident(source="other")) is Absent.NO_PROMETHEUS
    assert not rig.charts.possible(incident(source="other"))
    assert rig.charts.possible(incident())
    assert rig.server.asked == []


async def test_a_prometheus_that_cannot_be_reached_is_a_reason(rig: Rig) -> None:
    async with aiohttp.ClientSession() as session:
        rig.charts = rig.made(Prometheus(session, "http://127.0.0.1:9", timeout=30))
        assert await rig.absent() is Absent.UNREACHABLE


async def test_more_than_so_many_charts_at_once_are_refused(rig: Rig) -> None:
    rig.server.go.clear()
    waiting = [asyncio.ensure_future(rig.charts.chart(incident(key=str(n), id=n))) for n in range(16)]
    await rig.server.was_asked(4)
    assert await rig.absent(incident(id=99)) is Absent.BUSY
    assert len(rig.server.asked) == 4
    rig.server.go.set()
    assert len(await asyncio.gather(*waiting)) == 16


async def test_what_is_prepared_is_ready_and_a_page_never_waits_for_it(rig: Rig) -> None:
    rig.server.go.clear()
    rig.charts.prepare(incident(), [ENGLISH, ENGLISH, GERMAN])
    await rig.server.was_asked(1)
    assert rig.charts.ready(incident(), ENGLISH) is None
    rig.server.go.set()
    await rig.pens.both.wait()
    await rig.charts.png(incident(), ENGLISH)
    ready = rig.charts.ready(incident(), GERMAN)
    assert ready is not None
    assert ready[0].startswith(b"\x89PNG")
    assert len(rig.server.asked) == 1
    assert rig.charts.ready(incident(id=8), ENGLISH) is None


async def test_nothing_waits_for_a_prometheus_that_has_just_failed(rig: Rig) -> None:
    rig.server.hangs_up = True
    assert await rig.absent() is Absent.UNREACHABLE
    rig.server.hangs_up = False
    asked = len(rig.server.asked)
    rig.server.go.clear()
    for number_ in range(20, 40):
        await rig.charts.soon(incident(id=number_), ENGLISH, 3600.0)
    assert len(rig.server.asked) == asked
    rig.clock.forward(seconds=60)
    await rig.charts.soon(incident(id=50), ENGLISH, 0.0)
    rig.server.go.set()
    await rig.charts.soon(incident(id=51), ENGLISH, 30.0)
    assert rig.charts.ready(incident(id=51), ENGLISH) is not None


async def test_a_storm_prepares_no_more_than_it_may(rig: Rig) -> None:
    rig.server.go.clear()
    for number_ in range(500):
        rig.charts.prepare(incident(id=number_), [ENGLISH])
    await rig.server.was_asked(4)
    rig.server.go.set()
    await rig.charts.png(incident(id=0), ENGLISH)
    assert rig.count("busy") == 0


async def test_without_the_extra_there_is_no_png_and_still_an_svg(rig: Rig) -> None:
    async with aiohttp.ClientSession() as session:
        bare = Charts(
            {"alertmanager": Prometheus(session, "http://127.0.0.1:9")},
            rig.clock,
            rig.clock.elapsed,
            CollectorRegistry(),
            rasteriser=None,
        )
        with pytest.raises(AbsentError) as error:
            await bare.png(incident(), ENGLISH)
        assert error.value.reason is Absent.NOT_INSTALLED
        bare.prepare(incident(), [ENGLISH])


# The process that draws.


@pytest.fixture
async def process() -> AsyncIterator[PngProcess]:
    process = PngProcess()
    yield process
    process.close()


def picture(width: int = WIDE) -> str:
    both = series(a=samples(*(0.01 * n for n in range(99))), b=samples(*(0.02,) * 99))
    return svg(chart(incident(alert(instance="a")), ABOVE, both, SPAN), GERMAN, width=width)


async def test_a_png_is_twice_as_large_as_the_picture(process: PngProcess) -> None:
    for width in (WIDE, NARROW):
        png = await process.draw(picture(width))
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        assert int.from_bytes(png[16:20], "big") == 2 * width
        assert len(png) < 300_000


async def test_a_process_that_dies_is_followed_by_another(process: PngProcess) -> None:
    with pytest.raises(AbsentError) as error:
        await process.draw("no picture")
    assert error.value.reason is Absent.FAILED
    assert await process.draw(picture())
    worker = process._worker  # noqa: SLF001  # killed from outside, as a kernel short of memory does
    assert worker is not None
    os.kill(worker._process.pid, signal.SIGKILL)  # noqa: SLF001
    worker._process.wait()  # noqa: SLF001
    assert await process.draw(picture())


async def test_a_process_that_is_being_started_is_ended_as_well() -> None:
    process = PngProcess()
    process.warm_up()
    process.close()
    process._thread.shutdown()  # noqa: SLF001  # what it had begun
    worker = process._worker  # noqa: SLF001
    assert worker is None or not worker.alive
    with pytest.raises(AbsentError):
        await process.draw(picture())


async def test_pictures_wait_for_their_turn_and_not_too_many_of_them(process: PngProcess) -> None:
    results = await asyncio.gather(*(process.draw(picture(NARROW)) for _ in range(12)), return_exceptions=True)
    refused = [one.reason for one in results if isinstance(one, AbsentError)]
    assert refused == [Absent.BUSY] * 4
    assert len([one for one in results if isinstance(one, bytes)]) == 8
