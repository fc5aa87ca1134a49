"""Both clients and the real exporter: what was sent is counted once, whatever befalls the way or the exporter."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from deploy.local.ports import free_port
from exporter.client.heypeter_client import Client, Settings
from tests.exporter.client.exporter_double import TOKEN, ExporterDouble, serve
from tests.exporter.client.node import run
from tests.exporter.example_exporter import sample_in

CONFIG = """
storage: {path: state}
events: {token_file: token}
first_increment_hold: 0s
lists: {routes: ["/api/bookings/[id]"], class_types: [exam], tables: [bookings], caches: [session]}
"""


class RunningExporter:
    """The real program on a free port, which may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        (folder / "exporter.yml").write_text(CONFIG, "utf-8")
        (folder / "token").write_text(TOKEN, "utf-8")
        self._config = folder / "exporter.yml"
        self._listen = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self._listen}"
        self.start()

    def start(self) -> None:
        arguments = ["--config.file", str(self._config), "--web.listen-address", self._listen]
        command = [sys.executable, "-m", "exporter", *arguments]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if "listens on" in line:
                break
        else:
            pytest.fail("".join(lines))
        self._drain = threading.Thread(target=self._process.stderr.read)  # or its pipe fills
        self._drain.start()

    def end(self, signum: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(signum)
        self._process.wait(30)
        self._drain.join()
        if self._process.stderr:
            self._process.stderr.close()

    def value(self, name: str, **labels: str) -> float | None:
        text = urlopen(f"{self.url}/metrics", timeout=30).read().decode()
        return sample_in(text, name, **labels)


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[RunningExporter]:
    exporter = RunningExporter(tmp_path)
    yield exporter
    exporter.end()


def bookings(exporter: RunningExporter) -> float | None:
    return exporter.value("class_bookings_total", class_type="exam", channel="web")


def python_client(url: str, **more: float) -> Client:
    return Client(Settings(url=url, token=TOKEN, jitter=lambda: 0.1, close_timeout=60.0, **more))  # type: ignore[arg-type]


def book(client: Client, *ids: str) -> None:
    for booking in ids:
        client.send("class_booked", {"class_type": "exam", "channel": "web"}, id=booking, source="outbox")


NODE = """
const client = new Client({ ...instant, batchSize: 3 });
for (let i = 0; i < 10; i++) await client.send("class_booked", { class_type: "exam", channel: "web" });
await client.close(60_000);
say(client.stats());
"""


def test_what_node_sends_is_counted_once_although_answers_are_lost(exporter: RunningExporter) -> None:
    with serve(ExporterDouble(upstream=exporter.url, script=["lose", "503", "half", "ok", "lose"])) as way:
        stats = run(NODE, way.url)
    assert (stats["sent"], stats["retried"], stats["rejected"]) == (10, 4, 0)
    assert bookings(exporter) == 10


def test_what_python_sends_is_counted_once_although_answers_are_lost(exporter: RunningExporter) -> None:
    script = ["lose", "503", "half", "ok", "lose"]
    with serve(ExporterDouble(upstream=exporter.url, script=script)) as way:
        with python_client(way.url, batch_size=3) as client:
            book(client, *(f"booking-{number}" for number in range(10)))
        assert (client.stats()["sent"], client.stats()["retried"]) == (10, 4)
    assert bookings(exporter) == 10


def test_an_exporter_that_was_killed_knows_what_it_had_counted(exporter: RunningExporter) -> None:
    """The outbox' case: the answer never came, the exporter died, and the same rows are sent again."""
    with python_client(exporter.url) as client:
        book(client, "a", "b")
    exporter.end(signal.SIGKILL)
    exporter.start()
    with python_client(exporter.url) as client:
        book(client, "a", "b", "c")
    assert (client.stats()["sent"], client.stats()["duplicates"]) == (3, 2)
    assert bookings(exporter) == 3


def test_what_the_wrappers_send_becomes_the_series_that_the_alerts_read(exporter: RunningExporter) -> None:
    run(
        """
        register(instant);
        const GET = withMetrics("/api/bookings/[id]", async () => Response.json({}));
        await GET(new Request("http://x/"));
        const broken = withMetrics("/api/bookings/[id]", () => { throw new Error("x"); });
        await broken(new Request("http://x/")).catch(() => {});
        await timeQuery("select", "bookings", async () => 1);
        heypeter.cacheRequest("session", true);
        const [outcome] = await deliver([{ type: "login", data: { method: 7 } }]);
        await heypeter.client().close();
        say(outcome);
        """,
        exporter.url,
    )
    route = {"method": "GET", "route": "/api/bookings/[id]"}
    assert exporter.value("http_requests_total", **route, status="200") == 1
    assert exporter.value("http_requests_total", **route, status="500") == 1
    assert exporter.value("http_request_duration_seconds_count", **route) == 2
    assert exporter.value("db_queries_total", operation="select", table="bookings", outcome="success") == 1
    assert exporter.value("cache_requests_total", cache="session", result="hit") == 1


def test_what_the_exporter_refuses_is_told_with_its_reason(exporter: RunningExporter) -> None:
    with python_client(exporter.url) as client:
        good = {"type": "login", "data": {"method": "sso"}}
        outcomes = client.deliver([good, {"type": "login", "data": {"method": 7}}, {"type": "nonsense"}])
        alone = client.deliver([{"type": "nonsense"}])
    assert [outcome.state for outcome in outcomes] == ["counted", "rejected", "rejected"]
    assert [outcome.reason for outcome in (*outcomes, *alone)] == ["", "schema", "unknown_type", "unknown_type"]


def test_a_wrong_token_is_final(exporter: RunningExporter) -> None:
    with Client(Settings(url=exporter.url, token="another")) as client:
        outcome = client.deliver([{"type": "audit_entry"}])[0]
    assert (outcome.state, outcome.reason) == ("undelivered", "status_401")
    assert client.stats()["retried"] == 0


def test_a_full_and_compressed_batch_is_taken(exporter: RunningExporter) -> None:
    with python_client(exporter.url, batch_size=1000) as client:
        book(client, *(f"booking-{number}" for number in range(1000)))
    assert client.stats()["sent"] == 1000
    assert bookings(exporter) == 1000
