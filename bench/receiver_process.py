"""A receiver in its own process, with a real SQLite file and a local server in place of Slack."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from bench.load import ROOT, program
from deploy.local.ports import free_port


class Site:
    """The ports, tokens and files of one receiver and of its Slack."""

    def __init__(self, folder: Path, postgres: str = "", like: "Site | None" = None) -> None:
        """``postgres`` is the URL of a database in place of a file; tokens and Slack are those of ``like``."""
        self.folder, self.port = folder, free_port()
        self.slack_port: int = like.slack_port if like else free_port()
        made = {name: secrets.token_urlsafe(32) for name in ("webhook", "api", "link")}
        self.tokens: dict[str, str] = like.tokens if like else made
        self.database, self._postgres = folder / "receiver.sqlite3", postgres
        self.config = self._write_config()

    @property
    def url(self) -> str:
        """Where the receiver listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def webhook(self) -> str:
        """Where Alertmanager would post."""
        return f"{self.url}/webhook/alertmanager"

    def session(self) -> aiohttp.ClientSession:
        """Give a client with the webhook's token and no limit of connections."""
        headers = {"Authorization": f"Bearer {self.tokens['webhook']}"}
        return aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0))

    def _write_config(self) -> Path:
        """Write the example configuration with Slack as the only channel."""
        config = yaml.safe_load((ROOT / "deploy/config/receiver.yml").read_text("utf-8"))
        config |= {
            "external_url": self.url,
            "listen": f"127.0.0.1:{self.port}",
            "database": str(self.database),
            "webhook": {"token": self.tokens["webhook"]},
            "api": {"token": self.tokens["api"]},
            "links": {"secret": self.tokens["link"]},
            "people": {k: {"name": v["name"], "slack": "U1"} for k, v in config["people"].items()},
            "teams": {"default": {}},
            "channels": {"slack": {"api_url": f"http://127.0.0.1:{self.slack_port}/api/", "token": "x"}},
        }
        # These refer to channels, people or servers that are not set up here.
        for key in ("routes", "fallback", "alertmanager", "heartbeat", "schedules", "services"):
            config.pop(key, None)
        if self._postgres:
            config = {key: value for key, value in config.items() if key != "database"}
            config |= {"postgres": {"url": self._postgres}, "state_dir": str(self.folder)}
        path = self.folder / f"receiver-{self.port}.yml"
        path.write_text(yaml.safe_dump(config), "utf-8")
        return path

    @contextlib.asynccontextmanager
    async def serve_slack(self, post: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[None]:
        """Answer Slack's API with ``post``."""
        app = web.Application()
        app.add_routes([web.post("/api/{method}", post)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.slack_port).start()
            yield
        finally:
            await runner.cleanup()

    @contextlib.asynccontextmanager
    async def run(
        self, session: aiohttp.ClientSession, *, by: str = "bench.watched"
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start the receiver, wait until it is ready, and stop it at the end; a watched loop never quite rests."""
        command = [*program("receiver", self.config, by=by), "--log.level=error"]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=asyncio.subprocess.DEVNULL)
        try:
            await ready(session, f"{self.url}/-/ready")
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def ready(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until a server answers with anything but a server error."""
    for _ in range(600):
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(url) as answer:
                if answer.status < 500:
                    return
        await asyncio.sleep(0.05)
    raise SystemExit(f"no answer from {url}")
