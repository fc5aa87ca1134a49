"""The channel `email`: text and HTML over SMTP, threaded by incident, one message a notification."""

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Literal

import aiosmtplib
import msgspec

from process.addresses import is_host, is_loopback, is_mail
from process.settings import Secret, Strict
from receiver.channels.base import PICTURE_ID, Channel, Failure, Message, Receipt, SendError
from receiver.channels.declaration import Declaration, Place, Setup, Timeout
from receiver.channels.mail_header import ENCODED_WORD, WholeSubject, ascii_domain, header_text, mailbox, token
from receiver.incident.model import Kind

log = logging.getLogger(__name__)

Tls = Literal["starttls", "implicit", "none"]
_SHOWN = 100  # characters of a wrong setting
_PERMANENT = 500  # RFC 5321, 4.2.1: 4yz may pass, 5yz will not
_AUTH_CODES = {530, 534, 535, 538}
_GOODBYE = 1.0  # seconds; the mail is the server's by then


class Settings(Strict, frozen=True):
    """`channels.email`: one SMTP server."""

    host: str
    """SMTP server"""
    from_: str = msgspec.field(name="from")
    """Sender, with or without a name"""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 587
    """Its port"""
    tls: Tls = "starttls"
    """How the connection is encrypted"""
    username: str = ""
    """User name of the login; no login, if empty"""
    password: Secret | None = None
    """Password of the login"""
    password_file: Path | None = None
    timeout: Timeout = Timeout(20)
    """Time for one attempt, at most 60s"""


class Email:
    """Sends through one SMTP server; a connection a message, for pages are few and stale connections fail."""

    def __init__(  # what an SMTP server needs to be told
        self,
        host: str,
        port: int,
        sender: str,
        *,
        tls: Tls = "starttls",
        username: str = "",
        password: Secret | None = None,
        timeout: float = 20,
    ) -> None:
        self._host, self._port, self._sender, self._tls, self._timeout = host, port, sender, tls, timeout
        self._username, self._password = username, password

    async def send(self, message: Message) -> Receipt:
        """Deliver to the server; refused addresses count as failure only when all are refused."""
        try:
            mail = compose(message, self._sender)
            refused = await self._deliver(mail, [part.strip() for part in message.address.split(",") if part.strip()])
        except aiosmtplib.SMTPRecipientsRefused as error:
            # If one address may be taken later, all are tried later.
            raise _refused(min(each.code for each in error.recipients), "all recipients refused") from None
        except aiosmtplib.SMTPResponseException as error:
            raise _refused(error.code, type(error).__name__) from None
        except TimeoutError:
            raise SendError("the mail server did not answer in time", Failure.TIMEOUT) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            if type(error) in {aiosmtplib.SMTPException, aiosmtplib.SMTPNotSupported}:  # no STARTTLS, no AUTH
                text = "the mail server does not offer what is asked of it; check channels.email.tls and username"
                raise SendError(text, Failure.REFUSED, permanent=True) from None
            raise SendError(f"mail server: {type(error).__name__}", Failure.NETWORK) from None
        except ValueError:  # aiosmtplib refuses to say to a server what would not be one word, and so does compose
            raise SendError("not a mail address", Failure.BAD_ADDRESS, permanent=True) from None
        for address, code in refused.items():
            log.warning("notification %s went to the others, but %s was refused with %d", message.id, address, code)
        return Receipt(ref=str(mail["Message-ID"]))

    async def _deliver(self, mail: EmailMessage, recipients: list[str]) -> dict[str, int]:
        """Hand the mail over; gives the addresses that were refused, with the server's code."""
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._tls == "implicit",
            start_tls=self._tls == "starttls",
            username=self._username or None,
            password=self._password.reveal() if self._password else None,
            timeout=self._timeout,
        )
        try:
            async with asyncio.timeout(self._timeout):
                await client.connect()
                sender = parseaddr(self._sender)[1]
                refused, _ = await client.send_message(mail, sender=sender, recipients=recipients)
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):  # a lost goodbye is no reason to send again
                await client.quit(timeout=_GOODBYE)
        finally:
            client.close()
        return {address: response.code for address, response in refused.items()}


def compose(message: Message, sender: str) -> EmailMessage:
    """Build the mail: same Message-ID on every attempt, same root for the lane. ValueError for no address."""
    if ENCODED_WORD in message.address:
        raise ValueError("a mail program would decode it to another address")
    from_ = mailbox(sender)
    domain, incident = ascii_domain(from_.addr_spec), token(message.incident)
    lane = hashlib.sha256(message.lane.encode()).hexdigest()[:12]
    root = f"<{incident}.{lane}@{domain}>"
    mail = EmailMessage(WholeSubject())
    mail["From"], mail["To"] = from_, ", ".join(message.address.replace(",", " ").split())
    mail["Subject"] = header_text(message.subject)
    mail["Date"] = message.sent_at
    if message.thread:
        mail["Message-ID"] = f"<{incident}.{lane}.{token(message.id)}@{domain}>"
        mail["In-Reply-To"] = mail["References"] = root
    else:
        mail["Message-ID"] = root
    # Outlook and Exchange thread by these, Gmail and others by References.
    mail["Thread-Topic"], mail["Thread-Index"] = incident, _thread_index(message)
    mail["List-Id"] = f"{message.brand.name} <alerts.{domain}>"
    # RFC 3834: no out-of-office answer may come back.
    mail["Auto-Submitted"], mail["X-Auto-Response-Suppress"] = "auto-generated", "All"
    # For people's filters.
    prefix = f"X-{message.brand.header}"
    mail[f"{prefix}-Incident"], mail[f"{prefix}-Kind"] = incident, message.kind.value
    if message.priority:
        mail[f"{prefix}-Priority"] = token(message.priority)
    if message.priority == "P1" and message.kind in {Kind.PAGE, Kind.REMINDER}:
        mail["X-Priority"], mail["Importance"] = "1", "high"
    mail.set_content(f"{message.headline}\n\n{message.text}\n")
    html = message.html
    mail.add_alternative(html, subtype="html")
    if message.picture and message.picture.png and f"cid:{PICTURE_ID}" in html:
        _add_picture(mail, message.picture.png)
    return mail


def _add_picture(mail: EmailMessage, png: bytes) -> None:
    """Put it beside the HTML that names it (RFC 2387, RFC 2392)."""
    html = mail.get_body(("html",))
    if isinstance(html, EmailMessage):
        html.add_related(png, "image", "png", cid=f"<{PICTURE_ID}>", disposition="inline", filename="chart.png")


def _thread_index(message: Message) -> str:
    """Give a time and a GUID, constant for the lane, and five bytes more for each answer in it.

    learn.microsoft.com/openspecs/exchange_server_protocols/ms-oxomsg (PidTagConversationIndex).
    """
    guid = hashlib.sha256(f"{message.incident}/{message.lane}".encode()).digest()[:16]
    answer = hashlib.sha256(message.id.encode()).digest()[:5] if message.thread else b""
    return base64.b64encode(b"\x01" + bytes(5) + guid + answer).decode()


def _refused(code: int, what: str) -> SendError:
    text = f"the mail server answered {code} ({what})"
    if code in _AUTH_CODES:
        return SendError(text, Failure.AUTH, permanent=True)
    if code < _PERMANENT:
        return SendError(text, Failure.SERVER_ERROR)
    return SendError(text, Failure.REFUSED if what.startswith("SMTP") else Failure.BAD_ADDRESS, permanent=True)


def _build(settings: Settings, setup: Setup) -> Channel:
    return Email(
        settings.host,
        settings.port,
        settings.from_,
        tls=settings.tls,
        username=settings.username,
        password=setup.optional_secret(".password", settings.password, settings.password_file),
        timeout=settings.timeout,
    )


def _check(settings: Settings, place: Place) -> None:
    if not is_host(settings.host):
        text = f"invalid host {settings.host[:_SHOWN]!r} (expected e.g. smtp.example.com; its port is `port`)"
        raise place.error(".host", text)
    if not is_mail(parseaddr(settings.from_)[1]):
        raise place.error(".from", f"invalid address {settings.from_!r} (expected e.g. alerts@example.com)")


def _unsafe(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.tls == "none" and (settings.password or settings.password_file) and not is_loopback(settings.host):
        yield ".tls", f"the password would reach {settings.host} unencrypted; use starttls or implicit"


def _wrong_address(_settings: Settings, addresses: str) -> str:
    wrong = [one for one in addresses.split(",") if not is_mail(one)]
    return f"invalid address {wrong[0]!r} (expected e.g. name@example.com)" if wrong else ""


CHANNEL = Declaration(
    settings=Settings,
    build=_build,
    check=_check,
    unsafe=_unsafe,
    wrong_address=_wrong_address,
    own_key=True,
    pictures="inside",
    read_by_people=True,
)
