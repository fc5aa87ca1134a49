"""The types of the Node client are those of the catalogue, and a compiler takes right uses and refuses wrong ones."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from deploy.local.node import node_path
from exporter.client import generate
from tests.exporter.client.node import NPX

PACKAGE = json.loads(Path("exporter/client/package.json").read_text("utf-8"))
COMPILER = f"typescript@{PACKAGE['devDependencies']['typescript']}"
PROGRAM = """
import { Client, cacheRequest, deliver, onRequestError, register, send, timeQuery, track, traceId, withApiMetrics,
  withMetrics, withQueries, type AnyEvent, type EventType, type Outcome, type Stats } from "HERE/heypeter.mjs";

track("login", { method: "password" });
track("login", { method: "a word that the catalogue does not know" }, { traceId: "0af7651916cd43dd8448eb211c80319c" });
track("audit_entry");
track("payment_completed", { provider: "stripe", currency: "EUR", amount: 4900 });
track("tickets_counted", { priority: "high", open: 3, oldest_unanswered: new Date() });
const sent: Promise<void> = send("class_booked", { class_type: "exam", channel: "web" }, { id: "booking-7" });
const events: AnyEvent[] = [{ type: "audit_entry" }, { type: "login", id: "x", data: { method: "sso" } }];
const outcomes: Promise<Outcome[]> = deliver(events);
outcomes.then(([first]) => first?.state === "rejected" && first.reason.length);
const client: Client = new Client({ url: "http://127.0.0.1:3001", onRejected: ({ reason }) => reason.length });
const stats: Stats = client.stats();
const name: EventType = "class_rated";
export const GET = withMetrics("/a/[id]", async (request: Request, context: { params: Promise<{ id: string }> }) =>
  Response.json({ id: (await context.params).id, url: request.url }));
const answer: Promise<Response> = GET(new Request("http://x"), { params: Promise.resolve({ id: "7" }) });
const rows: Promise<number> = timeQuery("select", "classes", async () => 1);
const pool = withQueries({ query: async (text: string) => text.length, end() {} });
pool.end();
cacheRequest("session", true);
const trace: string | undefined = traceId(null);
register({ batchSize: 10 })?.flush().then((flushed: boolean) => flushed);
export { onRequestError };

// @ts-expect-error there is no such event
track("class_boked", {});
// @ts-expect-error a field is missing
track("class_booked", { class_type: "exam" });
// @ts-expect-error data is missing
send("login");
// @ts-expect-error a field has another type
track("class_rated", { class_type: "exam", rating: "5" });
// @ts-expect-error a field that the exporter would refuse
track("login", { method: "sso", password: "secret" });
// @ts-expect-error not one of the words of a closed field
track("payment_refunded", { currency: "CHF", amount: 1 });
// @ts-expect-error only browsers may send it
track("csp_violation", { page: "/" });
// @ts-expect-error no such option
new Client({ bachSize: 1 });
"""


def test_the_types_are_those_of_the_catalogue() -> None:
    assert generate.main(["--check"]) == 0, "run python -m exporter.client.generate"


def test_every_event_that_a_server_may_send_has_a_type() -> None:
    catalogue = generate.merged(generate.CATALOGUE)
    written = generate.events(catalogue)
    for name, event in catalogue["events"].items():
        assert (f"\n  {name}: " in written) == (event["from"] != "public"), name


def test_a_stale_file_is_noticed_and_only_the_marked_block_is_written() -> None:
    catalogue = generate.merged(generate.CATALOGUE)
    catalogue["events"]["lesson_recorded"] = {"from": "private", "fields": {"at": "timestamp?", "on": "switch"}}
    old = generate.TYPES.read_text("utf-8")
    new = generate.generated(old, catalogue)
    line = "  lesson_recorded: { at?: number | string | Date; on: boolean };\n"
    assert new.replace(line, "") == old
    assert line in new


def test_the_compiler_takes_what_is_right_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    program = tmp_path / "program.ts"
    program.write_text(PROGRAM.replace("HERE", str(Path("exporter/client").resolve())), "utf-8")
    options = [
        "--noEmit",
        "--strict",
        "--exactOptionalPropertyTypes",
        "--noUncheckedIndexedAccess",
        "--target",
        "es2022",
    ]
    options += ["--module", "nodenext", "--lib", "es2022,dom"]
    done = subprocess.run(
        [*NPX, "--yes", "--package", COMPILER, "tsc", *options, str(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PATH": node_path(), "npm_config_update_notifier": "false"},
    )
    if "npm error network" in done.stderr:
        pytest.skip("the compiler cannot be fetched: there is no network")
    assert done.returncode == 0, done.stdout + done.stderr
