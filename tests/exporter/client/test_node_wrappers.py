"""What the Node client puts around handlers, queries and caches, and that none of it changes what they do."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import thread_time
from typing import Any

import pytest
import yaml

from exporter.events.sql import statement
from tests.exporter.client.exporter_double import ExporterDouble, serve
from tests.exporter.client.node import CLIENT, run

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADER = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def double() -> Iterator[ExporterDouble]:
    with serve(ExporterDouble()) as double:
        yield double


def told(double: ExporterDouble) -> list[dict[str, Any]]:
    """What was counted, without the times, which are checked here."""
    events = []
    for event in double.counted:
        data = {**event["data"]}
        if "duration" in data:
            assert 0 <= data.pop("duration") < 60, "seconds, not milliseconds"
        events.append({"type": event["type"], **({"trace": event["trace_id"]} if "trace_id" in event else {}), **data})
    return events


def request(route: str, status: int, method: str = "GET", **more: str) -> dict[str, Any]:
    return {"type": "http_request", **more, "method": method, "route": route, "status": status}


def test_a_route_handler_is_counted_and_answers_as_before(double: ExporterDouble) -> None:
    said = run(
        f"""
        const POST = withMetrics("/api/bookings/[id]", async (request, context) =>
          Response.json({{ id: context.params.id, sent: await request.json() }}, {{ status: 201 }}));
        const asked = new Request("http://x/api/bookings/7",
          {{ method: "POST", body: "[1]", headers: {{ traceparent: "{HEADER}" }} }});
        const answer = await POST(asked, {{ params: {{ id: 7 }} }});
        say({{ status: answer.status, body: await answer.json() }});
        await heypeter.client().close();
        """,
        double.url,
    )
    assert said == {"status": 201, "body": {"id": 7, "sent": [1]}}
    assert told(double) == [request("/api/bookings/[id]", 201, "POST", trace=TRACE)]


@pytest.mark.parametrize(
    ("thrown", "status"),
    [
        ("new TypeError('broken')", 500),
        ("'a text'", 500),
        ("undefined", 500),
        ("Object.assign(new Error('x'), { digest: '123456' })", 500),
        ("Object.assign(new Error('NEXT_REDIRECT'), { digest: 'NEXT_REDIRECT;replace;/login;307;' })", 307),
        ("Object.assign(new Error('NEXT_REDIRECT'), { digest: 'NEXT_REDIRECT;push;/a;308;b;308;' })", 308),
        ("Object.assign(new Error('NEXT_REDIRECT'), { digest: 'NEXT_REDIRECT;replace;/login;false' })", 307),
        ("Object.assign(new Error('x'), { digest: 'NEXT_NOT_FOUND' })", 404),
        ("Object.assign(new Error('x'), { digest: 'NEXT_HTTP_ERROR_FALLBACK;404' })", 404),
        ("Object.assign(new Error('x'), { digest: 'NEXT_HTTP_ERROR_FALLBACK;403' })", 403),
        ("Object.assign(new Error('x'), { digest: 'DYNAMIC_SERVER_USAGE' })", None),
    ],
)
def test_what_a_handler_throws_is_thrown_on_and_told_apart(
    double: ExporterDouble, thrown: str, status: int | None
) -> None:
    said = run(
        f"""
        const thrown = {thrown};
        const GET = withMetrics("/api/classes", () => {{ throw thrown; }});
        const same = await GET(new Request("http://x/")).then(() => false, (error) => error === thrown);
        await heypeter.client().close();
        say(same);
        """,
        double.url,
    )
    assert said is True
    assert told(double) == ([] if status is None else [request("/api/classes", status)])


def test_an_error_is_counted_by_the_wrapper_or_by_the_hook_but_not_by_both(double: ExporterDouble) -> None:
    run(
        f"""
        const GET = withMetrics("/api/classes", () => {{ throw error; }});
        const [error, page] = [new Error("handler"), new Error("page")];
        const asked = {{ path: "/courses/7?x=1", method: "GET", headers: {{ traceparent: "{HEADER}" }} }};
        await GET(new Request("http://x/")).catch(() => {{}});
        heypeter.onRequestError(error, asked, {{ routePath: "/api/classes" }});
        heypeter.onRequestError(page, asked, {{ routePath: "/courses/[id]" }});
        heypeter.onRequestError(new Error("no route"), asked, {{}});
        await heypeter.client().close();
        """,
        double.url,
    )
    assert told(double) == [
        request("/api/classes", 500),
        request("/courses/[id]", 500, trace=TRACE),
        request("/courses/7", 500, trace=TRACE),
    ]


def test_a_response_that_is_none_and_a_handler_that_gives_nothing_are_counted(double: ExporterDouble) -> None:
    run(
        """
        await withMetrics("/a", () => Response.error())(new Request("http://x/"));
        await withMetrics("/b", () => undefined)(new Request("http://x/", { method: "PUT" }));
        await heypeter.client().close();
        """,
        double.url,
    )
    assert told(double) == [request("/a", 500), request("/b", 200, "PUT")]


def test_an_api_handler_is_counted_when_its_answer_is_written(double: ExporterDouble) -> None:
    run(
        f"""
        import http from "node:http";
        register(instant);
        const handlers = {{
          "/ok": withApiMetrics("/api/ok", (req, res) => {{ res.statusCode = 201; res.end("x"); }}),
          "/broken": withApiMetrics("/api/broken", async () => {{ throw new Error("broken"); }}),
          "/gone": withApiMetrics("/api/gone", (req, res) => res.write("half")),
        }};
        const server = http.createServer(async (req, res) => {{
          try {{ await handlers[req.url](req, res); }} catch {{ res.statusCode = 500; res.end(); }}
        }});
        await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
        const get = (path, headers) => new Promise((resolve) => http.get(
          {{ port: server.address().port, path, headers, agent: false }}, (res) => {{
            if (path === "/gone") res.once("data", () => res.destroy());
            else res.resume();
            res.once("close", resolve);
          }}));
        await get("/ok", {{ traceparent: "{HEADER}" }});
        await get("/broken");
        const closed = new Promise((resolve) => server.once("request", (req, res) => res.once("close", resolve)));
        await get("/gone");
        await closed;
        await new Promise((resolve) => server.close(resolve));
        await heypeter.client().close();
        """,
        double.url,
    )
    assert told(double) == [
        request("/api/ok", 201, trace=TRACE),
        request("/api/broken", 500),
        request("/api/gone", 499),
    ]


def test_what_happens_during_a_request_has_its_trace(double: ExporterDouble) -> None:
    run(
        f"""
        import http from "node:http";
        register(instant);
        const server = http.createServer(async (req, res) => {{
          await new Promise((resolve) => setImmediate(resolve));
          await timeQuery("select", "bookings", async () => 1);
          heypeter.onRequestError(new Error("render"), req, {{ routePath: "/page" }});
          res.end();
        }});
        await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
        const agent = new http.Agent({{ keepAlive: true, maxSockets: 1 }});
        const get = (headers) => new Promise((resolve) => http.get(
          {{ port: server.address().port, agent, headers }}, (res) => res.resume().once("end", resolve)));
        await get({{ traceparent: "{HEADER}" }});
        await get({{}});
        agent.destroy();
        await new Promise((resolve) => server.close(resolve));
        await heypeter.client().close();
        """,
        double.url,
    )
    query = {"type": "db_query", "operation": "select", "table": "bookings", "outcome": "success"}
    assert told(double) == [
        {**query, "trace": TRACE},
        request("/page", 500, trace=TRACE),
        query,
        request("/page", 500),
    ]


@pytest.mark.parametrize("requests", ["true", "false"])
def test_every_request_of_the_process_is_counted_once(double: ExporterDouble, requests: str) -> None:
    run(
        f"""
        import http from "node:http";
        register({{ ...instant, requests: {requests} }});
        const wrapped = withApiMetrics("/api/classes/[id]", (req, res) => res.end());
        const failing = withMetrics("/api/failing", async () => {{ throw new Error("broken"); }});
        const server = http.createServer(async (req, res) => {{
          if (req.url === "/api/classes/7") return wrapped(req, res);
          res.statusCode = req.url.startsWith("/plain") ? 204 : 500;
          if (req.url === "/failing") await failing(new Request("http://x/")).catch((error) =>
            heypeter.onRequestError(error, req, {{ routePath: "/failing" }}));
          if (req.url === "/page/7") heypeter.onRequestError(new Error("render"), req, {{ routePath: "/page/[id]" }});
          if (req.url === "/late") res.once("close", () =>
            setImmediate(() => heypeter.onRequestError(new Error("late"), req, {{ routePath: "/late" }})));
          res.end();
        }});
        await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
        const get = (path) => new Promise((resolve) => http.get(
          {{ port: server.address().port, path, agent: false }}, (res) => res.resume().once("close", resolve)));
        for (const path of ["/api/classes/7", "/plain?secret=1", "/_next/a.js", "/failing", "/page/7", "/late"])
          await get(path);
        await new Promise((resolve) => server.close(resolve));
        await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
        await heypeter.client().close();
        """,
        double.url,
    )
    counted = [(event["route"], event["status"]) for event in told(double)]
    everything = [("/api/classes/[id]", 200), ("/api/failing", 500), ("/page/[id]", 500), ("/late", 500)]
    assert sorted(counted) == sorted([*everything, *([("/plain", 204)] if requests == "true" else [])])
    assert all(b"secret" not in call.raw for call in double.calls)


def test_nested_wrappers_and_a_pipelined_request_are_counted_once(double: ExporterDouble) -> None:
    run(
        """
        import http from "node:http";
        import net from "node:net";
        register(instant);
        const inner = withMetrics("/inner", async () => new Response("x", { status: 201 }));
        const outer = withApiMetrics("/outer", async (req, res) => {
          res.statusCode = (await inner(new Request("http://x/"))).status;
          res.end("x");
        });
        let reach;
        const reached = new Promise((resolve) => (reach = (closed) => resolve({ closed })));
        const server = http.createServer((req, res) => {
          if (req.url === "/outer") return outer(req, res);
          // It waits behind the first, which is never answered.
          if (req.url === "/second") reach(new Promise((resolve) => req.socket.once("close", resolve)));
        });
        await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
        await new Promise((resolve) => http.get(
          { port: server.address().port, path: "/outer", agent: false }, (res) => res.resume().once("close", resolve)));
        const socket = net.connect(server.address().port, "127.0.0.1");
        socket.write("GET /first HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /second HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n");
        const { closed } = await reached;
        socket.destroy();
        await closed;
        server.close();
        await heypeter.client().close();
        """,
        double.url,
    )
    assert told(double) == [request("/outer", 201), request("/first", 499), request("/second", 499)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER, TRACE),
        (HEADER.replace("00-", "01-", 1) + "-more", TRACE),
        (HEADER.replace("00-", "ff-", 1), None),
        (HEADER.upper(), None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (HEADER[:-1], None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(header: str, expected: str | None) -> None:
    assert run(f'say(heypeter.traceId("{header}") ?? null)', "") == expected


def test_queries_and_caches_are_timed_and_keep_their_results(double: ExporterDouble) -> None:
    said = run(
        """
        const fault = new Error("no such table");
        const result = await timeQuery("select", "classes", async () => 42);
        const thrown = await timeQuery("insert", "classes", () => { throw fault; }).catch((error) => error === fault);
        heypeter.cacheRequest("session", true);
        heypeter.cacheRequest("session", false);
        await heypeter.client().close();
        say([result, thrown]);
        """,
        double.url,
    )
    assert said == [42, True]
    query = {"type": "db_query", "table": "classes"}
    assert told(double) == [
        {**query, "operation": "select", "outcome": "success"},
        {**query, "operation": "insert", "outcome": "failure"},
        {"type": "cache_request", "cache": "session", "result": "hit"},
        {"type": "cache_request", "cache": "session", "result": "miss"},
    ]


def test_a_pool_is_measured_once_per_query_and_its_values_stay_at_home(double: ExporterDouble) -> None:
    said = run(
        """
        import { EventEmitter } from "node:events";
        // As pg's pool: a query of the pool takes a connection and calls its query with a callback.
        class Connection {
          query(config, values, callback = typeof values === "function" ? values : undefined) {
            if (config.submit) return config;
            const text = config.text ?? config;
            const fault = text.includes("broken") ? new Error("broken") : null;
            if (callback) return void setImmediate(() => callback(fault, { rows: [values] }));
            return fault ? Promise.reject(fault) : Promise.resolve({ rows: [values] });
          }
        }
        class Pool extends EventEmitter {
          async connect() { this.one ??= new Connection(); this.emit("connect", this.one); return this.one; }
          async query(text, values) {
            const connection = await this.connect();
            return new Promise((resolve, reject) =>
              connection.query(text, values, (error, result) => (error ? reject(error) : resolve(result))));
          }
        }
        const emails = ["peter@example.org"];
        const pool = heypeter.withQueries(new Pool());
        const rows = (await pool.query("SELECT * FROM users WHERE email = $1", emails)).rows;
        const connection = new Connection();
        heypeter.withQueries({ query: 1 });
        const bare = heypeter.withQueries(connection);
        await bare.query({ text: "INSERT INTO public.\\"Bookings\\" VALUES ('peter@example.org')" }, emails);
        const fault = await bare.query("UPDATE classes SET broken = true").catch((error) => error.message);
        const cursor = { submit() {}, text: "SELECT 1" };
        say([rows, fault, bare.query(cursor) === cursor]);
        await heypeter.client().close();
        """,
        double.url,
    )
    assert said == [[["peter@example.org"]], "broken", True]
    query = {"type": "db_query", "outcome": "success"}
    assert told(double) == [
        {**query, "operation": "select", "table": "users"},
        {**query, "operation": "insert", "table": "Bookings"},
        {"type": "db_query", "outcome": "failure", "operation": "update", "table": "classes"},
    ]
    assert all(b"peter@example.org" not in call.raw for call in double.calls)


def test_what_wraps_a_response_after_us_stays(double: ExporterDouble) -> None:
    """As the middleware "compression" does it: put back, our plain write would mix bytes into what it packs."""
    said = run(
        """
        import http from "node:http";
        import zlib from "node:zlib";
        const client = register(instant);
        function compress(res) {
          const { write, end } = res;
          const packed = zlib.createGzip();
          res.write = (part) => packed.write(part);
          res.end = (part) => void packed.end(part);
          packed.on("data", (part) => write.call(res, part)).on("end", () => end.call(res));
          return () => new Promise((done) => packed.flush(() => setImmediate(done)));
        }
        const server = http.createServer(async (req, res) => {
          const flushed = compress(res);
          res.writeHead(200, { "content-type": "text/html", "content-encoding": "gzip" });
          for (const part of ["first", "second", "third"]) {
            res.write(part);
            await flushed();
          }
          res.end("last");
        });
        await new Promise((done) => server.listen(0, "127.0.0.1", done));
        const answer = await fetch("http://127.0.0.1:" + server.address().port).then((it) => it.text(), String);
        await new Promise((done) => server.close(done));
        await client.close();
        say(answer);
        """,
        double.url,
    )
    assert said == "firstsecondthirdlast"
    assert [(data["status"], data.get("kind")) for data in told(double)] == [(200, None)]


def test_requests_of_http_2_end_as_those_of_http_1(double: ExporterDouble) -> None:
    run(
        """
        import http2 from "node:http2";
        const client = register(instant);
        let leave;
        const routes = {
          "/whole": (it) => { it.setHeader("content-type", "text/plain"); it.end("whole"); },
          "/document": (it) => { it.setHeader("content-type", "text/html"); it.write("a"); it.end("b"); },
          "/events": (it) => { it.writeHead(200, { "content-type": "text/event-stream" }); it.write("a"); it.end(); },
          "/left-events": (it) => { it.setHeader("content-type", "text/event-stream"); it.write("a"); },
          "/text": (it) => { it.setHeader("content-type", "text/plain"); it.write("a"); it.end("b"); },
          "/left": () => leave(),
          "/left-document": (it) => { it.setHeader("content-type", "text/html"); it.write("a"); },
        };
        const serve = (path) => withApiMetrics(path, (_, res) => routes[path](res));
        const server = http2.createServer((req, res) => serve(req.url)(req, res));
        await new Promise((done) => server.listen(0, "127.0.0.1", done));
        const session = http2.connect("http://127.0.0.1:" + server.address().port);
        for (const path of Object.keys(routes)) {
          await new Promise((done) => {
            const stream = session.request({ ":path": path });
            leave = () => stream.close(http2.constants.NGHTTP2_CANCEL);
            if (path.startsWith("/left-")) stream.on("data", leave);
            stream.on("close", done).on("error", () => {}).resume().end();
          });
        }
        await new Promise((done) => session.close(done));
        await new Promise((done) => server.close(done));
        await client.close();
        """,
        double.url,
    )
    counted = {data["route"]: (data["status"], data.get("kind")) for data in told(double)}
    assert counted == {
        "/whole": (200, None),
        "/document": (200, None),
        "/events": (200, "stream"),
        "/left-events": (200, "stream"),
        "/text": (200, "stream"),
        "/left": (499, None),
        "/left-document": (499, None),
    }
    assert len(double.counted) == len(counted)


QUERIES: dict[str, str] = dict(yaml.safe_load(Path("tests/exporter/client/queries.yml").read_text("utf-8")))


def test_operation_and_table_are_read_from_the_text_and_nothing_else() -> None:
    said = run(
        f"say({json.dumps([*QUERIES])}.map(heypeter.describeQuery).map((it) => `${{it.operation}} ${{it.table}}`))", ""
    )
    assert dict(zip(QUERIES, said, strict=True)) == QUERIES


def test_the_exporter_reads_the_same() -> None:
    empty = {"other none": ("", ""), "select other": ("select", "other")}
    for text, expected in QUERIES.items():
        operation, _, table = expected.lower().partition(" ")
        wanted = empty.get(expected, (operation, "" if table == "none" else table))
        assert statement(text) == wanted, text


@pytest.mark.parametrize(
    "part", ["(", "$a$", "'", "a .", "/*", "/* /* */", "with x as (", "from ", "[a", '"', "\t", "`", "as ("]
)
def test_hostile_texts_are_read_in_bounded_time(part: str) -> None:
    for verb in ("select ", "with x as (select 1) select * from x ", ""):
        began = thread_time()  # of this thread alone: a busy machine is not counted
        statement(verb + part * (60_000 // len(part)))
        assert thread_time() - began < 5  # in quadratic time it would be minutes


@pytest.mark.parametrize("name", ["a" * 9000 + '."x"', "a." * 4500 + '"x"', "a" * 9000 + ".[x]", '"a".' * 2200 + "`x`"])
def test_a_hostile_name_is_read_in_bounded_time(name: str) -> None:
    query = f"select 1 from {name}"  # noqa: S608  # that is never run
    began = thread_time()
    for _ in range(20):
        assert statement(query) == ("select", "x")
    assert thread_time() - began < 2  # in quadratic time each takes a quarter of a second
    said = run(
        f"""
        const began = process.cpuUsage().user;
        for (let i = 0; i < 20; i += 1) heypeter.describeQuery({json.dumps(query)});
        say(process.cpuUsage().user - began);
        """,
        "",
    )
    assert said < 2_000_000  # microseconds of this process


def test_copies_of_the_module_share_one_client(double: ExporterDouble) -> None:
    said = run(
        f"""
        import {{ readFileSync }} from "node:fs";
        const text = readFileSync("{CLIENT}", "utf8");
        const copy = await import(`data:text/javascript,${{encodeURIComponent(text)}}`);
        const client = register(instant);
        copy.track(...rate(1));
        say([copy.client() === client, copy.register() === client]);
        """,
        double.url,
    )
    assert said == [True, True]
    assert double.notes == [1]


def test_on_the_edge_runtime_nothing_is_registered(double: ExporterDouble) -> None:
    assert run("say(register() ?? null)", double.url, NEXT_RUNTIME="edge") is None
