"""Checks URLs and mail addresses of settings, and hides what a URL must not tell."""

import re
from urllib.parse import urlsplit

_MAIL = re.compile(r"""[^\s@<>()\[\],;:"'\\]+@[^\s@<>()\[\],;:"'\\/?]+""")


def is_http(url: str) -> bool:
    """Say whether this is a URL of HTTP with a host and without blanks."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and not re.search(r"\s", url)
    except ValueError:  # a bracket that nobody closes, a port that is no number
        return False


def is_mail(address: str) -> bool:
    """Say whether this is one mail address, without a name: `name@example.com`."""
    return bool(_MAIL.fullmatch(address)) and "=?" not in address


def is_loopback(host: str) -> bool:
    """Say whether this host is this machine."""
    return host in {"localhost", "::1"} or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))
