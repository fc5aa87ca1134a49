"""The Alertmanagers in receiver.yml: names, credentials and certificates, and what contradicts itself."""

import asyncio
import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local.ports import free_port
from process.settings import SettingsError
from receiver.app import Receiver
from receiver.config.load import load
from receiver.config.sources import sources


def written(folder: Path, **changes: object) -> Path:
    """The shipped example with secrets in place, and no source but those of ``changes``."""
    config: dict[str, Any] = yaml.safe_load(Path("tests/receiver/receiver.yml").read_text("utf-8"))
    services = {name: {"routing_key": "e" * 32} for name in ("engineers", "leads")}
    config |= {
        "database": str(folder / "receiver.sqlite3"),
        "webhook": {"token": "w" * 32},
        "api": {"token": "a" * 32},
        "links": {"secret": "s" * 32},
        "channels": {
            "pagerduty": {"services": services},
            "slack": {"token": "xoxb-1"},
            "email": {"host": "localhost", "from": "a@example.com"},
        },
        "retention": {},
    }
    del config["alertmanager"]
    path = folder / "receiver.yml"
    path.write_text(yaml.safe_dump(config | changes, sort_keys=False), "utf-8")
    return path


ONE = {"name": "eu", "url": "https://eu.example.com"}


def test_the_one_alertmanager_of_older_files_is_the_default_source(tmp_path: Path) -> None:
    config, _ = load(written(tmp_path, alertmanager={"url": "http://am:9093"}, alertmanagers=[ONE]))
    by_name = sources(config.alertmanager, config.alertmanagers)
    assert {name: (at, one.url) for name, (at, one) in by_name.items()} == {
        "alertmanager": (".alertmanager", "http://am:9093"),
        "eu": (".alertmanagers[0]", "https://eu.example.com"),
    }


@pytest.mark.parametrize(
    ("alertmanagers", "named"),
    [
        ([ONE, ONE], "alertmanagers[1].name"),
        ([{**ONE, "headers": {"X-Scope-OrgID": "a\r\nX-More: b"}}], "alertmanagers[0].headers"),
        ([{**ONE, "headers": {"X Scope": "a"}}], "alertmanagers[0].headers"),
        ([{**ONE, "name": "EU"}], "alertmanagers[0].name"),
        ([{**ONE, "name": "a/b"}], "alertmanagers[0].name"),
        ([{**ONE, "url": "eu.example.com"}], "alertmanagers[0].url"),
        ([{**ONE, "token": "t", "basic_auth": {"username": "u", "password": "p"}}], "alertmanagers[0].basic_auth"),
        ([{**ONE, "tls": {"cert_file": "c"}}], "alertmanagers[0].tls"),
        ([{**ONE, "tls": {"insecure": True}}], "insecure"),
        ([{**ONE, "merge_receivers": ["a"]}], "alertmanagers[0].merge_receivers"),
    ],
)
def test_what_contradicts_itself_is_named(tmp_path: Path, alertmanagers: list[dict[str, Any]], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, alertmanagers=alertmanagers))
    assert named in str(caught.value)


def test_the_default_source_is_not_listed_twice(tmp_path: Path) -> None:
    default, listed = {"url": "http://am:9093"}, [{**ONE, "name": "alertmanager"}]
    load(written(tmp_path, alertmanagers=listed))
    with pytest.raises(SettingsError):
        load(written(tmp_path, alertmanager=default, alertmanagers=listed))
    with pytest.raises(SettingsError):
        load(written(tmp_path, alertmanager={**default, "name": "eu"}))
    with pytest.raises(SettingsError):
        load(written(tmp_path, alertmanager={}))


class Api:
    """An Alertmanager that knows nothing, and keeps how it was asked."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.asked = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.headers = dict(request.headers)
        self.asked.set()
        return web.json_response([])

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self.answer)
        return app

    async def is_asked(self, path: Path, patience: float) -> bool:
        """Run a receiver until it asks."""
        receiver, stop = Receiver(*load(path)), asyncio.Event()
        async with aiohttp.ClientSession() as session:
            await receiver.start(session)
            run = asyncio.ensure_future(receiver.run(stop))
            try:
                await asyncio.wait_for(self.asked.wait(), patience)
            except TimeoutError:
                return False
            finally:
                stop.set()
                await run
                await receiver.stop()
        return True


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"headers": {"X-Scope-OrgID": "school"}}, {"X-Scope-OrgID": "school"}),
        ({"token": "t0ken"}, {"Authorization": "Bearer t0ken"}),
        ({"token_file": "secret"}, {"Authorization": "Bearer from-file"}),
        ({"basic_auth": {"username": "u", "password_file": "secret"}}, {"Authorization": "Basic dTpmcm9tLWZpbGU="}),
    ],
)
async def test_each_source_is_asked_with_its_own_headers(
    tmp_path: Path, settings: dict[str, Any], sent: dict[str, str]
) -> None:
    (tmp_path / "secret").write_text("from-file\n", "utf-8")
    credentials = json.loads(json.dumps(settings).replace('"secret"', f'"{tmp_path}/secret"'))
    api = Api()
    async with TestServer(api.application()) as server:
        source = {"name": "eu", "url": str(server.make_url("/")), "interval": "100ms", **credentials}
        assert await api.is_asked(written(tmp_path, alertmanagers=[source]), 30)
    assert sent.items() <= api.headers.items()


@pytest.mark.parametrize(
    ("tls", "asked"), [({}, False), ({"insecure_skip_verify": True}, True), ({"ca_file": "own.pem"}, True)]
)
async def test_a_certificate_that_nobody_vouches_for_is_refused_unless_said(
    tmp_path: Path, tls: dict[str, Any], asked: bool
) -> None:
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    options += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", *options, "-keyout", "key.pem", "-out", "own.pem"]
    await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "key.pem")
    tls_settings = {name: str(tmp_path / value) if name == "ca_file" else value for name, value in tls.items()}
    api, port = Api(), free_port()
    runner = web.AppRunner(api.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    source = {"name": "eu", "url": f"https://127.0.0.1:{port}", "interval": "100ms", "tls": tls_settings}
    try:
        assert await api.is_asked(written(tmp_path, alertmanagers=[source]), 30 if asked else 3) is asked
    finally:
        await runner.cleanup()
