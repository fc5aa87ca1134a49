"""What every channel is: one attempt to send one message, with one kind of error."""

import logging
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

import msgspec

from receiver.incident.model import Failure, Kind

__all__ = [
    "PICTURE_ID",
    "Brand",
    "Channel",
    "DeferredError",
    "Failure",
    "Link",
    "Message",
    "Picture",
    "Receipt",
    "SendError",
    "Words",
    "attempt",
    "read_umbrella_key",
    "standing",
    "umbrella_key",
]

log = logging.getLogger(__name__)


class SendError(Exception):
    """One attempt failed. ``permanent``: the same message will fail again. ``retry_after``: the provider's own wish.

    The text goes to the log and the timeline: it must never hold a secret.
    """

    def __init__(
        self, message: str, reason: Failure, *, permanent: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason, self.permanent, self.retry_after = reason, permanent, retry_after


class DeferredError(SendError):
    """Nothing was sent: we keep the provider's pace, and the turn of this message comes in ``wait`` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__("waits for its turn", Failure.RATE_LIMITED, retry_after=wait)
        self.wait = wait


class Link(msgspec.Struct, frozen=True):
    """Something to click on."""

    label: str
    url: str


class Brand(msgspec.Struct, frozen=True):
    """How the product calls itself to people: `site` in receiver.yml."""

    name: str = "HeyPeter Monitoring"
    header: str = "HeyPeter"  # X-HeyPeter-Incident and the other headers of a mail that filters read


class Picture(msgspec.Struct, frozen=True):
    """The chart of what fires: its signed address, what it shows in words, and the PNG if it has been drawn already."""

    url: str
    words: str = ""
    png: bytes = b""
    public: bool = False  # it has been drawn, and Slack can fetch it


class Words(msgspec.Struct, frozen=True):
    """What a card and its buttons say, in the reader's language."""

    status: str = ""  # the news or the state that this message is about
    state: str = ""  # how the incident stands
    acknowledge: str = "Acknowledge"
    resolve: str = "Resolve"
    still_firing: str = ""  # what to ask before a resolve; "" if nothing fires
    resolve_anyway: str = "Resolve anyway"
    cancel: str = "Cancel"
    not_acknowledged: str = "Not acknowledged. Tap to open."  # where a button gets no answer
    language: str = "en"
    reply: str = "Reply {code} to acknowledge."  # in a short message
    press: str = "Press 1 to acknowledge."  # in a call
    see: str = ""  # what the link is called beside buttons that answer
    more: str = "More…"
    snooze: str = "Snooze"
    snoozes: tuple[tuple[int, str], ...] = ()  # for how many minutes it may be, and in words


class Message(msgspec.Struct, frozen=True):
    """A notification made ready for people; a channel only puts it on the wire."""

    id: str  # the same on every attempt: what a provider or a reader can tell a repeat by
    kind: Kind
    address: str  # Slack channel or user id, mail addresses separated by commas, PagerDuty service
    lane: str  # one conversation: the PagerDuty incident, the Slack thread, the mail thread
    incident: str  # unique over all databases that ever were: part of every provider's idempotency key
    priority: str  # P1 is the most urgent; "" for what is about no incident
    severity: str  # critical, warning or info
    subject: str  # what broke and how it stands; mails are threaded by their headers
    headline: str  # what has happened now, one line
    text: str  # all of it in plain text
    write_html: Callable[[], str]  # all of it for a mail reader: most channels never ask
    fields: tuple[tuple[str, str], ...]  # the facts, in reading order
    links: tuple[Link, ...]  # the first one leads to acknowledge and resolve
    sent_at: datetime
    thread: str = ""  # the receipt's ref of the first message of this lane, "" for the first
    key: str = ""  # as ``incident``, and which of the provider's incidents about it; what fires again has another
    button: str = ""  # what a button sends back: ``incident``, when it last fired, and the database
    firing: int = 0  # alerts that fire
    begun: int = 0  # episodes that have ever begun in it
    redraws: bool = False  # it tells nobody anything: the thread's first message shows how the incident stands now
    number: int = 0  # the incident's, as people and buttons name it; 0 if nobody may press a button
    state: str = ""  # triggered, acknowledged or resolved: how the incident stands now
    mention: str = ""  # the Slack user id of the person paged
    labels: dict[str, str] = {}  # what all firing alerts have in common
    name: str = ""  # of the incident, as the headline ends with it
    lead: str = ""  # what is broken, with its line breaks; "" where the text's first line says it
    image_url: str = ""  # a picture of the dashboard, if the alert names one
    picture: Picture | None = None
    opened_at: datetime | None = None
    next_step_at: datetime | None = None  # when somebody else is paged, unless somebody acknowledges before
    words: Words = Words()
    brand: Brand = Brand()

    @property
    def html(self) -> str:
        """All of it for a mail reader."""
        return self.write_html()


PICTURE_ID = "chart@receiver"  # by which the HTML of a mail names the picture that it carries
_UMBRELLA = re.compile(r"heypeter-umbrella-(\d{1,17})-(\d{1,17})(?:/|$)")


def umbrella_key(installation: int, number: int) -> str:
    """Name an umbrella in a provider's idempotency key: unique over all databases, as ``Message.incident`` is."""
    return f"heypeter-umbrella-{installation}-{number}"


def read_umbrella_key(key: str) -> tuple[int, int] | None:
    """Give the installation and the number; None if it is not the key of an umbrella."""
    match = _UMBRELLA.match(key)
    return (int(match[1]), int(match[2])) if match else None


def standing(message: Message) -> str:
    """How the incident stands, as far as the message says."""
    said = {Kind.ACKNOWLEDGED: "acknowledged", Kind.RESOLVED: "resolved"}
    return message.state or said.get(message.kind, "triggered")


class Receipt(msgspec.Struct, frozen=True):
    """The provider took it; ``ref`` is what later messages of the lane need (Slack ts, PagerDuty incident id)."""

    ref: str = ""


class Channel(Protocol):
    """One way to reach people. Stateless between calls, safe to call concurrently, never retries by itself."""

    async def send(self, message: Message) -> Receipt:
        """Try once, within the channel's own timeout; SendError when it did not work."""


async def attempt(sending: Awaitable[Receipt], what: str) -> Receipt:
    """Write and send a message. Whatever goes wrong is a SendError: one that is poisoned must not stop the others."""
    try:
        return await sending
    except SendError:
        raise
    except Exception as error:
        log.exception("%s failed inside its channel", what)
        raise SendError(f"internal error {type(error).__name__}", Failure.INTERNAL) from error
