"""The example proxies let through what is public and nothing else, with the client's address, size and rate limits."""

import asyncio
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
import trustme
from aiohttp import web
from yarl import URL

from deploy.local.ports import free_port
from deploy.local.servers import PLACE
from tests.deploy.installed import ROOT
from tests.stories.stack import until

SITE, ON_CALL = "app.example.com", "oncall.example.com"
PUBLIC = [
    (SITE, "POST", "/api/pulse", 3002),
    (SITE, "GET", "/rum.js", 3002),
    (SITE, "POST", "/api/report", 3002),
    (ON_CALL, "GET", "/answer/WzEsImxpbmgi", 9095),
    (ON_CALL, "GET", "/a/WzEsImxpbmgi/", 9095),
    (ON_CALL, "POST", "/answer/digest/WzEsImxpbmgi", 9095),
    (ON_CALL, "GET", "/static/console.0123456789ab.css", 9095),
    (ON_CALL, "GET", "/calendar/bGluaA.x.ics", 9095),
    (ON_CALL, "GET", "/chart/WzEsImxpbmgi.png", 9095),
    (ON_CALL, "POST", "/push/acknowledge", 9095),
    (ON_CALL, "POST", "/push/receipt", 9095),
    (ON_CALL, "POST", "/twilio/sms", 9095),
    (ON_CALL, "POST", "/twilio/call", 9095),
    (ON_CALL, "POST", "/slack/interactivity", 9095),
    (ON_CALL, "POST", "/slack/commands", 9095),
    (ON_CALL, "POST", "/pagerduty/webhook", 9095),
    *((ON_CALL, "GET", path, 9095) for path in ("/", "/incidents/7", "/me", "/me/devices", "/on-call", "/history")),
    *((ON_CALL, "GET", path, 9095) for path in ("/history.csv", "/policy", "/status", "/raise", "/sign-in")),
    *((ON_CALL, "POST", path, 9095) for path in ("/incidents/7/acknowledge", "/on-call/cover", "/awake/on")),
    *((ON_CALL, "POST", path, 9095) for path in ("/policy/replay", "/sign-in/oidc", "/sign-out")),
    *((ON_CALL, "GET", path, 9095) for path in ("/manifest.webmanifest", "/service-worker.js")),
]
STREAMS = ["/stream", "/incidents/7/stream", "/answer/WzEsImxpbmgi/stream"]
PRIVATE = ["/metrics", "/api/events", "/openapi.json", "/webhook/alertmanager", "/api/v1/incidents", "/-/ready"]
PRIVATE += ["/-/reload", "/answer/../metrics", "//metrics", "/api/pulse/../events"]


class Seen(NamedTuple):
    """What arrived behind the proxy."""

    port: int
    path: str
    headers: Mapping[str, str]


class Front:
    """A proxy on a port of its own, and a server behind it that keeps what arrives."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.ports = {3002: free_port(), 9095: free_port()}
        self.seen: list[Seen] = []
        self.heard = asyncio.Event()
        authority = trustme.CA()
        certificate = authority.issue_cert(SITE, ON_CALL)
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(folder / "cert.pem", append=True)
        self.tls = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        authority.configure_trust(self.tls)

    async def serve(self) -> web.AppRunner:
        async def take(request: web.Request) -> web.StreamResponse:
            port = next(p for p, own in self.ports.items() if own == request.transport.get_extra_info("sockname")[1])  # type: ignore[union-attr]
            self.seen.append(Seen(port, request.path, request.headers))
            await request.read()
            if request.path.endswith("/stream"):
                return await self.stream(request)
            return web.Response(text="through")

        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{tail:.*}", take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        for port in self.ports.values():
            await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Say one thing, and the rest when the client has it."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await self.heard.wait()
        await response.write(b"data: second\n\n")
        return response

    async def ask(self, host: str, method: str, path: str, body: bytes = b"", forwarded: str = "") -> int:
        """Ask as a client on the internet would; the path is sent as it is written."""
        connector = aiohttp.TCPConnector(ssl=self.tls)
        async with aiohttp.ClientSession(connector=connector) as session:
            url = URL(f"https://127.0.0.1:{self.port}{path}", encoded=True)
            headers = {"Host": host, **({"X-Forwarded-For": forwarded} if forwarded else {})}
            async with session.request(
                method, url, data=BytesIO(body), headers=headers, server_hostname=host, allow_redirects=False
            ) as answer:
                return answer.status


def nginx_configuration(front: Front) -> str:
    text = (ROOT / "deploy/proxy/nginx.conf").read_text("utf-8")
    for port, own in front.ports.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{front.port} ssl")
    text = text.replace("listen 80", f"listen 127.0.0.1:{free_port()}")
    text = re.sub(r"/etc/letsencrypt/live/[\w.]+/fullchain.pem", str(front.folder / "cert.pem"), text)
    text = re.sub(r"/etc/letsencrypt/live/[\w.]+/privkey.pem", str(front.folder / "key.pem"), text)
    temporary = "".join(
        f"{n}_temp_path {front.folder}/{n};" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"daemon off; user root; pid {front.folder}/pid; error_log stderr; events {{}}\n"
    return f"{head}http {{ access_log off; {temporary}\n{text}\n}}\n"


def check(nginx: list[str]) -> None:
    """Nginx -t."""
    checked = subprocess.run([*nginx, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr.replace('[warn] the "user" directive makes sense only', "")


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    program = PLACE / "bin/nginx"
    if not program.exists():
        pytest.skip("no nginx: run make servers")
    front = Front(tmp_path)
    (tmp_path / "nginx.conf").write_text(nginx_configuration(front), "utf-8")
    words = [str(program), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    check(words)
    runner = await front.serve()
    process = await asyncio.create_subprocess_exec(*words)

    async def answers() -> bool:
        try:
            return await front.ask(SITE, "GET", "/") == 404
        except aiohttp.ClientConnectorError:
            return False

    try:
        await until("nginx answers", answers)
        yield front
    finally:
        process.terminate()
        await process.wait()
        await runner.cleanup()


@pytest.mark.stack
async def test_nginx_lets_through_what_is_public_with_the_clients_real_address(front: Front) -> None:
    for host, method, path, port in PUBLIC:
        assert await front.ask(host, method, path, forwarded="203.0.113.9") == 200, path
        seen = front.seen[-1]
        assert (seen.port, seen.path) == (port, path)
        assert (seen.headers["Host"], seen.headers["X-Forwarded-For"]) == (host, "127.0.0.1")


@pytest.mark.stack
@pytest.mark.parametrize("host", [SITE, ON_CALL])
async def test_nginx_lets_nothing_else_through(front: Front, host: str) -> None:
    elsewhere = [path for other, _, path, _ in PUBLIC if other != host]
    for path in [*PRIVATE, *elsewhere]:
        assert await front.ask(host, "GET", path) in {400, 404}, path
    assert front.seen == []


@pytest.mark.stack
@pytest.mark.parametrize("path", STREAMS)
async def test_nginx_passes_a_stream_on_as_it_comes(front: Front, path: str) -> None:
    connector = aiohttp.TCPConnector(ssl=front.tls)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(30):
        url, headers = f"https://127.0.0.1:{front.port}{path}", {"Host": ON_CALL, "X-Forwarded-User": "admin"}
        async with session.get(url, headers=headers, server_hostname=ON_CALL) as answer:
            assert await answer.content.readuntil(b"\n\n") == b"data: first\n\n"
            front.heard.set()
            assert await answer.content.readuntil(b"\n\n") == b"data: second\n\n"
    assert "X-Forwarded-User" not in front.seen[-1].headers


@pytest.mark.stack
async def test_nginx_refuses_what_is_too_large(front: Front) -> None:
    assert await front.ask(SITE, "POST", "/api/pulse", b"x" * 65_000) == 200
    assert await front.ask(SITE, "POST", "/api/pulse", b"x" * 70_000) == 413
    assert await front.ask(SITE, "POST", "/api/report", b"x" * 1_500_000) == 200
    assert await front.ask(ON_CALL, "POST", "/slack/interactivity", b"x" * 1_100_000) == 413


@pytest.mark.stack
async def test_nginx_slows_a_flood_of_one_client(front: Front) -> None:
    answers = list[int]()
    async with asyncio.timeout(60):
        while 429 not in answers:  # five a second are let through after the first 20, and a machine may be slow
            answers += await asyncio.gather(*(front.ask(ON_CALL, "GET", "/answer/guess") for _ in range(60)))
    assert answers.count(200) >= 20
    assert set(answers) == {200, 429}


@pytest.mark.skipif(not shutil.which("caddy"), reason="no caddy here")
def test_caddy_takes_its_configuration() -> None:
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(ROOT / "deploy/proxy/Caddyfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_both_proxies_let_the_same_paths_through() -> None:
    nginx = (ROOT / "deploy/proxy/nginx.conf").read_text("utf-8")
    named = re.findall(r"location (?:= (/\S*)|(/\S+))", nginx)
    locations = {exact or prefix for exact, prefix in named} - {"/.well-known/acme-challenge/"}
    caddy = (ROOT / "deploy/proxy/Caddyfile").read_text("utf-8")
    matched = {path.rstrip("*") for line in re.findall(r"@\w+ path (.+)", caddy) for path in line.split()}
    assert matched == locations
