"""The Python client's promises: order, batches, one count per event, back-pressure, and no harm to the application."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local.ports import free_port
from exporter.client.heypeter_client import Client, NotQueuedError, Settings
from tests.exporter.client.exporter_double import TOKEN, Call, ExporterDouble, serve

HOUR = 3600.0


@pytest.fixture
def double() -> Iterator[ExporterDouble]:
    with serve(ExporterDouble()) as double:
        yield double


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    for name in ("HEYPETER_URL", "HEYPETER_TOKEN", "HEYPETER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    yield
    assert TOKEN not in caplog.text


def settings(url: str, **more: object) -> Settings:
    quick: dict[str, object] = {"batch_delay": HOUR, "jitter": lambda: 0.0, "close_timeout": 60.0}
    return Settings(**{"url": url, "token": TOKEN, **quick, **more})  # type: ignore[arg-type]  # each test gives some of many


def rate(client: Client, *ratings: int) -> list[bool]:
    return [client.track("class_rated", {"class_type": "private", "rating": rating}) for rating in ratings]


def test_events_arrive_in_order_in_full_batches(double: ExporterDouble) -> None:
    with Client(settings(double.url)) as client:
        assert all(rate(client, *range(1, 451)))
    assert double.notes == list(range(1, 451))
    assert [len(call.body["events"]) for call in double.calls][-1] <= 50
    assert len({call.batch_id for call in double.calls}) == len(double.calls) == 3
    expected = {"sent": 450, "duplicates": 0, "rejected": 0, "dropped": 0, "retried": 0, "batches": 3, "queued": 0}
    assert client.stats() == expected


def test_a_batch_that_does_not_fill_is_sent_when_its_time_has_come(double: ExporterDouble) -> None:
    with Client(settings(double.url, batch_delay=0.001)) as client:
        rate(client, 1)
        double.wait_for_calls(1)
    assert double.notes == [1]


def test_an_event_says_when_and_what_and_a_batch_when_it_was_sent(double: ExporterDouble) -> None:
    with Client(settings(double.url, wall=lambda: 1_700_000_000.1234, source="web-1")) as client:
        client.track("login", {"method": "password"})
        moment = datetime(1970, 1, 1, tzinfo=UTC)
        client.send("audit_entry", id="entry-7", source="outbox", time=moment, trace_id="a" * 32)
    assert double.calls[0].body["sent_at"] == 1_700_000_000.123
    assert double.calls[0].body["events"] == [
        {"type": "login", "time": 1_700_000_000.123, "source": "web-1", "data": {"method": "password"}},
        {
            "type": "audit_entry",
            "time": "1970-01-01T00:00:00+00:00",
            "source": "outbox",
            "id": "entry-7",
            "trace_id": "a" * 32,
            "data": {},
        },
    ]


@pytest.mark.parametrize("fate", ["503", "429", "502", "504", "408", "lose", "half", "503 0"])
def test_a_batch_is_sent_again_unchanged_and_counted_once(double: ExporterDouble, fate: str) -> None:
    double.script = [fate, fate]
    with Client(settings(double.url)) as client:
        rate(client, 1, 2, 3)
    assert double.notes == [1, 2, 3]
    assert len(double.calls) == 3
    assert len({call.batch_id for call in double.calls}) == 1
    assert {call.headers["idempotency-key"] for call in double.calls} == {double.calls[0].batch_id}
    assert all(call.body["events"] == double.calls[0].body["events"] for call in double.calls)
    stats = client.stats()
    assert (stats["sent"], stats["retried"], stats["dropped"]) == (3, 2, 0)


def test_an_answer_that_never_comes_is_a_timeout_and_the_batch_still_counts_once(double: ExporterDouble) -> None:
    double.script = ["hang"]
    with Client(settings(double.url, timeout=5)) as client:
        rate(client, 1)
    assert double.notes == [1]
    assert (len(double.calls), client.stats()["retried"]) == (2, 1)


def test_events_wait_for_an_exporter_that_is_not_there_yet() -> None:
    port = free_port()
    refused, there = threading.Event(), threading.Event()

    def jitter() -> float:
        refused.set()
        there.wait(60)
        return 0.0

    client = Client(settings(f"http://127.0.0.1:{port}", jitter=jitter, batch_size=1))
    rate(client, 1)
    assert refused.wait(60)
    with serve(ExporterDouble(), port) as double:
        there.set()
        assert client.close(60)
        assert double.notes == [1]
    assert client.stats()["retried"] == 1


NO_DAY = "Wed, 99999999999 Oct 2099 07:28:00 GMT"  # Python raises OverflowError for it


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", 8.0),
        ("Thu, 01 Jan 1970 00:00:09 GMT", 10.0),
        ("0", 1.0),
        ("nonsense", 1.0),
        ("9999999", 301.0),
        (NO_DAY, 1.0),
    ],
)
def test_the_exporters_wish_to_wait_is_honoured(
    double: ExporterDouble, header: str, wait: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Watched(Client):
        def _wait(self, attempt: int, retry_after: float) -> float:
            waits.append(super()._wait(attempt, retry_after))
            return 0.0

    double.script = [f"503 {header}", "503", "503"]
    with Watched(
        settings(double.url, jitter=lambda: 1.0, backoff_base=1.0, backoff_most=3.0, wall=lambda: 0)
    ) as client:
        rate(client, 1)
    assert waits == [wait, 2.0, 3.0]


def test_a_batch_that_is_too_large_is_halved_until_it_fits(double: ExporterDouble) -> None:
    double.limit = 3
    with Client(settings(double.url)) as client:
        rate(client, *range(1, 11))
    assert double.notes == list(range(1, 11))
    assert len({call.batch_id for call in double.calls}) == len(double.calls)
    assert (client.stats()["sent"], client.stats()["rejected"]) == (10, 0)


@pytest.mark.parametrize("status", ["200", "302", "400", "401", "404", "413", "415", "500"])
def test_a_final_answer_is_final(double: ExporterDouble, status: str, caplog: pytest.LogCaptureFixture) -> None:
    double.script = [status]
    with Client(settings(double.url)) as client:
        outcome = client.deliver([{"type": "login", "id": "x", "data": {"method": "sso"}}])[0]
    assert len(double.calls) == 1
    assert outcome.state == ("rejected" if status in {"400", "413"} else "undelivered")
    assert (client.stats()["rejected"], client.stats()["retried"]) == (1, 0)
    assert status in outcome.message
    assert status in caplog.text


def test_rejected_events_are_told_and_not_sent_again(double: ExporterDouble, caplog: pytest.LogCaptureFixture) -> None:
    double.reject = "login"
    with Client(settings(double.url)) as client:
        outcomes = client.deliver([{"type": "audit_entry"}, {"type": "login", "id": "i", "data": {}}])
    assert [outcome.state for outcome in outcomes] == ["counted", "rejected"]
    assert (outcomes[1].reason, outcomes[1].field) == ("schema", "data.rating")
    assert (len(double.calls), client.stats()["sent"], client.stats()["rejected"]) == (1, 1, 1)
    assert "login was rejected: Expected `int` (schema data.rating)" in caplog.text


def test_a_batch_that_is_wholly_bad_tells_what_is_wrong_with_each(double: ExporterDouble) -> None:
    double.reject = "login"
    with Client(settings(double.url, batch_size=1000)) as client:
        outcomes = client.deliver([{"type": "login", "data": {"method": "sso"}}] * 150)
    assert [outcome.reason for outcome in outcomes] == ["schema"] * 100 + ["undescribed"] * 50
    assert (len(double.calls), client.stats()["rejected"], client.stats()["sent"]) == (1, 150, 0)


def test_an_answer_that_is_not_the_exporters_does_not_end_the_client(double: ExporterDouble) -> None:
    class Odd(ExporterDouble):
        def take(self, call: Call) -> tuple[int, dict[str, str], dict[str, object], str]:
            status, headers, answer, broken = super().take(call)
            odd = {"accepted": 1, "duplicates": [], "rejected": [7, {"index": None}], "rejected_total": "x"}
            return status, headers, odd if len(self.calls) == 1 else answer, broken

    with serve(Odd()) as odd, Client(settings(odd.url, batch_size=1)) as client:
        states = [client.deliver([{"type": "audit_entry"}])[0].state for _ in range(2)]
    assert states == ["undelivered", "counted"]


def test_telemetry_that_finds_the_queue_full_is_dropped_and_counted(
    double: ExporterDouble, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(settings(double.url, queue_size=5))
    with client._changed:  # noqa: SLF001  # in one turn of the lock, so that the thread takes none meanwhile
        taken = rate(client, 1, 2, 3, 4, 5, 6, 7)
    client.close()
    assert taken == [True] * 5 + [False] * 2
    assert double.notes == [1, 2, 3, 4, 5]
    assert (client.stats()["sent"], client.stats()["dropped"]) == (5, 2)
    assert caplog.messages == ["telemetry is dropped: the queue is full"]


def test_business_events_wait_for_room() -> None:
    class Held(ExporterDouble):
        """Answers nothing until it is told to."""

        def take(self, call: Call) -> tuple[int, dict[str, str], dict[str, object], str]:
            answer = super().take(call)
            self.released.wait(60)
            return answer

    with serve(Held()) as held, Client(settings(held.url, queue_size=2, batch_size=1)) as client:
        rate(client, 1)
        held.wait_for_calls(1)  # under way, so that the queue is empty
        rate(client, 2, 3)
        futures = []
        sender = threading.Thread(target=lambda: futures.append(client.send("class_rated", {"rating": 4})))
        sender.start()
        assert not client.track("class_rated", {"rating": 99})
        held.released.set()
        sender.join(60)
        assert futures[0].result(60).state == "counted"
    assert held.notes == [1, 2, 3, 4]
    assert client.stats()["dropped"] == 1


def test_telemetry_takes_no_room_that_a_business_event_waits_for(double: ExporterDouble) -> None:
    with Client(settings(double.url)) as client:
        client._waiting += 1  # noqa: SLF001  # as between the making of room and the waking of the thread that waits
        assert rate(client, 1) == [False]
        client._waiting -= 1  # noqa: SLF001
        assert rate(client, 2) == [True]
    assert double.notes == [2]


def test_large_bodies_are_compressed_and_small_ones_are_not(double: ExporterDouble) -> None:
    with Client(settings(double.url)) as client:
        rate(client, 1)
        assert client.flush()
        rate(client, *range(2, 151))
    small, large = double.calls
    assert "content-encoding" not in small.headers
    assert large.headers["content-encoding"] == "gzip"
    assert len(large.raw) < 8192
    assert double.notes == list(range(1, 151))


def test_batches_stay_far_below_what_the_exporter_takes(double: ExporterDouble) -> None:
    with Client(settings(double.url)) as client:
        for rating in range(1, 61):
            client.track("class_rated", {"rating": rating, "note": "x" * 20_000})
    assert double.notes == list(range(1, 61))
    assert max(len(json.dumps(call.body)) for call in double.calls) < 600_000


def test_closing_gives_up_in_time_and_counts_what_was_lost(double: ExporterDouble) -> None:
    double.script = ["hang"]
    client = Client(settings(double.url, batch_size=2, timeout=HOUR))
    futures = [client.send("class_rated", {"rating": rating}) for rating in (1, 2, 3)]
    double.wait_for_calls(1)
    assert not client.close(0.1)
    # Sooner than the exporter hangs up of its own accord.
    assert {future.result(20).state for future in futures} == {"undelivered"}
    assert rate(client, 4) == [False]
    with pytest.raises(NotQueuedError, match="closed"):
        client.send("login")
    stats = client.stats()
    assert (stats["dropped"], stats["sent"], stats["queued"]) == (4, 0, 0)


def test_nothing_that_is_given_to_track_can_raise(double: ExporterDouble) -> None:
    loop: dict[str, object] = {}
    loop["loop"] = loop
    with Client(settings(double.url)) as client:
        bad: list[dict[str, object]] = [loop, {"rating": float("nan")}, {"rating": object()}, {"note": "x" * 40_000}]
        assert [client.track("class_rated", data) for data in bad] == [False] * 4
    assert (client.stats()["dropped"], client.stats()["sent"]) == (4, 0)


@pytest.mark.parametrize("missing", ["url", "token"])
def test_without_address_or_token_telemetry_is_dropped_and_business_events_are_refused(missing: str) -> None:
    with Client(Settings(**{"url": "http://127.0.0.1:1", "token": TOKEN, missing: ""})) as client:  # type: ignore[arg-type]
        assert rate(client, 1) == [False]
        with pytest.raises(NotQueuedError, match="HEYPETER_URL"):
            client.send("login")


@pytest.mark.parametrize("url", [f"http://user:{TOKEN}@127.0.0.1", "nonsense", "ftp://127.0.0.1"])
def test_a_wrong_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="HEYPETER_URL") as caught:
        Client(settings(url))
    assert TOKEN not in str(caught.value)


def test_a_token_of_two_lines_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="token") as caught:
        Client(settings("http://127.0.0.1:1", token=f"{TOKEN}\nx"))
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(settings("http://127.0.0.1:1"))


def test_a_token_file_is_read_again_so_that_a_new_token_needs_no_restart(
    double: ExporterDouble, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("an-old-token\n", "utf-8")
    states = []
    with Client(settings(double.url, token="", token_file=file)) as client:
        states += client.deliver([{"type": "audit_entry"}])
        file.write_text(f"{TOKEN}\n", "utf-8")
        states += client.deliver([{"type": "audit_entry"}])
        file.unlink()
        states += client.deliver([{"type": "audit_entry"}])
    assert [outcome.state for outcome in states] == ["undelivered", "counted", "counted"]


def test_what_is_queued_is_sent_before_the_interpreter_ends(double: ExporterDouble) -> None:
    script = "from heypeter_client import Client\nClient().track('class_rated', {'rating': 1})"
    environment = {**os.environ, "HEYPETER_URL": double.url, "HEYPETER_TOKEN": TOKEN, "PYTHONPATH": "exporter/client"}
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], env=environment, check=False, timeout=60)
    assert done.returncode == 0
    assert double.notes == [1]


def test_a_log_line_is_not_repeated_within_a_minute(double: ExporterDouble, caplog: pytest.LogCaptureFixture) -> None:
    now = [1000.0]
    caplog.set_level(logging.WARNING, "heypeter")
    double.script = ["503"] * 5
    with Client(settings(double.url, wall=lambda: now[0])) as client:
        rate(client, 1)
        assert client.flush()
        now[0] += 61
        double.script = ["503"]
        rate(client, 2)
    assert caplog.messages == ["the exporter answered 503"] * 2
