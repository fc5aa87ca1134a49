"""Says what receiver.yml may hold of channels and of addresses on them, and refuses what could not be delivered."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from process.settings import Duration, Secret, Source

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
LONGEST_TIMEOUT = 60.0  # seconds; well below the lease of a notification that is being sent


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unknown keys are refused: a misspelt one must not be a default in disguise."""


class PagerDutyService(_Strict, frozen=True):
    """One PagerDuty service: its integration's key (mode events) or its id (mode rest)."""

    routing_key: Secret | None = None
    routing_key_file: Path | None = None
    service_id: str = ""


class PagerDuty(_Strict, frozen=True):
    """The channel `pagerduty`."""

    services: dict[str, PagerDutyService]
    mode: Literal["events", "rest"] = "events"
    region: Literal["us", "eu"] = "us"
    api_token: Secret | None = None
    api_token_file: Path | None = None
    webhook_secret: Secret | None = None  # signs the webhooks by which PagerDuty tells us of answers
    webhook_secret_file: Path | None = None
    from_: str = msgspec.field(default="", name="from")
    api_url: str = ""
    timeout: Duration = Duration(10)


class SlackWebhook(_Strict, frozen=True):
    """One incoming webhook; whoever knows its URL can post."""

    url: Secret | None = None
    url_file: Path | None = None


class Slack(_Strict, frozen=True):
    """The channel `slack`: with a bot token, with incoming webhooks, or with both."""

    token: Secret | None = None
    token_file: Path | None = None
    webhooks: dict[str, SlackWebhook] = {}
    interactive: bool = False  # buttons, which Slack sends back signed
    signing_secret: Secret | None = None
    signing_secret_file: Path | None = None
    api_url: str = ""
    timeout: Duration = Duration(10)


class Email(_Strict, frozen=True):
    """The channel `email`."""

    host: str
    from_: str = msgspec.field(name="from")
    port: Port = 587
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    username: str = ""
    password: Secret | None = None
    password_file: Path | None = None
    timeout: Duration = Duration(20)


class AppriseService(_Strict, frozen=True):
    """One service of Apprise; its URL holds the credentials."""

    url: Secret | None = None
    url_file: Path | None = None
    format: Literal["text", "markdown", "html"] = "text"


class Apprise(_Strict, frozen=True):
    """The channel `apprise`."""

    services: dict[str, AppriseService]
    timeout: Duration = Duration(20)


class WebhookEndpoint(_Strict, frozen=True):
    """One endpoint, and the secret that signs what it is sent."""

    url: str
    secret: Secret | None = None
    secret_file: Path | None = None


class Webhook(_Strict, frozen=True):
    """The channel `webhook`."""

    endpoints: dict[str, WebhookEndpoint]
    timeout: Duration = Duration(10)


class Log(_Strict, frozen=True):
    """The channel `log`: a terminal."""


class Channels(_Strict, frozen=True):
    """The ways out of here."""

    pagerduty: PagerDuty | None = None
    slack: Slack | None = None
    email: Email | None = None
    apprise: Apprise | None = None
    webhook: Webhook | None = None
    log: Log | None = None


OWN_KEYS = ("pagerduty", "slack", "email")  # a person or a team has a key for each; the others stand in `contacts`
_NAMED = {"pagerduty": "services", "slack": "webhooks", "apprise": "services", "webhook": "endpoints"}
_ADDRESSED = tuple(name for name in Channels.__struct_fields__ if name != "log")


def uses_log(channels: Channels) -> bool:
    """With no other channel the terminal is the channel."""
    return channels.log is not None or not any(getattr(channels, name) for name in _ADDRESSED)


def channel_names(channels: Channels) -> tuple[str, ...]:
    """Name the channels that the file sets up."""
    given = tuple(name for name in _ADDRESSED if getattr(channels, name) is not None)
    return (*given, *(("log",) if uses_log(channels) else ()))


def check_channels(channels: Channels, source: Source) -> None:
    """Refuse channels that could not send."""
    for name in channel_names(channels):
        timeout = getattr(getattr(channels, name), "timeout", LONGEST_TIMEOUT)
        if not 0 < timeout <= LONGEST_TIMEOUT:
            raise source.error(f".channels.{name}.timeout", "write 1s to 60s: a slower send would be sent twice")
    if channels.email and "@" not in channels.email.from_:
        raise source.error(".channels.email.from", "write a mail address, as alerts@example.com")
    slack = channels.slack
    if slack and slack.interactive and not (slack.signing_secret or slack.signing_secret_file):
        raise source.error(".channels.slack", "interactive buttons need signing_secret_file, the Slack app's own")
    _check_pagerduty(channels.pagerduty, source)
    _check_addresses(channels, source)


def check_contacts(channels: Channels, at: str, own: dict[str, str], others: dict[str, str], source: Source) -> None:
    """Check the addresses of the person or team at ``at``: those with ``own`` keys, and ``others`` in `contacts`."""
    for channel, address in own.items():
        if address:
            check_contact(channels, f"{at}.{channel}", channel, address, source)
    for channel, address in others.items():
        if channel in OWN_KEYS:
            raise source.error(f"{at}.contacts.{channel}", f"write {channel} beside contacts, not in it")
        check_contact(channels, f"{at}.contacts.{channel}", channel, address, source)


def check_contact(channels: Channels, at: str, channel: str, address: str, source: Source) -> None:
    """Refuse an address that its channel could not reach."""
    if channel not in _ADDRESSED:
        raise source.error(at, f"there is no channel {channel!r} with addresses; write one of {', '.join(_ADDRESSED)}")
    if getattr(channels, channel) is None:
        raise source.error(at, f"channels.{channel} is not set up; add it, or remove this")
    if not address:
        raise source.error(at, "is empty; write the address, or remove the key")
    names = _names(channels).get(channel)
    if names is not None and address not in names:
        where = f"channels.{channel}.{_NAMED[channel]}"
        raise source.error(at, f"no {_NAMED[channel][:-1]} {address!r} in {where} ({', '.join(names)})")
    if channel == "email" and not all(_is_mail_address(part) for part in address.split(",")):
        raise source.error(at, "write mail addresses, as name@example.com")


def _names(channels: Channels) -> dict[str, tuple[str, ...]]:
    """Give the only addresses of each channel that has names for them; a Slack bot can write to any."""
    found = {name: tuple(getattr(getattr(channels, name), key, ())) for name, key in _NAMED.items()}
    slack = channels.slack
    if slack and (slack.token or slack.token_file):
        found.pop("slack")
    return {name: names for name, names in found.items() if getattr(channels, name)}


def _is_mail_address(text: str) -> bool:
    return "@" in text and not any(c.isspace() for c in text)


def _check_pagerduty(pagerduty: PagerDuty | None, source: Source) -> None:
    if pagerduty and pagerduty.mode == "rest":
        if not pagerduty.from_:
            raise source.error(".channels.pagerduty", "mode rest needs `from`: the e-mail of a PagerDuty user")
        for name, service in pagerduty.services.items():
            if not service.service_id:
                raise source.error(f".channels.pagerduty.services.{name}", "mode rest needs `service_id`")


def _check_addresses(channels: Channels, source: Source) -> None:
    """Refuse a channel that nothing can be sent to."""
    slack = channels.slack
    if slack and not (slack.token or slack.token_file or slack.webhooks):
        raise source.error(".channels.slack.token", "is missing; give token, its *_file twin, or webhooks")
    for name, names in _names(channels).items():
        if not names:
            raise source.error(f".channels.{name}", "names nothing that can be written to; add one, or remove this")
    for name, endpoint in (channels.webhook.endpoints if channels.webhook else {}).items():
        if not endpoint.url.startswith(("http://", "https://")):
            raise source.error(f".channels.webhook.endpoints.{name}.url", "write a URL, as https://example.com/hook")
