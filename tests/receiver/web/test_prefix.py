"""Below a path of a proxy, the real nginx, every link, form and redirect works; whether it strips the path or not."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from deploy.local.ports import free_port
from receiver.app import Receiver, now
from receiver.config.load import load
from tests.receiver.channels.test_registry import written
from tests.receiver.web.test_alertmanager import encoded

NGINX = Path(".stack/servers/bin/nginx").resolve()
HOOK = {"Authorization": "Bearer t"}
CONFIG = """daemon off; error_log stderr; pid {folder}/nginx.pid; events {{}}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location /on/call/ {{ proxy_pass http://127.0.0.1:{backend}{strip}; }} }} }}
"""


@asynccontextmanager
async def nginx(folder: Path, port: int, backend: int, strip: str) -> AsyncIterator[None]:
    file = folder / "nginx.conf"
    file.write_text(CONFIG.format(folder=folder, port=port, backend=backend, strip=strip), "utf-8")
    process = await asyncio.create_subprocess_exec(NGINX, "-c", str(file), "-p", str(folder), "-e", "stderr")
    try:
        for _ in range(100):
            assert process.returncode is None
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=0.1)
            else:
                writer.close()
                break
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.stack
@pytest.mark.parametrize("strip", ["/", ""], ids=["stripped", "kept"])
@pytest.mark.parametrize("end", ["", "/"])
async def test_every_link_form_and_redirect_keeps_the_path(tmp_path: Path, strip: str, end: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/on/call"
    receiver = Receiver(*load(written(tmp_path, {"external_url": f"{url}{end}"})))
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        async with TestServer(receiver.application()) as server, nginx(tmp_path, port, int(server.port or 0), strip):
            async with session.post(f"{url}/webhook/alertmanager", data=encoded(), headers=HOOK) as answer:
                assert answer.status == 200
            message = receiver._messages.one(*await receiver.store.claim("log", now(), 60, 1))  # noqa: SLF001  # what a person is sent
            link = message.links[0].url
            assert urlsplit(link).path.startswith("/on/call/answer/")
            async with session.get(link) as page:
                assert page.status == 200
                text = await page.text()
            for short in (link.replace("/answer/", "/a/"), f"{link.replace('/answer/', '/a/')}/"):
                async with session.get(short) as led:
                    assert (led.status, str(led.url)) == (200, link)
                    assert [one.headers["Referrer-Policy"] for one in led.history] == ["no-referrer"]
            async with session.get(f"{url}/a/guess/") as led:
                assert led.status == 403
            for attribute, path in re.findall(r'(href|src|action)="([^"#]+)"', text):  # its files, and its forms
                if not path.startswith("http"):
                    method = "POST" if attribute == "action" else "GET"
                    async with session.request(method, urljoin(link, path)) as answer:
                        # a form without its fields is refused by the act that it is for
                        assert answer.status in ({200, 400, 409} if attribute == "action" else {200}), path
            async with session.post(link, data={"verb": "acknowledge"}, allow_redirects=False) as pressed:
                assert pressed.status == 303
                assert pressed.headers["Location"].startswith("./")
            async with session.post(link, data={"verb": "resolve", "confirm": "1"}) as shown:
                assert (shown.status, str(shown.url).partition("?")[0]) == (200, link)
            for path in ("/-/healthy", "/metrics"):
                async with session.get(f"{url}{path}") as answer:
                    assert answer.status == 200
        await receiver.stop()
