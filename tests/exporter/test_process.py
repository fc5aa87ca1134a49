"""The exporter as a process: reloads, TLS and passwords, signals, logs, and what it says when it cannot start."""

import asyncio
import base64
import json
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
import trustme
import yaml

from deploy.local.ports import free_port
from tests.exporter.example_exporter import BROWSER, EXAMPLE
from tests.stories.stack import until

TOKEN = "process-token-of-thirty-characters"


class Process:
    """One exporter with a configuration that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.public = folder, free_port(), free_port()
        self.config: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text("utf-8"))
        self.config |= {
            "listen": f"127.0.0.1:{self.port}",
            "events": {"token": TOKEN},
            "storage": {"path": str(folder / "state")},
            "first_increment_hold": "0s",
        }
        self.config["browser"]["listen"] = f"127.0.0.1:{self.public}"
        self.path = folder / "exporter.yml"
        self.scheme = "http"
        self.ssl: ssl.SSLContext | bool = True
        self.headers: dict[str, str] = {}

    def write(self, change: Callable[[dict[str, Any]], object] = lambda _config: None) -> None:
        change(self.config)
        self.path.write_text(yaml.safe_dump(self.config), "utf-8")
        self.path.chmod(0o600)  # it holds a token

    async def start(self, *options: str) -> None:
        self.write()
        self.log = (self.folder / "log").open("ab")
        command = [sys.executable, "-m", "exporter", f"--config.file={self.path}", "--web.enable-lifecycle", *options]
        self.process = await asyncio.create_subprocess_exec(*command, stderr=self.log)
        self.session = aiohttp.ClientSession()
        await until("it is ready", self.ready)

    async def ready(self) -> bool:
        assert self.process.returncode is None, self.said()
        try:
            return (await self.get("/-/ready"))[0] == 200
        except aiohttp.ClientConnectorError:
            return False

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        url = f"{self.scheme}://127.0.0.1:{self.port}{path}"
        async with self.session.get(url, headers={**self.headers, **headers}, ssl=self.ssl) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        url = f"{self.scheme}://127.0.0.1:{self.port}{path}"
        headers = {"Authorization": f"Bearer {TOKEN}", **headers}
        async with self.session.post(url, json=body, headers=headers, ssl=self.ssl) as answer:
            return answer.status, await answer.text()

    def said(self) -> str:
        return (self.folder / "log").read_text("utf-8")

    async def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signum)
        await self.session.close()
        self.log.close()
        return await asyncio.wait_for(self.process.wait(), 30)


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    running = Process(tmp_path)
    yield running
    if running.process.returncode is None:
        await running.stop()


def request(route: str) -> dict[str, object]:
    return {"type": "http_request", "data": {"method": "GET", "route": route, "status": 200, "duration": 0.1}}


async def test_a_reload_takes_new_lists_and_keeps_the_counts(process: Process) -> None:
    await process.start()
    for route in ("/", "/new"):
        assert (await process.post("/api/events", request(route)))[0] == 202
    process.write(lambda config: config["lists"]["routes"].append("/new"))
    assert (await process.post("/-/reload"))[0] == 200
    assert (await process.post("/api/events", request("/new")))[0] == 202
    _, text = await process.get("/metrics?name[]=http_requests_total")
    assert {line for line in text.splitlines() if not line.startswith("#")} == {
        'http_requests_total{method="GET",route="/",status="200"} 1.0',
        'http_requests_total{method="GET",route="other",status="200"} 1.0',
        'http_requests_total{method="GET",route="/new",status="200"} 1.0',
    }


async def test_a_bad_reload_is_refused_named_and_shown_and_the_old_settings_stay(process: Process) -> None:
    await process.start()
    good = process.config["lists"]["routes"]
    process.write(lambda config: config["lists"].update(routes=7))
    status, text = await process.post("/-/reload")
    assert status == 500
    assert "lists.routes" in text
    assert "exporter.yml:" in text
    assert "exporter_config_last_reload_successful 0.0" in (await process.get("/metrics"))[1]
    process.process.send_signal(signal.SIGHUP)
    await until("it says so", lambda: process.said().count("reload failed") == 2)
    process.write(lambda config: config.update(listen="127.0.0.1:1"))
    process.write(lambda config: config["lists"].update(routes=good))
    assert "listen cannot be changed by a reload" in (await process.post("/-/reload"))[1]
    process.write(lambda config: config.update(listen=f"127.0.0.1:{process.port}"))
    process.process.send_signal(signal.SIGHUP)
    await until("it is taken", lambda: "msg=reloaded" in process.said())
    assert "exporter_config_last_reload_successful 1.0" in (await process.get("/metrics"))[1]
    assert (await process.post("/api/events", request("/")))[0] == 202


async def test_a_new_token_needs_no_restart(process: Process) -> None:
    await process.start()
    process.write(lambda config: config["events"].update(token="another"))
    assert (await process.post("/-/reload"))[0] == 200
    assert (await process.post("/api/events", request("/")))[0] == 401
    assert (await process.post("/api/events", request("/"), Authorization="Bearer another"))[0] == 202
    for secret in (TOKEN, "another"):
        assert secret not in process.said() + (await process.get("/metrics"))[1]


async def test_a_new_secret_of_the_peers_needs_a_restart(process: Process) -> None:
    secret = process.folder / "peers-secret"
    secret.write_text("a" * 32, "utf-8")
    process.write(lambda config: config.update(replicas={"peers": ["http://127.0.0.1:1"], "secret_file": str(secret)}))
    await process.start()
    assert (await process.post("/-/reload"))[0] == 200
    secret.write_text("b" * 32, "utf-8")
    assert "replicas.secret_file cannot be changed by a reload" in (await process.post("/-/reload"))[1]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_in_good_order_and_goes_on_where_it_was(process: Process, signum: signal.Signals) -> None:
    await process.start()
    await process.post("/api/events", request("/"))
    assert await process.stop(signum) == 0
    await process.start()
    _, text = await process.get("/metrics")
    assert 'http_requests_total{method="GET",route="/",status="200"} 1.0' in text
    assert "snapshot loaded, 0 requests from the journal" in process.said()


async def test_browsers_have_an_address_of_their_own(process: Process) -> None:
    await process.start()
    url = f"http://127.0.0.1:{process.public}"
    body = json.dumps({"events": [{"type": "session_start", "data": {}}]})
    async with process.session.post(f"{url}/api/pulse", data=body, headers=BROWSER) as answer:
        assert answer.status == 204
    async with process.session.get(f"{url}/metrics") as answer:
        assert answer.status == 404
    assert 'rum_sessions_started_total{device="desktop"} 1.0' in (await process.get("/metrics"))[1]


async def test_logs_can_be_json(process: Process) -> None:
    await process.start("--log.format=json")
    process.process.send_signal(signal.SIGHUP)
    await until("it reloads", lambda: "reloaded" in process.said())
    (line,) = [json.loads(line) for line in process.said().splitlines() if "reloaded" in line]
    assert (line["level"], line["source"], line["msg"]) == ("info", "exporter", "reloaded")


def certificate(folder: Path) -> tuple[Path, Path, ssl.SSLContext]:
    """A certificate of an authority of its own, and the context of a client that trusts it."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return cert, key, context


async def test_tls_and_passwords_as_prometheus_has_them(process: Process) -> None:
    cert, key, context = certificate(process.folder)
    hashed = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
    web = process.folder / "web.yml"
    settings: dict[str, object] = {"tls_server_config": {"cert_file": cert.name, "key_file": key.name}}
    web.write_text(yaml.safe_dump({**settings, "basic_auth_users": {"prometheus": hashed}}), "utf-8")
    process.scheme, process.ssl = "https", context
    await process.start(f"--web.config.file={web}")
    assert (await process.get("/metrics"))[0] == 401
    assert (await process.post("/-/reload"))[0] == 401
    for user, password, status in (
        ("prometheus", "open sesame", 200),
        ("prometheus", "x", 401),
        ("nobody", "open sesame", 401),
    ):
        basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        for _ in range(2):
            assert (await process.get("/metrics", Authorization=basic))[0] == status
    for odd in ("Basic", "Basic !!", "Basic /w==", "Bearer x", ""):
        assert (await process.get("/metrics", Authorization=odd))[0] == 401
    assert (await process.post("/api/events", request("/")))[0] == 202  # its token is what counts there
    assert "open sesame" not in process.said()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("tls_server_config: {cert_file: a.pem, key_file: b.pem}", "tls_server_config.cert_file: cannot use"),
        ("basic_auth_users: {a: plain}", "basic_auth_users.a"),
        ("colour: red", "colour: unknown key"),
        ("tls_server_config: {cert_file: a.pem}", "key_file"),
    ],
)
def test_a_bad_web_config_is_one_sentence(tmp_path: Path, content: str, says: str) -> None:
    web = tmp_path / "web.yml"
    web.write_text(content, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "exporter", f"--web.config.file={web}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert f"{web}:1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_two_exporters_on_one_folder_are_refused(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.write()
    command = [sys.executable, "-m", "exporter", f"--config.file={process.path}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        assert "listens on" in first.stderr.readline()
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        first.terminate()
    assert second.returncode == 1
    assert "in use by another exporter" in second.stderr


def test_a_token_without_a_folder_is_refused(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.write(lambda config: config.pop("storage"))
    command = [sys.executable, "-m", "exporter", "check", f"--config.file={process.path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "events: storage.path is required" in done.stderr


def test_check_refuses_a_short_token_and_a_token_file_that_all_may_read(tmp_path: Path) -> None:
    process, file = Process(tmp_path), tmp_path / "token"

    def checked(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "exporter", "check", f"--config.file={process.path}", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stderr

    process.write(lambda config: config["events"].update(token="a" * 16))
    process.path.chmod(0o644)
    status, errors = checked()
    assert (status, "events.token: " in errors, "move the secret to a file: token_file" in errors) == (1, True, True)
    process.path.chmod(0o600)
    assert checked() == (0, "")
    process.write(lambda config: config["events"].update(token="a" * 15))
    status, errors = checked()
    assert (status, "events.token: too short" in errors, errors.count("\n")) == (1, True, 1)
    file.write_text("a" * 16, "utf-8")
    file.chmod(0o644)
    process.write(lambda config: config.update(events={"token_file": str(file)}))
    status, errors = checked("--secrets")
    assert (status, "events.token_file" in errors, "chmod 600" in errors) == (1, True, True)
    file.chmod(0o600)
    assert checked() == (0, "")
