"""Takes a changed receiver.yml while we run: whole or not at all; open incidents keep the plan that they have."""

import logging
from pathlib import Path
from typing import Protocol

from process.settings import SettingsError, Source
from receiver.config.build import routing
from receiver.config.load import Config, load
from receiver.policy.current import Live

log = logging.getLogger(__name__)

# What is read once: sockets, files, credentials and connections are made of it.
FIXED = (
    *("external_url", "database", "listen", "webhook", "api", "links", "channels", "retry", "watchdog"),
    *("alertmanager", "heartbeat", "retention", "templates", "grouping_window"),
)


class Done(Protocol):
    """Hears how a reload ended."""

    def __call__(self, *, ok: bool) -> None:
        """``ok`` says whether the file was taken."""


class Reloader:
    """``reload`` reads the file again and exchanges the routing; ``done`` hears whether it could."""

    def __init__(self, path: Path, source: Source, live: Live, done: Done) -> None:
        self._path, self._live, self._done = path, live, done
        self._fixed = _fixed(source)

    def reload(self) -> Config:
        """Take the file; SettingsError says why it is refused, and then nothing has changed."""
        try:
            config, source = load(self._path)
            fresh, now = routing(config, source), _fixed(source)
            changed = [name for name in FIXED if now.get(name) != self._fixed.get(name)]
            if changed:
                raise source.error(f".{changed[0]}", "cannot change while the receiver runs; restart it")
        except SettingsError as error:
            self._done(ok=False)
            log.error("the configuration was not reloaded: %s", error)  # noqa: TRY400  # its text says it all
            raise
        self._live.exchange(fresh)
        self._done(ok=True)
        log.info("the configuration was reloaded: %s", self._path)
        return config


def _fixed(source: Source) -> dict[str, object]:
    data = source.data if isinstance(source.data, dict) else {}
    return {name: data.get(name) for name in FIXED}
