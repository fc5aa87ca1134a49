"""Every example of docs/clients.md does what the page says when it is pasted, against the real exporter."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.exporter.client.exporter_double import TOKEN
from tests.exporter.client.node import CLIENT, NODE, NPX, environment
from tests.exporter.client.test_types import COMPILER
from tests.exporter.client.test_with_exporter import RunningExporter

PAGE = Path("docs/clients.md").read_text("utf-8")
BLOCKS = [(match[1], match[2]) for match in re.finditer(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
SHELL = [text for kind, text in BLOCKS if kind == "sh"]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
SQL = [text for kind, text in BLOCKS if kind == "sql"]
GO = [text for kind, text in BLOCKS if kind == "go"]  # test_go compiles it
FILES = {text.splitlines()[0].removeprefix("// "): text for kind, text in BLOCKS if kind in {"ts", "js"}}
BOOKINGS = ("class_bookings_total", {"class_type": "exam"})


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[RunningExporter]:
    exporter = RunningExporter(tmp_path)
    yield exporter
    exporter.end()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A server's code with the pasted files and the client beside them."""
    folder = tmp_path / "project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    for file in (CLIENT, CLIENT.with_suffix(".d.mts")):
        shutil.copy(file, folder)
    return folder


def ran(command: list[str], folder: Path, exporter: RunningExporter, **more: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(exporter.url, **more),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout


def node(script: str, folder: Path, exporter: RunningExporter) -> str:
    (folder / "harness.mjs").write_text(script, "utf-8")
    return ran([NODE, "harness.mjs"], folder, exporter, NEXT_RUNTIME="nodejs")


def test_no_example_is_left_out() -> None:
    assert len(BLOCKS) == len(SHELL) + len(PYTHON) + len(SQL) + len(GO) + len(FILES)
    assert (len(SHELL), len(PYTHON), len(SQL), len(GO)) == (5, 1, 2, 1)
    routes = {"app/api/bookings/[id]/route.ts", "pages/api/health.ts"}
    assert set(FILES) == {"instrumentation.ts", "db.mjs", "script.mjs", "send-outbox.mjs", *routes}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_examples_count_what_they_send_once(exporter: RunningExporter, tmp_path: Path) -> None:
    for repetition in range(2):
        answers = [json.loads(ran(["sh", "-c", text], tmp_path, exporter)) for text in SHELL]
        assert [answer["rejected"] for answer in answers] == [[]] * 5, answers
        assert sum(answer["accepted"] for answer in answers) == (7 if repetition == 0 else 2)  # the batch's own answer
    assert exporter.value(BOOKINGS[0], **BOOKINGS[1], channel="web") == 3
    assert exporter.value(BOOKINGS[0], **BOOKINGS[1], channel="admin") == 1


def test_the_python_example_counts(exporter: RunningExporter, tmp_path: Path) -> None:
    shutil.copytree(CLIENT.parent / "heypeter_client", tmp_path / "heypeter_client")
    said = ran([sys.executable, "-W", "error", "-c", PYTHON[0]], tmp_path, exporter).splitlines()
    assert said[0] == "counted"
    assert "'sent': 5" in said[1]
    assert exporter.value("http_requests_total", method="POST", route="other", status="201") == 1


def test_the_script_counts(exporter: RunningExporter, project: Path) -> None:
    said = ran([NODE, "script.mjs"], project, exporter)
    assert "{ state: 'counted' }" in said
    assert "sent: 3" in said
    assert exporter.value("payment_revenue_eur_total", plan="other") == 49


def test_the_pool_is_measured(exporter: RunningExporter, project: Path) -> None:
    fake = project / "node_modules/pg"
    fake.mkdir(parents=True)
    (fake / "package.json").write_text('{"name": "pg", "type": "module", "exports": "./index.mjs"}', "utf-8")
    (fake / "index.mjs").write_text("class Pool { async query() { return 1; } }\nexport default { Pool };", "utf-8")
    harness = """
    import { pool } from "./db.mjs";
    import { client } from "./heypeter.mjs";
    await pool.query("SELECT * FROM bookings");
    await client().close();
    """
    node(harness, project, exporter)
    assert exporter.value("db_queries_total", operation="select", table="bookings", outcome="success") == 1


def test_the_next_examples_compile_and_count(exporter: RunningExporter, project: Path) -> None:
    # What of Node's own types the examples use: the test fetches the compiler and nothing else.
    declared = """
    declare var process: { env: Record<string, string | undefined> };
    declare module "node:http" {
      class IncomingMessage { method?: string; headers: Record<string, string | string[] | undefined>; }
      class ServerResponse {
        statusCode: number; headersSent: boolean; end(text: string): void;
        once(event: string, listener: () => void): this;
      }
    }
    """
    (project / "node.d.ts").write_text(declared, "utf-8")
    (project / "package.json").write_text('{"type": "module"}', "utf-8")
    files = [name for name in FILES if name.endswith(".ts")]
    options = ["--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"]
    options += ["--lib", "es2022,dom"]
    tsc = [*NPX, "--yes", "--package", COMPILER, "tsc", *options, "node.d.ts", *files]
    ran(tsc, project, exporter)
    harness = """
    import http from "node:http";
    import { register, onRequestError } from "./instrumentation.js";
    import { GET } from "./app/api/bookings/[id]/route.js";
    import health from "./pages/api/health.js";
    import { client } from "./heypeter.mjs";
    await register();
    const answer = await GET(new Request("http://x/"), { params: Promise.resolve({ id: "7" }) });
    console.log(await answer.text());
    await onRequestError(new Error("x"), { path: "/", method: "GET", headers: {} }, { routePath: "/" });
    const server = http.createServer(health);
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    await (await fetch(`http://127.0.0.1:${server.address().port}`)).text();
    server.closeAllConnections();
    server.close();
    await client().close();
    """
    assert node(harness, project, exporter) == '{"id":"7"}\n'
    for route, status in (("/api/bookings/[id]", "200"), ("other", "200"), ("other", "500")):
        assert exporter.value("http_requests_total", method="GET", route=route, status=status) == 1, (route, status)
    assert exporter.value("db_queries_total", operation="select", table="bookings", outcome="success") == 1


class Database:
    """SQLite behind a socket, so that the sender's statements are executed by a real database."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.fails = False
        database = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                rows: list[dict[str, Any]] = []
                if not (database.fails and asked["text"].startswith("UPDATE")):
                    rows = database.query(asked["text"], *asked["values"])
                self.send_response(500 if database.fails and not rows else 200)
                self.end_headers()
                self.wfile.write(json.dumps({"rows": rows}).encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def query(self, text: str, *values: object) -> list[dict[str, Any]]:
        numbered = {str(number): value for number, value in enumerate(values, 1)}
        cursor = self.connection.execute(text, numbered)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()
        self.connection.close()


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database()
    yield database
    database.close()


SENDER = """
import { sendOutbox } from "./send-outbox.mjs";
import { register, client } from "./heypeter.mjs";
register({ random: () => 0 });
const pool = { async query(text, values = []) { // gives dates for times, as pg does
  const answer = await fetch("DATABASE", { method: "POST", body: JSON.stringify({ text, values }) });
  if (!answer.ok) throw new Error("the database is gone");
  const { rows } = await answer.json();
  return { rows: rows.map((row) => ({ ...row, time: new Date(`${row.time}Z`) })) };
} };
const outcomes = await sendOutbox(pool).catch((error) => error.message);
await client().close();
console.log(JSON.stringify(outcomes));
"""


def test_the_outbox_counts_once_what_was_booked_and_nothing_else(
    exporter: RunningExporter, project: Path, database: Database
) -> None:
    sender = SENDER.replace("DATABASE", f"http://127.0.0.1:{database.server.server_port}")
    database.query("CREATE TABLE bookings (id INTEGER PRIMARY KEY, class_id INTEGER, student_id INTEGER)")
    schema, booking = SQL
    database.connection.executescript(schema)
    database.connection.executescript(booking)
    with pytest.raises(sqlite3.IntegrityError):
        database.connection.executescript(booking)  # the same booking again: neither row, nor an event
    database.query("ROLLBACK")
    database.query("INSERT INTO event_outbox (id, type, data) VALUES ('bad', 'class_booked', '{}')")
    database.fails = True  # the exporter has counted, but the sender cannot write it down
    assert json.loads(node(sender, project, exporter)) == "the database is gone"
    database.fails = False
    outcomes = json.loads(node(sender, project, exporter))
    assert [outcome["state"] for outcome in outcomes] == ["counted", "rejected"]
    assert json.loads(node(sender, project, exporter)) == []
    assert exporter.value(BOOKINGS[0], **BOOKINGS[1], channel="web") == 1
    fates = {row["id"]: row["fate"] for row in database.query("SELECT id, fate FROM event_outbox")}
    assert fates["booking-4711"] == "counted"
    assert fates["bad"].startswith("rejected: schema ")


def test_the_page_warns_of_the_token() -> None:
    assert "**The token must never reach a browser.**" in PAGE
