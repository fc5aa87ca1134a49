"""The Node client's promises: order, batches, one count per event, back-pressure, and no harm to the application."""

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from deploy.local.ports import free_port
from tests.exporter.client.exporter_double import TOKEN, ExporterDouble, serve
from tests.exporter.client.node import command, environment, run


@pytest.fixture
def double() -> Iterator[ExporterDouble]:
    with serve(ExporterDouble()) as double:
        yield double


def test_events_arrive_in_order_in_full_batches(double: ExporterDouble) -> None:
    stats = run(
        """
        const client = new Client({ ...instant, batchDelay: 3_600_000 });
        for (let i = 1; i <= 450; i++) client.track(...rate(i));
        await client.close();
        say(client.stats());
        """,
        double.url,
    )
    assert double.notes == list(range(1, 451))
    assert [len(call.body["events"]) for call in double.calls] == [200, 200, 50]
    assert len({call.batch_id for call in double.calls}) == 3
    assert stats == {"sent": 450, "duplicates": 0, "rejected": 0, "dropped": 0, "retried": 0, "batches": 3, "queued": 0}
    assert {call.headers["path"] for call in double.calls} == {"/api/events"}


def test_a_batch_that_does_not_fill_is_sent_when_its_time_has_come(double: ExporterDouble) -> None:
    run(
        """
        const client = new Client({ ...instant, batchDelay: 1 });
        client.track(...rate(1));
        const outcome = setInterval(() => client.stats().sent === 1 && clearInterval(outcome), 1);
        """,
        double.url,
    )
    assert double.notes == [1]


def test_an_event_says_when_and_what_and_a_batch_when_it_was_sent(double: ExporterDouble) -> None:
    run(
        """
        const client = new Client({ ...instant, now: () => 1_700_000_000_123, source: "web-1" });
        client.track("login", { method: "password" });
        client.track("class_booked", { class_type: "exam", channel: "web" },
          { id: "booking-7", source: "outbox", time: new Date(0), traceId: "a".repeat(32) });
        await client.close();
        """,
        double.url,
    )
    assert double.calls[0].body["sent_at"] == 1_700_000_000_123
    assert double.calls[0].body["events"] == [
        {"type": "login", "source": "web-1", "time": 1_700_000_000_123, "data": {"method": "password"}},
        {
            "type": "class_booked",
            "id": "booking-7",
            "source": "outbox",
            "time": "1970-01-01T00:00:00.000Z",
            "trace_id": "a" * 32,
            "data": {"class_type": "exam", "channel": "web"},
        },
    ]


@pytest.mark.parametrize("fate", ["503", "429", "502", "504", "408", "lose", "half"])
def test_a_batch_is_sent_again_unchanged_and_counted_once(double: ExporterDouble, fate: str) -> None:
    double.script = [fate, fate]
    stats = run(
        """
        const client = new Client(instant);
        for (let i = 1; i <= 3; i++) client.track(...rate(i));
        await client.close();
        say({ ...client.stats(), logs });
        """,
        double.url,
    )
    assert double.notes == [1, 2, 3]
    assert len(double.calls) == 3
    assert len({call.batch_id for call in double.calls}) == 1
    assert {call.headers["idempotency-key"] for call in double.calls} == {double.calls[0].batch_id}
    assert all(call.body["events"] == double.calls[0].body["events"] for call in double.calls)
    assert (stats["sent"], stats["retried"], stats["dropped"]) == (3, 2, 0)
    assert len(stats["logs"]) == 1


def test_an_answer_that_never_comes_is_a_timeout_and_the_batch_still_counts_once(double: ExporterDouble) -> None:
    double.script = ["hang"]
    stats = run(
        """
        const client = new Client({ ...instant, timeout: 5000 });
        client.track(...rate(1));
        await client.close();
        say(client.stats());
        """,
        double.url,
    )
    assert double.notes == [1]
    assert (len(double.calls), stats["sent"], stats["retried"]) == (2, 1, 1)


def test_events_wait_for_an_exporter_that_is_not_there_yet() -> None:
    port = free_port()
    script = """
        const told = new Promise((resolve) => process.stdin.once("data", resolve));
        const sleep = () => (say("refused"), told);
        const client = new Client({ ...instant, sleep });
        client.track(...rate(1));
        say({ flushed: await client.flush(60_000), ...client.stats() });
        process.stdin.destroy();
    """
    with subprocess.Popen(
        command(script),
        env=environment(f"http://127.0.0.1:{port}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert json.loads(process.stdout.readline()) == "refused"
        with serve(ExporterDouble(), port) as double:
            process.stdin.write("go on\n")
            process.stdin.flush()
            said = json.loads(process.stdout.readline())
            assert (said["flushed"], said["sent"], said["retried"]) == (True, 1, 1)
            assert double.notes == [1]


def test_the_wait_grows_is_jittered_and_ends_at_a_most(double: ExporterDouble) -> None:
    double.script = ["503"] * 9
    script = """
        const client = new Client({ ...instant, random: () => 0.5 });
        client.track(...rate(1));
        await client.close();
        say(waits);
    """
    assert run(script, double.url) == [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]


@pytest.mark.parametrize(
    ("header", "wait"),
    [("7", 7500), ("Thu, 01 Jan 1970 00:00:09 GMT", 9500), ("0", 500), ("nonsense", 500), ("9999999", 300_500)],
)
def test_the_exporters_wish_to_wait_is_honoured(double: ExporterDouble, header: str, wait: int) -> None:
    double.script = [f"503 {header}"]
    script = """
        const client = new Client({ ...instant, now: () => 0 });
        client.track(...rate(1));
        await client.close();
        say(waits);
    """
    assert run(script, double.url) == [wait]


def test_a_batch_that_is_too_large_is_halved_until_it_fits(double: ExporterDouble) -> None:
    double.limit = 3
    stats = run(
        """
        const client = new Client(instant);
        for (let i = 1; i <= 10; i++) client.track(...rate(i));
        await client.close();
        say(client.stats());
        """,
        double.url,
    )
    assert double.notes == list(range(1, 11))
    assert len({call.batch_id for call in double.calls}) == len(double.calls)
    assert (stats["sent"], stats["rejected"], stats["retried"]) == (10, 0, 0)


@pytest.mark.parametrize("status", ["200", "302", "400", "401", "404", "413", "415", "500"])
def test_a_final_answer_is_final(double: ExporterDouble, status: str) -> None:
    double.script = [status]
    said = run(
        """
        const faults = [];
        const client = new Client({ ...instant, onRejected: (fault) => faults.push(fault) });
        const [outcome] = await client.deliver([{ type: "class_rated", id: "x", data: { rating: 1 } }]);
        await client.close();
        say({ ...client.stats(), faults, logs, state: outcome.state });
        """,
        double.url,
    )
    assert len(double.calls) == 1
    assert (said["rejected"], said["sent"], said["retried"]) == (1, 0, 0)
    assert said["state"] == ("rejected" if status in {"400", "413"} else "undelivered")
    assert said["faults"][0]["id"] == "x"
    assert status in said["faults"][0]["message"]
    assert status in said["logs"][0]


def test_rejected_events_are_told_and_not_sent_again(double: ExporterDouble) -> None:
    double.reject = "login"
    said = run(
        """
        const faults = [];
        const onRejected = (fault) => { faults.push(fault); throw new Error("the application's own fault"); };
        const client = new Client({ ...instant, onRejected });
        const events = [{ type: "class_rated", data: { rating: 1 } }, { type: "login", id: "i", data: {} }];
        const outcomes = await client.deliver(events);
        await client.close();
        say({ outcomes, faults, ...client.stats() });
        """,
        double.url,
    )
    fault = {"reason": "schema", "field": "data.rating", "message": "Expected `int`"}
    assert said["outcomes"] == [{"state": "counted"}, {"state": "rejected", **fault}]
    assert said["faults"] == [{"type": "login", "id": "i", **fault}]
    assert (len(double.calls), said["sent"], said["rejected"]) == (1, 1, 1)


def test_a_batch_that_is_wholly_bad_tells_what_is_wrong_with_each(double: ExporterDouble) -> None:
    double.reject = "login"
    said = run(
        """
        const client = new Client(instant);
        const outcomes = await client.deliver(Array.from({ length: 150 }, () => ({ type: "login", data: {} })));
        await client.close();
        say({ reasons: outcomes.map((outcome) => outcome.reason), ...client.stats() });
        """,
        double.url,
    )
    assert said["reasons"] == ["schema"] * 100 + ["undescribed"] * 50
    assert (len(double.calls), said["rejected"], said["sent"]) == (1, 150, 0)


def test_telemetry_that_finds_the_queue_full_is_dropped_and_counted(double: ExporterDouble) -> None:
    said = run(
        """
        const client = new Client({ ...instant, queueSize: 5, batchDelay: 3_600_000 });
        const taken = [1, 2, 3, 4, 5, 6, 7].map((i) => client.track(...rate(i)));
        await client.close();
        say({ taken, ...client.stats(), logs });
        """,
        double.url,
    )
    assert said["taken"] == [True] * 5 + [False] * 2
    assert double.notes == [1, 2, 3, 4, 5]
    assert (said["sent"], said["dropped"], said["queued"]) == (5, 2, 0)
    assert said["logs"] == ["heypeter: telemetry is dropped: the queue is full"]


def test_business_events_wait_for_room_and_go_before_telemetry(double: ExporterDouble) -> None:
    said = run(
        """
        const client = new Client({ ...instant, queueSize: 4, batchSize: 2, batchDelay: 3_600_000 });
        let queued = 0;
        const sends = Array.from({ length: 20 }, (_, i) => client.send(...rate(i + 1)).then(() => (queued += 1)));
        await Promise.resolve();
        const before = queued;
        const dropped = !client.track(...rate(99));
        await Promise.all(sends);
        await client.close();
        say({ before, dropped, ...client.stats() });
        """,
        double.url,
    )
    assert said["before"] <= 4
    assert said["dropped"]
    assert double.notes == list(range(1, 21))
    assert (said["sent"], said["dropped"]) == (20, True)


def test_large_bodies_are_compressed_and_small_ones_are_not(double: ExporterDouble) -> None:
    run(
        """
        const client = new Client(instant);
        client.track(...rate(1));
        await client.flush();
        for (let i = 2; i <= 150; i++) client.track(...rate(i));
        await client.close();
        """,
        double.url,
    )
    small, large = double.calls
    assert "content-encoding" not in small.headers
    assert large.headers["content-encoding"] == "gzip"
    assert len(large.raw) < 8192
    assert double.notes == list(range(1, 151))


def test_batches_stay_far_below_what_the_exporter_takes(double: ExporterDouble) -> None:
    run(
        """
        const client = new Client(instant);
        for (let i = 1; i <= 60; i++) client.track("class_rated", { rating: i, note: "x".repeat(20_000) });
        await client.close();
        """,
        double.url,
    )
    assert double.notes == list(range(1, 61))
    assert max(len(json.dumps(call.body)) for call in double.calls) < 600_000


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_what_is_queued_is_sent_before_a_signal_ends_the_process(double: ExporterDouble, name: str) -> None:
    script = """
        register({ ...instant, batchDelay: 3_600_000 });
        for (let i = 1; i <= 3; i++) track(...rate(i));
        setInterval(() => {}, 1000);
        say("queued");
    """
    with subprocess.Popen(command(script), env=environment(double.url), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == '"queued"\n'
        process.send_signal(signal.Signals[name])
        assert process.wait(60) == -signal.Signals[name]
    assert double.notes == [1, 2, 3]


def test_a_server_that_ends_by_itself_has_the_events_of_its_last_requests_sent(double: ExporterDouble) -> None:
    script = """
        register({ ...instant, batchDelay: 3_600_000 });
        track(...rate(1));
        const told = () => new Promise((resolve) => process.stdin.once("data", resolve));
        process.on("SIGTERM", async () => {
          await told();
          track(...rate(2)); // the last request ends after the signal
          await told();
          process.exit(7);
        });
        say("queued");
        process.stdin.resume();
    """
    with subprocess.Popen(
        command(script), env=environment(double.url), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == '"queued"\n'
        process.terminate()
        double.wait_for_calls(1)
        process.stdin.write("the request ends\n")
        process.stdin.flush()
        double.wait_for_calls(2)  # at once, not when a batch is full
        process.stdin.write("stop\n")
        process.stdin.flush()
        assert process.wait(60) == 7
    assert double.notes == [1, 2]


@pytest.mark.parametrize(
    "end", ["process.exit(3)", "throw new Error('uncaught')", "process.kill(process.pid, 'SIGTERM')"]
)
def test_what_is_queued_is_sent_although_the_process_ends_at_once(double: ExporterDouble, end: str) -> None:
    script = f"""
        register({{ ...instant, batchDelay: 3_600_000 }});
        process.on("SIGTERM", () => process.exit(3)); // as Next.js does, with no request under way
        for (let i = 1; i <= 450; i++) track(...rate(i));
        setTimeout(() => {{ {end}; }});
        setInterval(() => {{}}, 1000);
    """
    done = subprocess.run(
        command(script), env=environment(double.url), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == (1 if "throw" in end else 3)
    assert sorted(double.notes) == list(range(1, 451))
    assert TOKEN not in done.stderr


def test_a_batch_that_was_under_way_at_the_end_keeps_its_id(double: ExporterDouble) -> None:
    double.script = ["hang"]
    script = """
        register({ ...instant, batchSize: 1 });
        track(...rate(1));
        track(...rate(2));
        process.stdin.once("data", () => process.exit());
    """
    with subprocess.Popen(command(script), env=environment(double.url), stdin=subprocess.PIPE, text=True) as process:
        double.wait_for_calls(1)
        process.communicate("end\n", timeout=60)
    assert double.calls[0].batch_id == double.calls[1].batch_id
    assert double.notes == [1, 2]


def test_what_is_queued_is_sent_when_nothing_is_left_to_do(double: ExporterDouble) -> None:
    run("register({ ...instant, batchDelay: 3_600_000 }); track(...rate(1));", double.url)
    assert double.notes == [1]
    assert double.calls[0].headers["connection"] == "keep-alive", "the process did it itself, not a child at its exit"


def test_closing_gives_up_in_time_and_counts_what_was_lost(double: ExporterDouble) -> None:
    double.script = ["hang"]
    said = run(
        """
        const client = new Client({ ...instant, batchSize: 2 });
        const outcomes = client.deliver([1, 2, 3].map((rating) => ({ type: "class_rated", data: { rating } })));
        const flushed = await client.close(200);
        const atOnce = client.stats();
        const late = client.track(...rate(4));
        const refused = await client.send(...rate(5)).catch((error) => error.message);
        say({ flushed, outcomes: await outcomes, late, refused, atOnce, ...client.stats() });
        """,
        double.url,
    )
    assert said["flushed"] is False
    assert {outcome["state"] for outcome in said["outcomes"]} == {"undelivered"}
    assert (said["late"], said["refused"]) == (False, "heypeter: the client is closed")
    assert (said["atOnce"]["dropped"], said["atOnce"]["queued"]) == (3, 0)
    assert (said["dropped"], said["sent"], said["queued"]) == (4, 0, 0)


def test_nothing_that_is_given_to_track_can_throw(double: ExporterDouble) -> None:
    said = run(
        """
        const loop = {}; loop.loop = loop;
        const trap = { get rating() { throw new Error("trap"); } };
        const client = new Client({ ...instant, log: () => { throw new Error("log"); } });
        const all = [loop, trap, { rating: 1n }, { note: "x".repeat(40_000) }];
        const taken = all.map((data) => client.track("class_rated", data));
        taken.push(client.track(Symbol("x"), {}), client.track("class_rated", { rating: 1 }, { time: new Date(NaN) }));
        await client.close();
        say({ taken, ...client.stats() });
        """,
        double.url,
    )
    assert said["taken"][:4] == [False] * 4
    assert said["sent"] + said["dropped"] == 6


@pytest.mark.parametrize(
    "more",
    [
        {"HEYPETER_URL": ""},
        {"HEYPETER_TOKEN": ""},
        {"HEYPETER_URL": f"http://user:{TOKEN}@127.0.0.1"},
        {"HEYPETER_URL": "nonsense"},
        {"HEYPETER_TOKEN": f"{TOKEN}\nwith a second line"},
        {"HEYPETER_TOKEN": "", "HEYPETER_TOKEN_FILE": "/nowhere"},
    ],
)
def test_a_client_that_is_set_up_wrongly_says_so_and_harms_nothing(
    double: ExporterDouble, more: dict[str, str]
) -> None:
    said = run(
        """
        register({ log: (line) => logs.push(line) });
        const taken = track(...rate(1));
        const refused = await send(...rate(2)).catch((error) => error.message);
        say({ taken, refused, logs });
        """,
        double.url,
        **more,
    )
    assert said["taken"] is False
    assert said["refused"].startswith("heypeter: set HEYPETER_URL")
    assert said["logs"]
    assert double.calls == []


def test_a_token_file_is_read_again_so_that_a_new_token_needs_no_restart(
    double: ExporterDouble, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("secrets") / "token"
    file.write_text("an-old-token\n", "utf-8")
    said = run(
        f"""
        import {{ unlinkSync, writeFileSync }} from "node:fs";
        const client = new Client({{ ...instant, tokenFile: "{file}" }});
        const outcomes = await client.deliver([{{ type: "login", data: {{}} }}]);
        writeFileSync("{file}", "{TOKEN[:10]}" + "{TOKEN[10:]}" + "\\n");
        outcomes.push(...(await client.deliver([{{ type: "login", data: {{}} }}])));
        unlinkSync("{file}");
        outcomes.push(...(await client.deliver([{{ type: "login", data: {{}} }}])));
        await client.close();
        say(outcomes.map((outcome) => outcome.state));
        """,
        double.url,
    )
    assert said == ["undelivered", "counted", "counted"]


def test_the_token_is_in_nothing_that_a_client_shows(double: ExporterDouble) -> None:
    double.script = ["401", "lose"]
    run(
        """
        import { inspect } from "node:util";
        const client = new Client({ log: console.log, sleep: async () => {} });
        console.log(client, inspect(client, { showHidden: true, depth: 9 }), JSON.stringify(client), client.stats());
        client.track(...rate(1));
        await client.flush();
        client.track(...rate(2));
        await client.close();
        console.log(inspect(globalThis, { showHidden: true, depth: 2 }).length, "0");
        say("done");
        """,
        double.url,
    )
    assert len(double.calls) == 3
