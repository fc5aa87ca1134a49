"""Tells the one who pressed what the channel does not show: through the response_url of a press or command.

docs.slack.dev/interactivity/handling-user-interaction: five times within half an hour.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

log = logging.getLogger(__name__)

T = TypeVar("T")

SLACK = ("hooks.slack.com",)
_PATIENCE = aiohttp.ClientTimeout(total=5)


class SlackReplies:
    """``hosts`` are those that a response_url may be of. Nothing depends on a reply."""

    def __init__(self, session: aiohttp.ClientSession, hosts: tuple[str, ...] = SLACK) -> None:
        self._session, self._hosts = session, hosts
        self._tasks: set[asyncio.Task[Any]] = set()

    def tell(self, url: str, content: dict[str, object]) -> bool:
        """Say something that only they see; False if there is no way to."""
        if not content or _host(url) not in self._hosts:
            return False
        self.keep(self._send(url, {"response_type": "ephemeral", "replace_original": False, **content}))
        return True

    def keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let something go on after the answer."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("an answer to Slack failed: %s", type(task.exception()).__name__)

    async def _send(self, url: str, reply: dict[str, object]) -> None:
        try:
            async with self._session.post(url, json=reply, timeout=_PATIENCE, allow_redirects=False) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            log.info("cannot reply in Slack to whoever pressed the button")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a bracket that nobody closes
        return ""
