"""`exporter support-bundle`: what a bug report needs, without a secret and without a business figure."""

import asyncio
import tarfile
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.__main__ import main

Capture = pytest.CaptureFixture[str]
METRICS = """\
# HELP bookings_total Bookings
# TYPE bookings_total counter
bookings_total{class_type="exam"} 4711
# HELP exporter_up 1
# TYPE exporter_up gauge
exporter_up 1
process_cpu_seconds_total 2
"""


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name.removeprefix("support-bundle/"): file.read().decode() for name, file in files.items() if file}


async def test_it_has_neither_secrets_nor_business_figures(tmp_path: Path) -> None:
    path, out, log = tmp_path / "exporter.yml", tmp_path / "out.tar.gz", tmp_path / "log"
    (tmp_path / "token").write_text("pl4nted-token\n", "utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/journal-1").write_bytes(b"x" * 1234)
    dsn = "https://pl4ntedkey@sentry.example.com/7"
    sentry = {"dsns": [dsn], "upstream": {dsn: "http://relay.example.com"}}
    config = {"events": {"token_file": "token"}, "storage": {"path": "data"}, "sentry": sentry}
    path.write_text(yaml.safe_dump(config), "utf-8")
    log.write_text("pl4nted-token of linh@private.example.com\nthe last line", "utf-8")

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="The exporter is ready.\n" if request.path == "/-/ready" else METRICS)

    app = web.Application()
    app.add_routes([web.get("/-/ready", answer), web.get("/metrics", answer)])
    async with TestServer(app) as server:
        command = ["support-bundle", f"--config.file={path}", f"--exporter.url=http://127.0.0.1:{server.port}"]
        assert await asyncio.to_thread(main, [*command, f"--log.file={log}", f"--out={out}"]) == 0
    files = contents(out)
    for form in ("pl4nted", "private.example.com", "4711"):
        assert form not in "".join(files.values())
    assert files["metrics.txt"].splitlines() == METRICS.splitlines()[3:]
    assert files["ready.txt"] == "The exporter is ready.\n"
    assert files["exporter.log"].endswith("the last line")
    assert files["storage.txt"] == "journal-1  1,234 bytes\n"
    assert "bookings_total" in files["catalogue.txt"]
    shown = yaml.safe_load(files["exporter.yml"])
    assert shown["sentry"]["dsns"] == ["https://sentry.example.com/7"]
    assert shown["sentry"]["upstream"] == {"https://sentry.example.com/7": "http://relay.example.com"}
    assert out.stat().st_mode & 0o077 == 0


def test_an_exporter_that_does_not_run_and_a_broken_file_still_give_a_bundle(tmp_path: Path, capsys: Capture) -> None:
    path, out = tmp_path / "exporter.yml", tmp_path / "out.tar.gz"
    path.write_text("nothing: 1\n", "utf-8")
    command = ["support-bundle", f"--config.file={path}", f"--out={out}", "--exporter.url=http://127.0.0.1:1"]
    assert main(command) == 0
    assert "nothing: unknown key" in contents(out)["exporter.yml"]
    assert main(command) == 1
    assert "cannot be written" in capsys.readouterr().err
    out.unlink()
    assert main([*command[:1], *command[2:]]) == 0  # without a file
    assert "cannot be asked" in contents(out)["metrics.txt"]
