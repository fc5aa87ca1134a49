"""Where incidents are kept: a SQLite file, or a PostgreSQL database that several receivers share."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from process.findings import Findings
from process.settings import Secret, SettingsError, Source, Strict, read_secret

log = logging.getLogger(__name__)

_SECRET = re.compile("password|secret")  # of libpq: password, sslpassword, oauth_client_secret
_SCHEMES = ("postgresql", "postgres")
_EXAMPLE = "postgresql://receiver@db.example.com/heypeter"


class PostgresSettings(Strict, frozen=True, kw_only=True):
    """A PostgreSQL database that receivers share; it needs the extra `postgres`."""

    url: str
    """For example postgresql://receiver@db1,db2/heypeter?target_session_attrs=read-write, without the password"""
    password: Secret | None = None
    """Password of the user; without one, as libpq finds it"""
    password_file: Path | None = None
    """File with the password; each new connection reads it again"""


def check_database(
    database: Path | None, postgres: PostgresSettings | None, source: Source, findings: Findings
) -> None:
    """Refuse none and both, and URLs that are none."""
    if (database is None) == (postgres is None):
        findings.add(source.error(".database", "set either database (a SQLite file) or postgres"))
    if postgres is None:
        return
    if wrong := wrong_url(postgres.url):
        findings.add(source.error(".postgres.url", wrong))


def wrong_url(url: str) -> str:
    """Say what is wrong with the URL of a database, which must not hold a password; "" if nothing is."""
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return f"invalid URL (expected e.g. {_EXAMPLE})"
    if parts.scheme not in _SCHEMES or not parts.path.strip("/"):
        return f"invalid URL (expected e.g. {_EXAMPLE})"
    # A / in a password begins the path for us; libpq looks for the @ first.
    inside = parts.password is not None or "@" in parts.path or any(_SECRET.search(name) for name, _ in options)
    return "holds a password; set password or password_file instead" if inside else ""


class DatabasePassword:
    """Gives the password of the database; its file is read again for each connection, without a restart."""

    def __init__(
        self, settings: PostgresSettings, source: Source, used: Callable[[Secret], None] = lambda _: None
    ) -> None:
        """``used`` is told each password before it is given out. SettingsError if it cannot be read."""
        self._settings, self._source, self._used = settings, source, used
        self._last: Secret | None = None
        self._read()

    def __call__(self) -> str | None:
        """Give the password, None if libpq is to find one; the last one if the file cannot be read now."""
        try:
            self._read()
        except SettingsError as error:
            log.warning("the database's password is the one that was read last: %s", error)
        return self._last.reveal() if self._last else None

    def _read(self) -> None:
        settings = self._settings
        read = read_secret(self._source, ".postgres.password", settings.password, settings.password_file)
        if read is not None and (self._last is None or read.reveal() != self._last.reveal()):
            self._used(read)
        self._last = read
