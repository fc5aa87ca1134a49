"""The channel `apprise`: a hundred other services (Teams, Telegram, ntfy, SMS, ...) through the library Apprise.

github.com/caronc/apprise. The library is synchronous, retries when its URL says so, and reads whatever a service
answers: messages go out from processes of their own, once, within bounds of time and memory.
"""

import asyncio
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import apprise
import msgspec

from process.settings import Secret, Strict
from receiver.channels.apprise_process import Format, Job, Outcome, SendAs
from receiver.channels.base import Channel, Failure, Message, Receipt, SendError
from receiver.channels.declaration import Declaration, Setup, Timeout, unknown_name
from receiver.channels.http_call import failure
from receiver.channels.mail_header import header_text
from receiver.clients.limited_process import Worker, WorkerTimeoutError
from receiver.incident.model import Kind

_MODULE = "receiver.channels.apprise_process"
_PROCESSES = 2  # for each service; one takes 55 MB, and 0.5 s to start
_IDLE = 2  # that are kept for what comes next
_STARTED_IN = 20.0  # seconds
_LONGEST = 80.0  # seconds for all of it; a longer one would outlive its lease and be sent twice
_LATER = 5.0  # seconds that a socket waits beyond the limit: Apprise would call that a connection error
_ANSWER = 1 << 20  # bytes of what a process says
# How to reach the network, besides what Python itself needs.
_PASSED_ON = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HOME", "TZ"),
)
_MARKS = r"([\\`*_{}\[\]()#+!|<>~])"  # what Markdown reads as more than text
_TYPES: dict[Kind, SendAs] = {Kind.PAGE: "failure", Kind.RESOLVED: "success", Kind.REMINDER: "warning"}


class ServiceSettings(Strict, frozen=True):
    """One service of Apprise; its URL holds the credentials."""

    url: Secret | None = None
    """Apprise's URL of the service; it holds the credentials"""
    url_file: Path | None = None
    format: Format = "text"
    """Format of the text"""


class Settings(Strict, frozen=True):
    """`channels.apprise`: services that Apprise knows; needs the extra `apprise`."""

    services: Annotated[dict[str, ServiceSettings], msgspec.Meta(min_length=1)]
    """Services, by the names that `contacts` use"""
    timeout: Timeout = Timeout(20)
    """Time for one attempt, at most 60s"""


class Service(NamedTuple):
    """One service: Apprise's URL, which holds its credentials, and the form of text that it likes best."""

    url: Secret
    form: Format = "text"


class Apprise:
    """Sends through the services by name; raises ValueError for a URL that Apprise does not know."""

    def __init__(self, services: dict[str, Service], *, timeout: float = 20) -> None:
        self._services, self._timeout = services, timeout
        self._idle: list[Worker] = []
        # A service that does not answer holds its own threads and processes, and nobody else's.
        self._threads = {name: ThreadPoolExecutor(_PROCESSES, f"apprise {name}") for name in services}
        self._turns = {name: asyncio.Semaphore(_PROCESSES) for name in services}
        self._running: set[Worker] = set()
        for name, service in services.items():
            if not _is_known(service.url):
                self.close()
                raise ValueError(name)

    def close(self) -> None:
        """End threads and processes."""
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)
        for worker in (*self._running, *self._idle):
            worker.stop()

    async def send(self, message: Message) -> Receipt:
        """Send once; what has not begun when the time is over never begins."""
        service = self._services.get(message.address)
        if service is None:
            text = f"no service {message.address!r} in channels.apprise.services"
            raise SendError(text, Failure.BAD_ADDRESS, permanent=True)
        job = Job(
            url=service.url.reveal(),
            title=header_text(message.headline),  # the title of a mail, among others
            body=_body(message, service.form),
            form=service.form,
            sort=_TYPES.get(message.kind, "info"),
            timeout=float(self._timeout + _LATER),  # msgspec writes no subclass of float
            brand=message.brand.name,
        )
        begun, turn = time.monotonic(), self._turns[message.address]
        try:
            async with asyncio.timeout(self._timeout):
                await turn.acquire()
        except TimeoutError:
            raise _timed_out(message.address) from None
        ask = partial(self._ask, msgspec.json.encode(job), begun + _LONGEST)
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads[message.address], ask)
        except WorkerTimeoutError:
            raise _timed_out(message.address) from None
        except OSError as error:
            raise SendError(f"Apprise could not run: {type(error).__name__}", Failure.INTERNAL) from None
        finally:
            turn.release()
        return _receipt(message.address, answer)

    def _ask(self, job: bytes, end: float) -> bytes:
        """Hand it to a process that has nothing to do, or to a new one, whose start is none of the service's time."""
        try:
            worker, fresh = self._idle.pop(), False
        except IndexError:
            worker, fresh = Worker(_MODULE, largest=_ANSWER, environment=_PASSED_ON), True
        self._running.add(worker)
        try:
            if fresh and not worker.is_ready(min(time.monotonic() + _STARTED_IN, end)):
                raise OSError("it did not start")
            answer = worker.ask(job, min(time.monotonic() + self._timeout, end))
            if answer and len(self._idle) < _IDLE:
                self._idle.append(worker)
            else:
                worker.stop()
            return answer
        finally:
            self._running.discard(worker)


def _timed_out(name: str) -> SendError:
    return SendError(f"{name} did not answer in time", Failure.TIMEOUT)


def _receipt(name: str, answer: bytes) -> Receipt:
    try:
        outcome = msgspec.json.decode(answer, type=Outcome)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = f"Apprise was stopped while it sent to {name}, whose answer may be too large"
        raise SendError(text, Failure.SERVER_ERROR) from None
    if not outcome.sent:
        raise reason(name, outcome.logged)
    return Receipt()


def _is_known(url: Secret) -> bool:
    """Ask the library, which logs a URL that it does not know with its credentials."""
    log = logging.getLogger("apprise")
    log.addFilter(_nothing)
    try:
        return apprise.Apprise.instantiate(url.reveal()) is not None
    finally:
        log.removeFilter(_nothing)


def _nothing(_record: logging.LogRecord) -> bool:
    return False


def _body(message: Message, form: Format) -> str:
    if form == "text":
        return message.text
    return message.html if form == "html" else markdown(message)


def markdown(message: Message) -> str:
    """Write the message in Markdown; nothing that an alert says becomes a mark or a link."""
    facts = "\n".join(f"- **{_plain(name)}**: {_plain(value)}" for name, value in message.fields)
    links = "\n".join(f"- [{_plain(link.label)}]({link.url})" for link in message.links)
    return "\n\n".join(part for part in (_plain(message.text.partition("\n")[0]), facts, links) if part)


def _plain(text: str) -> str:
    return " ".join(re.sub(_MARKS, r"\\\1", text).split())


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
