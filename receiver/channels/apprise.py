"""The channel `apprise`: a hundred other services (Teams, Telegram, ntfy, SMS, ...) through the library Apprise.

github.com/caronc/apprise. The library is synchronous and retries when its URL says so: here it runs in threads of its
own, and tries once.
"""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import apprise

from process.settings import Secret
from receiver.channels.apprise_log import Ear, reason
from receiver.channels.base import Failure, Message, Receipt, SendError
from receiver.incident.model import Kind

Format = Literal["text", "markdown", "html"]
_THREADS = 8
_MARKS = r"([\\`*_{}\[\]()#+!|<>~])"  # what Markdown reads as more than text
_TYPES = {Kind.PAGE: "failure", Kind.RESOLVED: "success", Kind.REMINDER: "warning"}


class Service(NamedTuple):
    """One service: Apprise's URL, which holds its credentials, and the form of text that it likes best."""

    url: Secret
    form: Format = "text"


class Apprise:
    """Sends through the services by name; raises ValueError for a URL that Apprise does not know."""

    def __init__(self, services: dict[str, Service], *, timeout: float = 20) -> None:
        self._services, self._timeout, self._ear = services, timeout, Ear()
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="apprise")
        self._ear.listen()
        self._asset = apprise.AppriseAsset(app_id="HeyPeter Monitoring", app_desc="HeyPeter Monitoring")
        self._asset.async_mode = False  # in this very thread, or its log could not be told from another's
        for name, service in services.items():
            if self._plugin(service) is None:
                self.close()
                raise ValueError(name)

    def close(self) -> None:
        """Let go of the threads and the log."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._ear.leave()

    async def send(self, message: Message) -> Receipt:
        """Send once; a thread that has not begun when the time is over never begins."""
        service = self._services.get(message.address)
        if service is None:
            text = f"no service {message.address!r} in channels.apprise.services"
            raise SendError(text, Failure.BAD_ADDRESS, permanent=True)
        try:
            async with asyncio.timeout(self._timeout):
                loop = asyncio.get_running_loop()
                said = await loop.run_in_executor(self._threads, self._notify, service, message)
        except TimeoutError:
            raise SendError(f"{message.address} did not answer in time", Failure.TIMEOUT) from None
        if said is not None:
            raise reason(message.address, said)
        return Receipt()

    def _notify(self, service: Service, message: Message) -> str | None:
        """Give None if it was sent, else what Apprise says about it."""
        plugin, many = self._plugin(service), apprise.Apprise(asset=self._asset)
        if plugin is None:
            return ""
        many.add(plugin)
        with self._ear.collected() as said:
            sent = many.notify(
                title=message.headline,
                body={"text": message.text, "html": message.html, "markdown": markdown(message)}[service.form],
                body_format=service.form,
                notify_type=_TYPES.get(message.kind, "info"),
            )
        return None if sent else "\n".join(said)

    def _plugin(self, service: Service) -> apprise.NotifyBase | None:
        """Make the plugin anew for each message: a used one would sleep between two messages, in here."""
        with self._ear.collected():
            plugin = apprise.Apprise.instantiate(service.url.reveal(), asset=self._asset)
        if plugin is not None:
            plugin.retry, plugin.optional, plugin.redirects = 0, False, False  # the dispatcher alone retries
            plugin.socket_connect_timeout = plugin.socket_read_timeout = self._timeout
            plugin.overflow_mode = apprise.OverflowMode.TRUNCATE  # too long is cut, and never refused
        return plugin


def markdown(message: Message) -> str:
    """Write the message in Markdown; nothing that an alert says becomes a mark or a link."""
    facts = "\n".join(f"- **{_plain(name)}**: {_plain(value)}" for name, value in message.fields)
    links = "\n".join(f"- [{_plain(link.label)}]({link.url})" for link in message.links)
    return "\n\n".join(part for part in (_plain(message.text.partition("\n")[0]), facts, links) if part)


def _plain(text: str) -> str:
    return " ".join(re.sub(_MARKS, r"\\\1", text).split())
