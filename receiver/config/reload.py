"""Reloads receiver.yml while the receiver runs, as a whole or not at all; open incidents keep their plan."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from process.settings import SettingsError, Source
from process.web_config import WebAccess
from receiver.clients.calendar import Feed
from receiver.config.build import build_routing
from receiver.config.calendars import feeds
from receiver.config.load import Config, load
from receiver.policy.current import Current

log = logging.getLogger(__name__)

# What is read once: sockets, files, credentials and connections are made of it.
FIXED = (
    *(
        "external_url",
        "database",
        "postgres",
        "state_dir",
        "listen",
        "webhook",
        "api",
        "links",
        "channels",
        "retry",
        "watchdog",
    ),
    *("alertmanager", "alertmanagers", "heartbeat", "retention", "templates", "grouping_window", "site"),
    *("charts", "event_webhooks"),
    *("console.enabled", "console.sign_in", "console.session_valid_for", "console.trusted_proxies"),
)
_READ_AGAIN = {"postgres.password_file"}  # by each new connection
_OWN = {"listen", "state_dir", "database", "postgres"}  # of each of several receivers


class Reloader:
    """``reload`` reads the file again and exchanges the routing; ``done`` is called with whether the file was taken.

    ``calendars`` is called after that with the calendars that the file names, and how often each is to be read, and
    ``senders`` with the file, for the jobs and tools that may send. The file of ``access`` is read again as well.
    ``stale`` names the keys whose files have other contents now than at the start, which only a restart reads.
    ``digest`` is the same for receivers that have the same file and secrets, but for what each has of its own.
    """

    def __init__(
        self,
        path: Path,
        source: Source,
        current: Current,
        done: Callable[[bool], None],
        calendars: Callable[[Iterable[tuple[Feed, float]]], None] = lambda _: None,
        senders: Callable[[Config], None] = lambda _: None,
        access: WebAccess | None = None,
    ) -> None:
        self._path, self._current, self._done = path, current, done
        self._access = access or WebAccess(None)
        self._calendars, self._senders = calendars, senders
        self._fixed, self._contents = _fixed(source), _contents(source)
        self.stale: list[str] = []
        self.digest = _digest(source)

    def reload(self) -> Config:
        """Take the file; SettingsError says why it is refused, and then nothing has changed."""
        try:
            config, source = _again(self._path)
            fresh, named, now = build_routing(config, source), feeds(config, source), _fixed(source)
            changed = [name for name in FIXED if now.get(name) != self._fixed.get(name)]
            if changed:
                raise source.error(f".{changed[0]}", "cannot change while the receiver runs; restart it")
            take_access = self._access.prepare()
        except SettingsError as error:
            self._done(False)  # noqa: FBT003  # whether it was taken
            log.error("config reload failed: %s", error)  # noqa: TRY400  # its text says it all
            raise
        self._current.exchange(fresh)
        self.digest = _digest(source)
        take_access()
        self._calendars(named)
        self._senders(config)
        self._done(True)  # noqa: FBT003
        contents = _contents(source)
        self.stale = sorted(name for name, content in contents.items() if content != self._contents.get(name))
        if self.stale:
            log.warning("config reloaded: %s; restart for the new contents of %s", self._path, ", ".join(self.stale))
        else:
            log.info("config reloaded: %s", self._path)
        return config


def _fixed(source: Source) -> dict[str, object]:
    return {name: _value(source.data, name) for name in FIXED}


def _again(path: Path) -> tuple[Config, Source]:
    """Read the file once more; whoever has filled a pipe is gone, and nobody would be paged while we wait for it."""
    if path.is_fifo():
        raise SettingsError(f"cannot read {path}: a pipe is read once; restart the receiver")
    return load(path)


def _contents(source: Source) -> dict[str, bytes]:
    """Give a hash of each file that is read once, by the key that names it."""
    named = (each for name in FIXED for each in _named(name, _value(source.data, name)))
    return {name: _hash(source.path.parent / file) for name, file in named if name not in _READ_AGAIN}


def _named(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and name.endswith("_file"):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _named(f"{name}.{key}", each)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _named(f"{name}[{number}]", each)


def _hash(file: Path) -> bytes:
    try:
        return hashlib.sha256(file.read_bytes()).digest() if file.is_file() else b""
    except OSError:
        return b""


def _value(data: object, name: str) -> object:
    for key in name.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _digest(source: Source) -> str:
    data = source.data if isinstance(source.data, dict) else {}
    shared = {str(name): value for name, value in data.items() if name not in _OWN}
    files = {name: content for name, content in _contents(source).items() if name.partition(".")[0] not in _OWN}
    text = msgspec.json.encode((shared, files), order="deterministic", enc_hook=str)
    return hashlib.sha256(text).hexdigest()[:16]
