"""Where incidents are kept: a SQLite file, or a PostgreSQL database that several receivers share."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from process.findings import Findings
from process.settings import Secret, Source, Strict

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
    """File with the password"""
    listen_url: str = ""
    """The same database without a pooler in between, if `url` goes through one that pools transactions"""


def check_database(
    database: Path | None, postgres: PostgresSettings | None, source: Source, findings: Findings
) -> None:
    """Refuse none and both, and URLs that are none."""
    if (database is None) == (postgres is None):
        findings.add(source.error(".database", "set either database (a SQLite file) or postgres"))
    if postgres is None:
        return
    for name, url in (("url", postgres.url), ("listen_url", postgres.listen_url)):
        if url and (wrong := _wrong(url)):
            findings.add(source.error(f".postgres.{name}", wrong))


def _wrong(url: str) -> str:
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
