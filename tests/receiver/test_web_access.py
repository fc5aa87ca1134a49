"""TLS and users of the receiver, by the same file as the exporter's, and what a reload of it does."""

import base64
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import bcrypt
import pytest
import trustme
import yaml

from process.listener import Connections, Listener
from process.settings import SettingsError
from process.web_config import WebAccess
from receiver.__main__ import main
from receiver.app import Receiver
from receiver.config.load import load
from tests.receiver.channels.test_registry import written

HOOK = {"Authorization": "Bearer t"}


def certificate(folder: Path) -> ssl.SSLContext:
    """Issue one by a new authority; gives the context of a client that trusts only that."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(folder / "key.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def web_file(folder: Path, password: str) -> Path:
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    tls = {"cert_file": "cert.pem", "key_file": "key.pem"}
    (folder / "web.yml").write_text(
        yaml.safe_dump({"tls_server_config": tls, "basic_auth_users": {"prometheus": hashed}}), "utf-8"
    )
    return folder / "web.yml"


class Site:
    def __init__(self, folder: Path, receiver: Receiver, url: str, session: aiohttp.ClientSession) -> None:
        self.folder, self.receiver, self.url, self.session = folder, receiver, url, session
        self.trust = ssl.create_default_context()

    async def get(self, path: str, password: str = "", user: str = "prometheus") -> int:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}"} if password else {}
        async with self.session.get(f"{self.url}{path}", headers=headers, ssl=self.trust) as answer:
            return answer.status


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    trust = certificate(tmp_path)
    access = WebAccess(web_file(tmp_path, "open sesame"))
    receiver = Receiver(*load(written(tmp_path, {"heartbeats": {"backup": {"every": "1d"}}})), access=access)
    connector = aiohttp.TCPConnector(force_close=True)  # each request sees the certificate of now
    async with aiohttp.ClientSession(connector=connector) as session:
        await receiver.start(session)
        listener = Listener(receiver.application(), access.tls, Connections(50, time.monotonic), 1)
        await listener.start("127.0.0.1", 0)
        made = Site(tmp_path, receiver, f"https://{listener.address}", session)
        made.trust = trust
        yield made
        await listener.close()
        await receiver.stop()


async def test_metrics_are_for_users_and_the_rest_keeps_its_own_tokens(site: Site) -> None:
    assert await site.get("/metrics") == 401
    assert await site.get("/metrics", "wrong") == 401
    assert await site.get("/metrics", "open sesame", "nobody") == 401
    assert await site.get("/metrics", "open sesame") == 200
    assert await site.get("/-/healthy") == 200
    assert await site.get("/heartbeat/backup", "open sesame") == 401
    async with site.session.get(f"{site.url}/heartbeat/backup", headers=HOOK, ssl=site.trust) as answer:
        assert answer.status == 200


async def test_without_tls_nothing_is_answered(site: Site) -> None:
    with pytest.raises(aiohttp.ClientError):
        await site.session.get(site.url.replace("https", "http"))


async def test_a_reload_takes_new_users_and_a_renewed_certificate(site: Site) -> None:
    old = site.trust
    site.trust = certificate(site.folder)
    web_file(site.folder, "changed")
    site.receiver.reloader.reload()
    assert await site.get("/metrics", "changed") == 200
    assert await site.get("/metrics", "open sesame") == 401
    site.trust = old
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await site.get("/metrics", "changed")


@pytest.mark.parametrize("content", ["basic_auth_users: {a: plain}", "basic_auth_users: {}", "colour: red"])
async def test_a_bad_file_is_refused_by_a_reload_and_nothing_changes(site: Site, content: str) -> None:
    """The second one would end TLS."""
    (site.folder / "web.yml").write_text(content, "utf-8")
    with pytest.raises(SettingsError, match=r"web\.yml"):
        site.receiver.reloader.reload()
    assert await site.get("/metrics", "open sesame") == 200


def test_the_command_line_takes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "web.yml").write_text("colour: red", "utf-8")
    path = written(tmp_path, {})
    assert main([f"--config.file={path}", f"--web.config.file={tmp_path / 'web.yml'}"]) == 1
    assert "web.yml:1: colour: unknown key" in capsys.readouterr().err
