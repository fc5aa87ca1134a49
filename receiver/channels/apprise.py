"""The channel `apprise`: a hundred other services (Teams, Telegram, ntfy, SMS, ...) through the library Apprise.

github.com/caronc/apprise. The library is synchronous and retries when its URL says so: here it runs in threads of its
own, and tries once.
"""

import asyncio
import contextlib
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import apprise
import msgspec

from process.settings import Secret, Strict
from receiver.channels.base import Channel, Failure, Message, Receipt, SendError
from receiver.channels.declaration import Declaration, Setup, Timeout, unknown_name
from receiver.channels.http_call import failure
from receiver.channels.mail_header import header_text
from receiver.incident.model import Kind

Format = Literal["text", "markdown", "html"]
_THREADS = 8  # for each service
# urllib3 logs each path at debug, and a path may be a token.
_LOGGERS = ("apprise", "urllib3.connectionpool")
_MARKS = r"([\\`*_{}\[\]()#+!|<>~])"  # what Markdown reads as more than text
_TYPES = {Kind.PAGE: "failure", Kind.RESOLVED: "success", Kind.REMINDER: "warning"}


class ServiceSettings(Strict, frozen=True):
    """One service of Apprise; its URL holds the credentials."""

    url: Secret | None = None
    url_file: Path | None = None
    format: Format = "text"


class Settings(Strict, frozen=True):
    """`channels.apprise`."""

    services: Annotated[dict[str, ServiceSettings], msgspec.Meta(min_length=1)]
    timeout: Timeout = Timeout(20)


class Service(NamedTuple):
    """One service: Apprise's URL, which holds its credentials, and the form of text that it likes best."""

    url: Secret
    form: Format = "text"


class Apprise:
    """Sends through the services by name; raises ValueError for a URL that Apprise does not know."""

    def __init__(self, services: dict[str, Service], *, timeout: float = 20) -> None:
        self._services, self._timeout, self._log = services, timeout, _LogCapture()
        # Apprise's time limit is for each read: a service that drips holds its own threads, and nobody else's.
        self._threads = {name: ThreadPoolExecutor(_THREADS, thread_name_prefix=f"apprise {name}") for name in services}
        self._log.start()
        self._asset = apprise.AppriseAsset(app_id="HeyPeter Monitoring", app_desc="HeyPeter Monitoring")
        self._asset.async_mode = False  # in this very thread, or its log could not be told from another's
        for name, service in services.items():
            if self._plugin(service) is None:
                self.close()
                raise ValueError(name)

    def close(self) -> None:
        """Release the threads and the log."""
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)
        self._log.stop()

    async def send(self, message: Message) -> Receipt:
        """Send once; a thread that has not begun when the time is over never begins."""
        service = self._services.get(message.address)
        if service is None:
            text = f"no service {message.address!r} in channels.apprise.services"
            raise SendError(text, Failure.BAD_ADDRESS, permanent=True)
        try:
            async with asyncio.timeout(self._timeout):
                loop = asyncio.get_running_loop()
                reported = await loop.run_in_executor(self._threads[message.address], self._notify, service, message)
        except TimeoutError:
            raise SendError(f"{message.address} did not answer in time", Failure.TIMEOUT) from None
        if reported is not None:
            raise reason(message.address, reported)
        return Receipt()

    def _notify(self, service: Service, message: Message) -> str | None:
        """Give None if it was sent, else what Apprise logged about it."""
        plugin, sender = self._plugin(service), apprise.Apprise(asset=self._asset)
        if plugin is None:
            return ""
        sender.add(plugin)
        with self._log.captured() as lines:
            sent = sender.notify(
                title=header_text(message.headline),  # the title of a mail, among others
                body={"text": message.text, "html": message.html, "markdown": markdown(message)}[service.form],
                body_format=service.form,
                notify_type=_TYPES.get(message.kind, "info"),
            )
        return None if sent else "\n".join(lines)

    def _plugin(self, service: Service) -> apprise.NotifyBase | None:
        """Make the plugin anew for each message: a used one would sleep between two messages, in here."""
        with self._log.captured():
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


class _LogCapture(logging.Filter):
    """Captures what a thread logs while it sends, and keeps it out of every log: it quotes URLs with credentials."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.local()

    def start(self) -> None:
        """Begin; warnings are made whatever the log's level is, for only they say what failed."""
        logging.getLogger("apprise").setLevel(logging.WARNING)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)

    def stop(self) -> None:
        """Let the library log as before."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)

    @contextlib.contextmanager
    def captured(self) -> Iterator[list[str]]:
        """Capture the lines of this thread."""
        lines: list[str] = []
        self._thread.lines = lines
        try:
            yield lines
        finally:
            self._thread.lines = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the line if this thread is being captured."""
        lines = getattr(self._thread, "lines", None)
        if lines is not None:
            lines.append(record.getMessage())
        return lines is None


def reason(name: str, logged: str) -> SendError:
    """Make an error of the log: Apprise returns no status, but nearly every plugin logs it."""
    codes = re.findall(r"error=([1-5][0-9]{2})\b", logged)
    if codes:
        return failure(f"{name} answered {codes[-1]}", int(codes[-1]))
    if re.search("connection error", logged, re.IGNORECASE):
        return SendError(f"{name} cannot be reached", Failure.NETWORK)
    return SendError(f"Apprise could not send to {name}", Failure.SERVER_ERROR)


def _build(settings: Settings, setup: Setup) -> Channel:
    services = {
        name: Service(setup.secret(f".services.{name}.url", service.url, service.url_file), service.format)
        for name, service in settings.services.items()
    }
    try:
        channel = Apprise(services, timeout=settings.timeout)
    except ValueError as error:
        fix = "not a URL that Apprise supports; see github.com/caronc/apprise/wiki"
        raise setup.place.error(f".services.{error}.url", fix) from None
    setup.closing.callback(channel.close)
    return channel


CHANNEL = Declaration(
    settings=Settings,
    build=_build,
    wrong_address=lambda settings, name: unknown_name("service", name, settings.services, "apprise.services"),
    host_of=lambda _settings, address: address,
    read_by_people=True,
)
