"""The channels `sms` and `call`: short messages and calls by Twilio, each with a way to acknowledge.

twilio.com/docs/messaging/api/message-resource and twilio.com/docs/voice/api/call-resource: a form, 201, and an error as
JSON with a code. Answers come in at receiver/web/twilio_answers.py.
"""

import base64
import hashlib
import hmac
import html
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec

from process.addresses import is_http, is_loopback
from process.settings import Secret, Strict
from receiver.channels.base import Channel, Failure, Message, Receipt, SendError, standing
from receiver.channels.declaration import Declaration, Place, Setup, Timeout
from receiver.channels.http_call import Answer, failure, post
from receiver.incident.model import Kind

API = "https://api.twilio.com"
_VERSION = "2010-04-01"
_READ = 16 * 1024  # bytes of an answer, which repeats what was sent
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
_SENDER = re.compile(r"\+[1-9][0-9]{6,14}|MG[0-9a-fA-F]{32}|[A-Za-z0-9 ]{1,11}")
_SID = re.compile(r"\"sid\": *\"([A-Z]{2}[0-9a-f]{32})\"")
_LETTERS = "BCDFGHJKMNPQRTVWXY"  # none that looks like a digit, and no words
# twilio.com/docs/api/errors. What is not here is what its HTTP status says.
_CODES = {
    **dict.fromkeys((21211, 21214, 21217, 21421, 21610, 21612, 21614, 13223, 13224), Failure.BAD_ADDRESS),
    **dict.fromkeys((20003, 20005, 20008), Failure.AUTH),
    **dict.fromkeys((20429, 21611, 14107), Failure.RATE_LIMITED),
}
# 3GPP TS 23.038: what takes one septet, and what takes two.
_SEPTETS = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_TWO_SEPTETS = "^{}\\[~]|€"
_ALONE, _EACH = (160, 70), (153, 67)  # of one message, of each part: septets, or UTF-16 units
_VOICES = {"en": "en-US", "de": "de-DE"}
_SPOKEN = 300  # characters


class Account(Strict, frozen=True, kw_only=True):
    """What `channels.sms` and `channels.call` have in common."""

    account_sid: str
    """Account SID, which begins with AC"""
    auth_token: Secret | None = None
    """Auth token, which also checks what Twilio sends us"""
    auth_token_file: Path | None = None
    api_url: str = API
    """Address of Twilio's API, or of your own proxy"""
    timeout: Timeout = Timeout(10)
    """Time for one attempt, at most 60s"""


class SmsSettings(Account, frozen=True, kw_only=True):
    """`channels.sms`: short messages by Twilio."""

    from_: str = msgspec.field(name="from")
    """Number, messaging service (MG…) or name that sends; only the first two can be replied to"""
    segments: Annotated[int, msgspec.Meta(ge=1, le=6)] = 2
    """Parts that a message has at most, each of which is paid for; it is cut to fit"""


class CallSettings(Account, frozen=True, kw_only=True):
    """`channels.call`: calls by Twilio; only pages and reminders."""

    from_: str = msgspec.field(name="from")
    """Number that calls"""
    ring: Annotated[int, msgspec.Meta(ge=5, le=120)] = 30
    """Seconds that it rings; a mailbox that answers later takes no page"""


class Line(NamedTuple):
    """How Twilio is reached."""

    account: str
    token: Secret
    sender: str
    api_url: str = API
    timeout: float = 10


class Sms:
    """Sends short messages; ``url`` is the receiver's own."""

    def __init__(self, line: Line, session: aiohttp.ClientSession, url: str, segments: int = 2) -> None:
        self._line, self._session, self._url, self._segments = line, session, url.rstrip("/"), segments

    async def send(self, message: Message) -> Receipt:
        """Hand over once; what the network then makes of it is not waited for."""
        sender = "MessagingServiceSid" if self._line.sender.startswith("MG") else "From"
        form = {"To": message.address, sender: self._line.sender, "Body": self.text(message)}
        return await _sent(self._line, self._session, "Messages", form)

    def text(self, message: Message) -> str:
        """Write what happened, how to acknowledge it, and where to read more, cut to the parts that it may have."""
        can_reply = self._line.sender.startswith(("+", "MG"))
        asks = can_reply and message.number > 0 and standing(message) == "triggered" and bool(message.button)
        code = code_of(message.button, message.number, self._line.token) if asks else ""
        reply = message.words.reply.replace("{code}", code) if code else ""
        where = f"{self._url}/incidents/{message.number}" if message.number else f"{self._url}/"
        return fitted(message.headline, [line for line in (reply, where) if line], self._segments)


class Call:
    """Calls, says what happened, and takes a key."""

    def __init__(self, line: Line, session: aiohttp.ClientSession, url: str, ring: int = 30) -> None:
        self._line, self._session, self._url, self._ring = line, session, url.rstrip("/"), ring

    async def send(self, message: Message) -> Receipt:
        """Have it called once; whether somebody answers is not waited for."""
        form = {
            "To": message.address,
            "From": self._line.sender,
            "Timeout": str(self._ring),
            "Twiml": self.twiml(message),
        }
        return await _sent(self._line, self._session, "Calls", form)

    def twiml(self, message: Message) -> str:
        """Write what is said, twice: the first words are lost while somebody wakes up."""
        words, told = message.words, say(_speakable(message.headline), message.words.language)
        if not (message.number > 0 and standing(message) == "triggered" and message.button):
            return response(told, '<Pause length="1"/>', told)
        action = f"{self._url}/twilio/call?incident={quote(message.button, safe='')}"
        asks = say(words.press, words.language)
        return response(gather(action, told, asks, '<Pause length="2"/>', told, asks))


def code_of(reference: str, number: int, token: Secret) -> str:
    """Give what somebody replies to acknowledge: the number, and letters of this one time that the incident is open.

    Who does not know the auth token finds the letters by trying 5,832 times, at the price of a message each.
    """
    value = int.from_bytes(hmac.digest(token.reveal().encode(), f"sms:{reference}".encode(), hashlib.sha256)[:8], "big")
    letters = ""
    for _ in range(3):
        value, at = divmod(value, len(_LETTERS))
        letters += _LETTERS[at]
    return f"{number}{letters}"


def segments_of(text: str) -> int:
    """Count the parts that a message is sent in."""
    wide = any(character not in _SEPTETS and character not in _TWO_SEPTETS for character in text)
    units = len(text.encode("utf-16-be")) // 2 if wide else sum(1 + (one in _TWO_SEPTETS) for one in text)
    return 1 if units <= _ALONE[wide] else -(-units // _EACH[wide])


def fitted(headline: str, lines: list[str], segments: int) -> str:
    """Cut the headline so that all of it has so many parts; what tells how to answer stays whole."""
    headline = " ".join("".join(one if one.isprintable() else " " for one in headline).split())
    shown = headline
    while segments_of("\n".join((shown, *lines))) > segments and len(shown) > 1:
        headline = headline[: len(headline) - max(1, len(headline) // 16)].rstrip()
        shown = f"{headline}..."
        if len(headline) <= 1:
            break
    return "\n".join((shown, *lines))


def response(*parts: str) -> str:
    """Write TwiML."""
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{"".join(parts)}</Response>'


def say(text: str, language: str) -> str:
    """Write what a voice says."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return f'<Say language="{_VOICES.get(language, _VOICES["en"])}">{html.escape(plain)}</Say>'


def gather(action: str, *parts: str) -> str:
    """Write a question that one key answers."""
    inner = "".join(parts)
    return (
        f'<Gather input="dtmf" numDigits="1" timeout="10" method="POST" action="{html.escape(action)}">{inner}</Gather>'
    )


def _speakable(text: str) -> str:
    return text.replace("#", " ").replace("_", " ")[:_SPOKEN]


async def _sent(line: Line, session: aiohttp.ClientSession, what: str, form: dict[str, str]) -> Receipt:
    if not _NUMBER.fullmatch(form["To"]):
        raise SendError("not a number", Failure.BAD_ADDRESS, permanent=True)
    url = f"{line.api_url.rstrip('/')}/{_VERSION}/Accounts/{line.account}/{what}.json"
    credentials = base64.b64encode(f"{line.account}:{line.token.reveal()}".encode()).decode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {credentials}"}
    body = urlencode(form).encode()
    answer = await post(session, "Twilio", Secret(url), body, headers, line.timeout, largest=_READ)
    if answer.status == HTTPStatus.CREATED and (sid := _SID.search(answer.text)):
        return Receipt(ref=sid[1])
    raise _refused(answer)


class _Error(msgspec.Struct, frozen=True):
    code: int = 0


def _refused(answer: Answer) -> SendError:
    try:
        code = msgspec.json.decode(answer.text, type=_Error).code
    except (msgspec.DecodeError, UnicodeEncodeError):
        code = 0
    text = f"Twilio answered {answer.status}" + (f", error {code}" if code else "")
    reason = _CODES.get(code)
    if reason is None or answer.status < HTTPStatus.BAD_REQUEST:
        return failure(text, answer.status, answer.retry_after)
    wish = failure(text, HTTPStatus.TOO_MANY_REQUESTS, answer.retry_after).retry_after
    limited = reason is Failure.RATE_LIMITED
    return SendError(text, reason, permanent=not limited, retry_after=wish if limited else None)


def _check(settings: SmsSettings | CallSettings, place: Place) -> None:
    if not re.fullmatch(r"AC[0-9a-fA-F]{32}", settings.account_sid):
        raise place.error(".account_sid", "invalid account SID (expected AC and 32 hexadecimal digits)")
    if not is_http(settings.api_url):
        raise place.error(".api_url", "invalid URL (expected e.g. https://api.twilio.com)")
    right = _SENDER if isinstance(settings, SmsSettings) else _NUMBER
    if not right.fullmatch(settings.from_):
        raise place.error(".from", "invalid sender (expected a number of yours, e.g. +4930123456)")


def _unsafe(settings: SmsSettings | CallSettings) -> Iterator[tuple[str, str]]:
    parts = urlsplit(settings.api_url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        yield ".api_url", f"the auth token would reach {parts.hostname} unencrypted; use https"


def _wrong_address(_settings: Strict, address: str) -> str:
    return "" if _NUMBER.fullmatch(address) else "not a phone number (expected e.g. +4917012345678)"


def _line(settings: SmsSettings | CallSettings, setup: Setup) -> Line:
    token = setup.secret(".auth_token", settings.auth_token, settings.auth_token_file)
    return Line(settings.account_sid, token, settings.from_, settings.api_url, float(settings.timeout))


def _build_sms(settings: SmsSettings, setup: Setup) -> Channel:
    return Sms(_line(settings, setup), setup.session, setup.external_url, settings.segments)


def _build_call(settings: CallSettings, setup: Setup) -> Channel:
    return Call(_line(settings, setup), setup.session, setup.external_url, settings.ring)


SMS = Declaration(
    settings=SmsSettings,
    build=_build_sms,
    check=_check,
    unsafe=_unsafe,
    wrong_address=_wrong_address,
    read_by_people=True,
)
CALL = Declaration(
    settings=CallSettings,
    build=_build_call,
    check=_check,
    unsafe=_unsafe,
    wrong_address=_wrong_address,
    kinds=lambda _settings: frozenset({Kind.PAGE, Kind.REMINDER}),
    read_by_people=True,
)
