"""Measures what each call of the store costs when its database has a past: work x 10, cost x how much.

The same calls of the store are made on a database without closed incidents and on ones that have more and more of
them, with the same incidents open. CPU time of all threads is given, of the call at the tenth percentile: other
programs share the machine. The growth is the cost with the longest history divided by that with none; `--plot` draws
the curves of docs/scaling.md.
"""

import asyncio
import math
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.history import fill
from bench.load import ROOT
from bench.options import parser
from bench.receiver_process import Site
from bench.receiver_storm import payload
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.incident.event import Acknowledge, AlertsReceived, Delivered, TimeDue
from receiver.incident.machine import transition
from receiver.incident.model import Origin
from receiver.policy.routing import Routing
from receiver.store.base import Claimed
from receiver.store.sqlite.store import SQLiteStore
from receiver.web.alertmanager_payload import parse

LEFT, TOP, WIDTH, HEIGHT, LINE = 84, 20, 420, 400, 15  # of the plot, in pixels
# Sizes, what is done once, and what lies on another curve.
UNDRAWN = {"database, MB", "database, compressed, MB", "compressing all (in the background)"}
UNDRAWN |= {"what is due, when nothing is", "resolved in the last minutes", "pages that wait for long"}
GROWS = 3.0  # a call that costs more than so much with the longest history is drawn in another colour
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 476" font-family="sans-serif" font-size="12">
<style>
text { fill: #333 } .grid { stroke: #ddd } .flat, .grows { fill: none; stroke-width: 2 }
.flat { stroke: #1f77b4 } .grows { stroke: #d62728 }
@media (prefers-color-scheme: dark) { text { fill: #ccc } .grid { stroke: #444 } .flat { stroke: #6db3e8 } }
</style>"""

Figures = dict[str, float]  # what -> milliseconds of CPU, or megabytes


class Size(NamedTuple):
    """The closed incidents of each database, how many are open in all of them, and how often each call is made."""

    closed: tuple[int, ...]
    open: int
    calls: int


FULL, SHORT = Size((0, 1_000, 10_000, 100_000), 2_000, 200), Size((0, 50), 20, 5)


class Measured:
    """One store, and what its calls have cost."""

    def __init__(self, path: Path, routing: Routing, now: datetime, size: Size) -> None:
        self._path, self._routing, self.now, self._size = path, routing, now, size
        self._store = SQLiteStore(path, lambda: None)
        self._next = 500_000  # a group that nobody has heard of
        self.figures: Figures = {}

    async def run(self) -> None:
        """Measure everything."""
        await self._once("start-up", partial(self._store.open, self.now))
        await self._once("check for damage (in the background)", self._store.check)
        self.figures["database, MB"] = used(self._path)
        await self._once("compressing all (in the background)", self._pack)
        self.figures["database, compressed, MB"] = used(self._path)
        for number in range(self._size.open):
            await self._fire(number, "none", alerts=2)
        await self._each("webhook of a new P1, ten alerts", self._page)
        await self._send()
        await self._each("acknowledgement", self._acknowledge)
        await self._each("step that is due", self._step)
        await self._read()
        await self._retain()
        await self._store.close()

    async def _pack(self) -> None:
        while await self._store.pack(self.now, 500):
            pass

    async def _fire(self, number: int, severity: str, alerts: int) -> int:
        (group,) = parse(payload(number, severity, alerts=alerts), self.now).groups
        incident = await self._store.update(AlertsReceived(group), self._routing, self.now)
        return incident.id if incident else 0

    async def _page(self, number: int) -> None:
        self._paged = await self._fire(self._next + number, "critical", 10)

    async def _send(self) -> None:
        claims: list[Claimed] = []

        async def claim(_: int) -> None:
            claims.extend(await self._store.claim("slack", self.now, 90.0, 1))

        async def settle(number: int) -> None:
            one = claims[number]
            delivered = Delivered(one.notification.round, one.notification.target.person)
            decide = partial(transition, event=delivered, policy=self._routing, now=self.now)
            await self._store.settle(one, "1.1", decide, self.now)

        await self._each("claim of one notification", claim)
        await self._each("settling one", settle)
        await self._each("claim when nothing is due", claim)

    async def _acknowledge(self, number: int) -> None:
        decide = partial(transition, event=Acknowledge("linh", Origin.API), policy=self._routing, now=self.now)
        await self._store.apply(self._paged - number, decide, self.now)

    async def _step(self, _: int) -> None:
        later = self.now + timedelta(hours=2)
        (number,) = await self._store.due(later, 1)
        await self._store.apply(number, partial(transition, event=TimeDue(), policy=self._routing, now=later), later)

    async def _read(self) -> None:
        store, day = self._store, self.now - timedelta(days=2)
        await self._each("what is due, when nothing is", lambda _: store.due(self.now - timedelta(days=1)))
        await self._each("figures of a scrape", lambda _: store.backlog())
        await self._each("the 100 newest", lambda _: store.incidents(None, 100))
        await self._each("the 100 newest that are resolved", lambda _: store.incidents("resolved", 100))
        await self._each("one incident with its timeline", lambda n: store.incident(self._paged - n))
        await self._each("pages that wait for long", lambda _: store.late_pages("slack", day, 50))
        await self._each("resolved in the last minutes", lambda _: store.resolved_since(self.now, 1000))
        await self._each("all that is open", lambda _: store.still_open(), calls=5)

    async def _retain(self) -> None:
        async def batch(_: int) -> None:
            old = await self._store.resolved_before(self.now, 50)
            await self._store.delete([incident.id for incident, _ in old])

        await self._each("retention of 50", batch, calls=5)

    async def _each(self, what: str, call: Callable[[int], Awaitable[object]], calls: int = 0) -> None:
        costs = []
        for number in range(calls or self._size.calls):
            began = time.process_time()
            await call(number)
            costs.append(time.process_time() - began)
        self.figures[what] = sorted(costs)[len(costs) // 10] * 1000

    async def _once(self, what: str, call: Callable[[], Awaitable[object]]) -> None:
        await self._each(what, lambda _: call(), calls=1)


def used(path: Path) -> float:
    """Give the megabytes of a database, without what is free in it."""
    with closing(sqlite3.connect(path)) as db:
        pages = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")]
    return float((pages[0] - pages[1]) * pages[2] / 1e6)


def measure(folder: Path, closed: int, size: Size) -> Figures:
    """Fill a database and measure it."""
    folder.mkdir()
    site, now = Site(folder), datetime.now(UTC)
    routing = build_routing(*load(site.config))
    empty = SQLiteStore(site.database, lambda: None)

    async def create() -> None:
        await empty.open(now)
        await empty.close()

    asyncio.run(create())
    fill(site.database, routing, now, closed)
    measured = Measured(site.database, routing, now, size)
    asyncio.run(measured.run())
    return measured.figures


def show(columns: dict[int, Figures]) -> None:
    """Print a row for each call, and how its cost has grown."""
    least, most = min(columns), max(columns)
    print(f"{'CPU ms with so many closed incidents':<36}" + "".join(f"{n:>10,}" for n in columns) + "    growth")
    for what in columns[most]:
        row = [columns[n].get(what) for n in columns]
        base = columns[least].get(what)
        growth = f"{columns[most][what] / base:8.2f} x" if base else ""
        print(f"{what:<36}" + "".join(f"{'' if v is None else format(v, '10.3f')}" for v in row) + f"  {growth}")


def spread(ends: dict[str, float]) -> dict[str, float]:
    """Give where labels stand, each as near to the end of its line as the others let it."""
    order, low = sorted(ends, key=lambda what: ends[what]), -math.inf
    places = dict[str, float]()
    for what in order:
        places[what] = low = max(ends[what], low + LINE)
    high = float(TOP + HEIGHT + LINE)
    for what in reversed(order):
        places[what] = high = min(places[what], high - LINE)
    return places


def plot(columns: dict[int, Figures]) -> str:
    """Draw the milliseconds of each call over the closed incidents, both by powers of ten."""
    sizes = [n for n in columns if n]
    lines = {what: [columns[n][what] for n in sizes] for what in columns[sizes[0]] if what not in UNDRAWN}
    low, high = -2, math.ceil(math.log10(max(max(line) for line in lines.values())))

    def x(closed: int) -> float:
        return LEFT + WIDTH * (math.log10(closed / sizes[0]) / (math.log10(sizes[-1] / sizes[0]) or 1))

    def y(cost: float) -> float:
        return TOP + HEIGHT * (high - math.log10(max(cost, 10.0**low))) / (high - low)

    parts = [HEAD]
    for power in range(low, high + 1):
        at, label = y(10.0**power), f"{10.0**power:,.2f}".rstrip("0").rstrip(".")
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{LEFT + WIDTH}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label} ms</text>')
    under = TOP + HEIGHT + 20
    for closed in sizes:
        anchor = "end" if closed == sizes[-1] else "middle"
        parts.append(f'<text x="{x(closed):.1f}" y="{under}" text-anchor="{anchor}">{closed:,}</text>')
    for what, place in spread({what: y(line[-1]) for what, line in lines.items()}).items():
        path = "L".join(f"{x(n):.1f} {y(cost):.1f}" for n, cost in zip(sizes, lines[what], strict=True))
        kind, end = "grows" if lines[what][-1] > GROWS * lines[what][0] else "flat", LEFT + WIDTH
        parts.append(f'<path class="{kind}" d="M{path}"/>')
        parts.append(f'<path class="grid" d="M{end} {y(lines[what][-1]):.1f}L{end + 20} {place:.1f}"/>')
        parts.append(f'<text x="{end + 24}" y="{place + 4:.1f}">{what}</text>')
    parts.append(f'<text x="{LEFT + WIDTH / 2}" y="{under + 22}" text-anchor="middle">closed incidents</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Run the benchmark."""
    known = parser(__doc__)
    known.add_argument("--closed", type=int, nargs="+", help="closed incidents of each database")
    known.add_argument("--plot", type=Path, help="write the curves to this file (SVG)")
    options = known.parse_args()
    size = SHORT if options.short else FULL
    if options.closed:
        size = size._replace(closed=tuple(options.closed))
    (ROOT / "data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "data") as folder:
        columns = {closed: measure(Path(folder) / str(closed), closed, size) for closed in size.closed}
    show(columns)
    if options.plot:
        options.plot.write_text(plot(columns), "utf-8")


if __name__ == "__main__":
    main()
