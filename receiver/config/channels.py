"""Reads the section `channels` of receiver.yml by what each channel declares, and checks addresses on them."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from process.conversion import nearest
from process.optional import MissingExtraError
from process.settings import Findings, Source, Strict
from receiver.channels.declaration import Declaration, Pictures, Place
from receiver.channels.registry import CHANNELS, declaration
from receiver.config.people import Places
from receiver.incident.delivery import Handling
from receiver.incident.model import Kind

_TERMINAL = "log"


class ChannelFacts(NamedTuple):
    """What the dispatcher of a channel needs to know of it."""

    bundles: bool = False  # many notifications for one address become one message
    keeps_incidents: bool = False  # see Declaration
    kinds: frozenset[Kind] = frozenset(Kind)
    single_pages: int = 0  # see Declaration
    host_of: Callable[[str], str] = lambda _address: ""
    pictures: Pictures = ""
    redraws: bool = False


_NO_FACTS = ChannelFacts()


class Channels:
    """The settings of each channel that the file sets up, by name, in the order of the registry.

    A file that sets up none has the terminal.
    """

    def __init__(self, settings: Mapping[str, Strict]) -> None:
        self.settings = settings or {_TERMINAL: declaration(_TERMINAL).settings()}
        self._facts = {name: _facts(channel, settings) for name, channel, settings in self.declared()}

    @classmethod
    def from_source(cls, source: Source) -> "Channels":
        """Read the section; SettingsError for an unknown channel, a missing extra, or settings that could not send."""
        sections = source.convert(dict[str, dict[str, Any] | None], ".channels")
        findings, read = Findings(), dict[str, Strict]()
        for name in sections:
            if name not in CHANNELS:
                known = ", ".join(CHANNELS)
                text = f"unknown channel (expected one of {known}){nearest(name, CHANNELS)}"
                findings.add(source.error(f".channels.{name}", text))
        for name in CHANNELS:
            if sections.get(name) is not None:
                with findings.collecting():
                    read[name] = _read(name, source)
        findings.refuse()
        return cls(read)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.settings)

    def declared(self) -> Iterator[tuple[str, Declaration[Any], Strict]]:
        """Give name, declaration and settings of each."""
        for name, settings in self.settings.items():
            yield name, declaration(name), settings

    def read_by_people(self) -> frozenset[str]:
        """Name those on which many notifications for one address become one message."""
        return frozenset(name for name, channel, _ in self.declared() if channel.read_by_people)

    def facts(self, name: str) -> ChannelFacts:
        """Say how a channel is to be served; one that is not set up has no facts."""
        return self._facts.get(name, _NO_FACTS)

    def handling(self, name: str, window: timedelta = timedelta(0)) -> Handling:
        """Say how a channel takes what is owed on it: nothing is held where nothing becomes one message."""
        facts = self.facts(name)
        if facts.single_pages:
            return Handling(window, facts.single_pages, facts.kinds, facts.keeps_incidents, umbrella=True)
        hold = window if facts.bundles else timedelta(0)
        return Handling(hold, kinds=facts.kinds, keeps_incidents=facts.keeps_incidents, redraws=facts.redraws)

    def without_address(self) -> tuple[str, ...]:
        """Name those that tell everybody, whatever addresses people have."""
        return tuple(name for name, channel, _ in self.declared() if channel.wrong_address is None)


def _facts(channel: Declaration[Any], settings: Strict) -> ChannelFacts:
    return ChannelFacts(
        channel.read_by_people,
        channel.keeps_incidents,
        channel.kinds(settings),
        channel.single_pages(settings),
        host_of=partial(channel.host_of, settings),
        pictures=channel.pictures,
        redraws=channel.redraws(settings),
    )


def _read(name: str, source: Source) -> Strict:
    place = Place(source, name)
    try:
        channel = declaration(name)
    except MissingExtraError as error:
        raise place.error("", str(error)) from error
    settings: Strict = source.convert(channel.settings, place.at)
    channel.check(settings, place)
    return settings


def check_contacts(channels: Channels, at: str, places: Places, source: Source, findings: Findings) -> None:
    """Check the addresses of the person, team or route at ``at``: those with own keys, and others in `contacts`."""
    for name, address in places.own().items():
        if address:
            with findings.collecting():
                _check_contact(channels, f"{at}.{name}", name, address, source)
    for name, address in places.contacts.items():
        with findings.collecting():
            channel = _check_contact(channels, f"{at}.contacts.{name}", name, address, source)
            if channel.own_key:
                text = f"set {name} directly on the person or team, not in contacts"
                raise source.error(f"{at}.contacts.{name}", text)


def _check_contact(channels: Channels, at: str, name: str, address: str, source: Source) -> Declaration[Any]:
    """Refuse an address that its channel could not reach."""
    if name not in CHANNELS:
        raise source.error(at, f"unknown channel {name!r} (expected one of {', '.join(CHANNELS)})")
    if name not in channels.settings:
        raise source.error(at, f"channels.{name} is not set up; add it, or remove this")
    channel = declaration(name)
    if channel.wrong_address is None:
        raise source.error(at, f"channel {name} has no addresses; remove this")
    wrong = channel.wrong_address(channels.settings[name], address) if address else "empty; set the address, or remove"
    if wrong:
        raise source.error(at, wrong)
    return channel
