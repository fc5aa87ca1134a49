"""A process that fails in every way it can, and what Sentry hears of it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from process.errors import report_errors, scrub
from process.settings import Secret, SettingsError
from process.version import VERSION
from tests.fakes.sentry import FakeSentry

TOKEN = "tok/en+w1th 'all' \"quotes\" & é\\"
TRICKY = "a'b\\c\xa0é"
RELOADED = "read-by-a-reload"
# What no event may have: each stands in a variable, a header, a body, a log line or an exception of the script.
PRIVATE = (
    "tok/en",
    "tok%2Fen",
    RELOADED,
    "anna@",
    "203.0.113.7",
    "s3ssion",
    "b0dy",
    "l0cal",
    "Marek",
    "Novak",
    "qu3ry",
)

SCRIPT = f"""
import asyncio, logging, os, sys, threading, urllib.parse
import aiohttp
from aiohttp import web
from process.errors import report_errors
from process.logs import set_up_logs
from process.settings import Secret

set_up_logs("info")
known = [Secret({TOKEN!r})]
print(report_errors("receiver", os.environ, lambda: known), "sentry_sdk" in sys.modules, flush=True)
known.append(Secret({RELOADED!r}))
log = logging.getLogger("receiver.workers.dispatcher")

async def fail(request):
    l0cal = "l0cal value"
    raise RuntimeError("handler failed for anna@example.com with token=" + urllib.parse.quote({TOKEN!r}, safe=""))

async def main():
    app = web.Application()
    app.router.add_post("/fail", fail)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{{runner.addresses[0][1]}}/fail?name=qu3ry"
    headers = {{"Cookie": "id=s3ssion", "X-Forwarded-For": "203.0.113.7"}}
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=b"b0dy", headers=headers) as answer:
            assert answer.status == 500
    await runner.cleanup()

log.info("Marek Novak logged in from 203.0.113.7")
asyncio.run(main())
log.error("cannot page %s by %s", "Marek Novak", "anna@example.com")
try:
    raise ValueError({TOKEN!r}, {RELOADED!r})
except ValueError:
    log.exception("giving up")

def thread():
    l0cal = {TOKEN!r}
    raise OSError("https://user:{RELOADED}@hooks.example.com/x?key=qu3ry refused")

worker = threading.Thread(target=thread)
worker.start()
worker.join()
try:
    raise KeyError("Authorization: Bearer abcdefgh12345 from anna@example.com")
except KeyError:
    log.exception("the end")
    raise
"""


async def run(script: str, **variables: str) -> tuple[int, str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SENTRY_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        env={**clean, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
async def sentry() -> AsyncIterator[FakeSentry]:
    sentry = FakeSentry()
    await sentry.start()
    yield sentry
    await sentry.stop()


def events(sentry: FakeSentry) -> list[dict[str, Any]]:
    return [
        json.loads(payload)
        for received in sentry.received
        for head, payload in received.items
        if head["type"] == "event"
    ]


async def test_each_failure_is_reported_once_and_says_nothing_of_anybody(sentry: FakeSentry) -> None:
    code, out, err = await run(SCRIPT, SENTRY_DSN=sentry.dsn, SENTRY_ENVIRONMENT="staging")
    assert (code, out.strip()) == (1, "True True"), err
    reported = events(sentry)
    kinds = [[error["type"] for error in event.get("exception", {}).get("values", [])] for event in reported]
    assert kinds == [["RuntimeError"], [], ["ValueError"], ["OSError"], ["KeyError"]]
    for event in reported:
        assert event["release"] == f"heypeter-monitoring@{VERSION}"
        assert (event["environment"], event["server_name"]) == ("staging", "receiver")
        assert not {"request", "user", "breadcrumbs", "extra", "modules", "contexts", "tags"} & set(event)
    assert [event.get("logentry", {}).get("message") for event in reported][1:3] == [
        "cannot page %s by %s",
        "giving up",
    ]
    assert all(set(event.get("logentry", {"message": ""})) == {"message"} for event in reported)

    whole = b"".join(received.body for received in sentry.received).decode()
    assert [word for word in (*PRIVATE, "abcdefgh12345", str(Path.cwd()), os.uname().nodename) if word in whole] == []
    assert '"vars"' not in whole
    assert "handler failed for <e-mail> with token=<secret>" in whole
    assert "<secret>@hooks.example.com/x?<query> refused" in whole
    assert {item for received in sentry.received for item in received.types} == {"event", "client_report"}


async def test_the_frames_still_show_where_it_happened(sentry: FakeSentry) -> None:
    await run(SCRIPT, SENTRY_DSN=sentry.dsn)
    frames = events(sentry)[0]["exception"]["values"][0]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "fail"
    assert all(frame["lineno"] for frame in frames)
    assert events(sentry)[0]["environment"] == "production"


async def test_without_a_dsn_nothing_is_set_up_and_nothing_loaded(sentry: FakeSentry) -> None:
    code, out, err = await run(SCRIPT)
    assert (code, out.strip()) == (1, "False False"), err
    assert sentry.calls == 0


async def test_a_process_ends_though_sentry_is_away(sentry: FakeSentry) -> None:
    await sentry.stop()
    code, out, err = await run(SCRIPT, SENTRY_DSN=sentry.dsn)
    assert (code, out.strip()) == (1, "True True"), err
    assert "KeyError" in err


@pytest.mark.parametrize("dsn", ["nonsense", "https://sentry.io/42", "ftp://key@host/1"])
def test_what_is_no_dsn_is_said_at_the_start(dsn: str) -> None:
    with pytest.raises(SettingsError, match="SENTRY_DSN: not a DSN"):
        report_errors("exporter", {"SENTRY_DSN": dsn}, list)


def test_without_the_sdk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "process.sentry", raising=False)
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)  # how Python itself says that it cannot be imported
    with pytest.raises(SettingsError, match=r"SENTRY_DSN: .*sentry_sdk.*heypeter-monitoring\[sentry\]"):
        report_errors("exporter", {"SENTRY_DSN": "https://key@sentry.io/42"}, list)


def test_what_a_later_sdk_might_add_stays_here() -> None:
    event = {
        "level": "error",
        "user": {"ip_address": "203.0.113.7"},
        "a_new_key": "x",
        "fingerprint": ["{{ default }}"],
    }
    assert scrub(event, []) == {"level": "error", "fingerprint": ["{{ default }}"]}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("one hunter2, two hunter2", "one <secret>, two <secret>"),
        ("postgresql://app:pw@db:5432/main failed", "postgresql://<secret>@db:5432/main failed"),
        ("GET https://x.example/a?token=1 -> 500", "GET https://x.example/a?<query> -> 500"),
        ("bearer eyJhbGciOi.xyz", "bearer <secret>"),
        ("ask anna+x@mail.example.com.", "ask <e-mail>."),
        ("<anna@example.com>, bob@x@example.org; c@localhost", "<<e-mail>>, <e-mail>; c@localhost"),
        (
            "https://u:p@h.example.com/x?k=v 'ftp://a@b/?c'",
            "https://<secret>@h.example.com/x?<query> 'ftp://<secret>@b/?<query>'",
        ),
        ("@example.com a@ @ a@b..c", "@example.com a@ @ a@b..c"),
        (f"the token {TRICKY!r} is wrong", 'the token "<secret>" is wrong'),
        (f"the token {TRICKY!a} is wrong", 'the token "<secret>" is wrong'),
        (json.dumps({"token": TRICKY}), '{"token": "<secret>"}'),
        ("line 42 of rules.yml: no such team", "line 42 of rules.yml: no such team"),
    ],
)
def test_texts_are_cleaned_and_stay_readable(text: str, clean: str) -> None:
    event = {"exception": {"values": [{"type": "E", "value": text}]}}
    assert scrub(event, [Secret("hunter2"), Secret(TRICKY), Secret("")])["exception"]["values"][0]["value"] == clean


_ENDLESS = ["a", "a.", "a@", "a@a.", "a-", "a://", "://a", "bearer ", "basic", "?", "://?", "@", "1.", "+"]


@pytest.mark.parametrize("piece", _ENDLESS)
def test_a_text_of_any_length_is_cut_before_it_is_searched(piece: str) -> None:
    event = {"exception": {"values": [{"value": f"it failed: {piece * 200_000} anna@example.com"}]}}
    text = scrub(event, [])["exception"]["values"][0]["value"]
    assert text.startswith("it failed: ")
    assert len(text) <= 8192 * 2
    assert "anna" not in text
