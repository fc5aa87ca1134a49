"""Checks URLs and mail addresses of settings, and hides what a URL must not tell."""

import re
from urllib.parse import urlsplit

_MAIL = re.compile(r"""[^\s@<>()\[\],;:"'\\]+@[^\s@<>()\[\],;:"'\\/?]+""")

_LISTEN = re.compile(r"(?P<host>[\w.-]*|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]):(?P<port>[0-9]{1,5})")
_LAST_PORT = 65_535
_SHOWN = 60  # characters of a wrong address


def redacted(url: str) -> str:
    """Give a URL for an error or a log: without user, password, query and fragment, which may be credentials."""
    text = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, separator, rest = text.partition("//")
    host, slash, path = (rest if separator else scheme).partition("/")
    return f"{scheme if separator else ''}{separator}{host.rpartition('@')[2]}{slash}{path}"


def is_http(url: str) -> bool:
    """Say whether this is a URL of HTTP with a host and without blanks."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and not re.search(r"\s", url)
    except ValueError:  # a bracket that nobody closes, a port that is no number
        return False


def is_plain_http(url: str) -> bool:
    """Say whether this is such a URL without user, password, query and fragment: paths are written behind it."""
    return is_http(url) and not re.search(r"[?#]", url) and "@" not in urlsplit(url).netloc


def listen_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, where a server listens; no host is every interface. ValueError says how it is written."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > _LAST_PORT:
        expected = "HOST:PORT, e.g. 127.0.0.1:9095, [::1]:9095, or :9095 for every interface"
        raise ValueError(f"invalid address {text[:_SHOWN]!r} (expected {expected})")
    return match["host"].strip("[]"), int(match["port"])


def own_url(listen: str) -> str:
    """Give the URL by which programs on this machine reach what listens there."""
    host, port = listen_address(listen)
    reached = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # what is asked
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def is_host(name: str) -> bool:
    """Say whether this is the name or address of a host, without scheme, port and path."""
    return bool(re.fullmatch(r"[\w.-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*", name))


def is_mail(address: str) -> bool:
    """Say whether this is one mail address, without a name: `name@example.com`."""
    return bool(_MAIL.fullmatch(address)) and "=?" not in address


def is_loopback(host: str) -> bool:
    """Say whether this host is this machine."""
    return host in {"localhost", "::1"} or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))
