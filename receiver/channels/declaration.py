"""What a channel's file declares of itself, and what its ``build`` is given."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

import aiohttp

from process.settings import (
    Duration,
    Secret,
    SettingsError,
    Source,
    Strict,
    parse_duration,
    read_secret,
    require_secret,
)
from receiver.channels.base import Channel
from receiver.incident.model import Kind
from receiver.store.push import PushStore

S = TypeVar("S", bound=Strict)
Pictures = Literal["", "inside", "address"]  # none, in the message itself, or fetched by the provider
_LONGEST_TIMEOUT = 60.0  # seconds; well below the lease of a notification that is being sent


class Timeout(Duration):
    """Seconds for one attempt, at most a minute: a slower one would outlive its lease and be sent twice."""

    @classmethod
    def from_yaml(cls, value: object) -> "Timeout":
        """Read ``10s``; ValueError if it is not a duration from 1s to 60s."""
        if not isinstance(value, str):
            raise ValueError("invalid timeout (expected e.g. 10s)")  # noqa: TRY004  # msgspec adds the place to it
        seconds = parse_duration(value)
        if not 0 < seconds <= _LONGEST_TIMEOUT:
            raise ValueError(f"invalid timeout {value!r} (expected 1s to 60s)")
        return cls(seconds)


class Place:
    """A channel's section of the settings file, for errors that name file and line."""

    def __init__(self, source: Source, name: str) -> None:
        self.source, self.at = source, f".channels.{name}"

    def error(self, key: str, message: str) -> SettingsError:
        """Make the error of a key below the section, such as ``.services.ops.url``; "" for the section itself."""
        return self.source.error(f"{self.at}{key}", message)


@dataclass(frozen=True)
class Setup:
    """What a channel is built with, beside its own settings.

    Every secret that it asks for is added to ``secrets``, which no error report may carry. What it opens it registers
    in ``closing``, which is closed after the last message. A command that sends nothing has no ``devices``.
    """

    place: Place
    session: aiohttp.ClientSession
    secrets: list[Secret]
    closing: ExitStack
    external_url: str
    devices: PushStore | None = None
    folder: Path = Path()  # where the database is, for what is to be kept beside it

    def secret(self, key: str, value: Secret | None, file: Path | None, *, several: bool = False) -> Secret:
        """Read a secret or its ``*_file`` twin; SettingsError if neither is set."""
        secret = require_secret(self.place.source, f"{self.place.at}{key}", value, file, several=several)
        self.secrets.append(secret)
        return secret

    def optional_secret(self, key: str, value: Secret | None, file: Path | None) -> Secret | None:
        """Read a secret or its ``*_file`` twin; None if neither is set."""
        secret = read_secret(self.place.source, f"{self.place.at}{key}", value, file)
        self.secrets.extend([secret] if secret else [])
        return secret


def no_check(_settings: Strict, _place: Place) -> None:
    """Check nothing: the types of the settings say it all."""


def nothing_unsafe(_settings: Strict) -> Iterable[tuple[str, str]]:
    """Find nothing: these settings give nothing away."""
    return ()


def every_kind(_settings: Strict) -> frozenset[Kind]:
    """Everything can be sent."""
    return frozenset(Kind)


def every_page(_settings: Strict) -> int:
    """Send every page by itself."""
    return 0


def never(_settings: Strict) -> bool:
    """What was sent cannot be changed."""
    return False


def one_host(_settings: Strict, _address: str) -> str:
    """All addresses are served by one host."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Declaration(Generic[S]):
    """One channel, as receiver.channels.registry lists it.

    ``check`` raises SettingsError for settings that could not send; ``unsafe`` lists key and fix of what works and
    should not be so. ``wrong_address`` says what is wrong with an address, "" if it can be reached; it is None for a
    channel without addresses, which tells everybody.
    """

    settings: type[S]  # what `channels.NAME` may hold
    build: Callable[[S, Setup], Channel]
    check: Callable[[S, Place], None] = no_check
    unsafe: Callable[[S], Iterable[tuple[str, str]]] = nothing_unsafe
    wrong_address: Callable[[S, str], str] | None
    own_key: bool = False  # people and teams write the address under the channel's own name, not in `contacts`
    host_of: Callable[[S, str], str] = one_host  # what an address shares with others when it is down
    keeps_incidents: bool = False  # an acknowledgement or a resolve that is lost leaves an incident open there
    kinds: Callable[[S], frozenset[Kind]] = every_kind  # what can be sent there
    single_pages: Callable[[S], int] = every_page  # pages of one window that ring alone; what follows is one
    redraws: Callable[[S], bool] = never  # a message that stands can show how the incident stands now
    pictures: Pictures = ""  # how it shows the chart of an incident
    read_by_people: bool  # many notifications for one address become one message


def unknown_name(kind: str, name: str, names: Iterable[str], key: str) -> str:
    """Say that a name is not among those set up under ``key``; "" if it is."""
    names = tuple(names)
    return "" if name in names else f"no {kind} {name!r} in channels.{key} ({', '.join(names)})"
