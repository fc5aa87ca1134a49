"""Reports the errors of a process itself to Sentry, if SENTRY_DSN is set; no person, secret or value goes with them."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from process.optional import MissingExtraError, load
from process.settings import Secret, SettingsError

_HIDDEN = "<secret>"
_MAX_TEXT = 8192  # characters; Sentry cuts messages there (develop.sentry.dev/sdk/foundations/data-model/envelopes)
# What the text of an error can carry that is nobody's business: tokens, what stands in URLs, and people's addresses. A
# sender may choose the text: each pattern looks at a character a bounded number of times, wherever it begins.
_TOKEN = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_USER = re.compile(r"://[^\s/@]*@")
_URL = re.compile(r"://[^\s'\"]+")
_WITH_AT = re.compile(r"[\w.+@-]+")
_DOMAIN = re.compile(r"(?:[\w-]+\.)+[a-zA-Z]{2,}")
# What an event may have. Request, user, breadcrumbs, extra, tags and whatever a later SDK adds stay here.
_KEPT = frozenset(
    {
        *(
            "event_id",
            "timestamp",
            "platform",
            "level",
            "logger",
            "logentry",
            "exception",
            "transaction",
            "fingerprint",
        ),
        *("release", "environment", "server_name", "sdk", "type"),
    }
)
# What a frame must not have: values of variables, and paths that begin with somebody's home folder.
_NOT_OF_A_FRAME = frozenset({"vars", "abs_path"})

Secrets = Callable[[], Iterable[Secret]]


def report_errors(process: str, environment: Mapping[str, str], secrets: Secrets) -> bool:
    """Begin to report, from ``__main__`` and once; without SENTRY_DSN give False and do nothing.

    ``secrets`` is asked again for each report, so that what a reload has read is hidden, too.
    """
    dsn = environment.get("SENTRY_DSN", "")
    if not dsn:
        return False

    def before_send(event: dict[str, Any], _hint: object) -> dict[str, Any]:
        return scrub(event, secrets())

    try:
        # Loaded only now: the SDK costs 60 ms of CPU and 4 MB, which a process without a DSN need not pay.
        init = load("process.sentry", "sentry").init
    except MissingExtraError as error:
        raise SettingsError(f"SENTRY_DSN: {error}") from error
    try:
        init(dsn, process, environment.get("SENTRY_ENVIRONMENT", "production"), before_send)
    except ValueError as error:
        raise SettingsError("SENTRY_DSN: not a DSN (expected https://KEY@HOST/PROJECT)") from error
    return True


def clean_lines(text: str, secrets: Iterable[Secret]) -> str:
    """Hide in each line of a text these secrets, tokens, people's addresses, and users and queries of URLs."""
    for form in _hidden_forms(secrets):
        text = text.replace(form, _HIDDEN)
    return "\n".join(_clean_text(line, []) for line in text.split("\n"))


def scrub(event: dict[str, Any], secrets: Iterable[Secret]) -> dict[str, Any]:
    """Leave of an event what describes the error: no request, no person, no value of a secret or of a variable."""
    kept = {key: value for key, value in event.items() if key in _KEPT}
    if "logentry" in kept:
        kept["logentry"] = {"message": kept["logentry"].get("message", "")}  # the words, without what was filled in
    hidden = _hidden_forms(secrets)
    return {key: _clean(value, hidden) for key, value in kept.items()}


def _clean(value: Any, hidden: list[str]) -> Any:  # noqa: ANN401  # JSON
    if isinstance(value, str):
        return _clean_text(value, hidden)
    if isinstance(value, Mapping):
        return {key: _clean(part, hidden) for key, part in value.items() if key not in _NOT_OF_A_FRAME}
    if isinstance(value, list | tuple):
        return [_clean(part, hidden) for part in value]
    return value


def _clean_text(text: str, hidden: list[str]) -> str:
    for form in hidden:
        text = text.replace(form, _HIDDEN)
    if len(text) > _MAX_TEXT:
        text = text[:_MAX_TEXT]
        text = text[: 1 + max(map(text.rfind, " \n"))] + "…"  # a cut word could be half an address
    text = _TOKEN.sub(r"\1 <secret>", text)
    text = _URL.sub(_without_query, _USER.sub("://<secret>@", text))
    return _WITH_AT.sub(_without_address, text)


def _without_query(url: re.Match[str]) -> str:
    path, mark, _ = url[0].partition("?")
    return f"{path}?<query>" if mark else path


def _without_address(word: re.Match[str]) -> str:
    text = word[0]
    parts = text.split("@")
    if any(name and _DOMAIN.match(domain) for name, domain in pairwise(parts)):
        return f"<e-mail>{text[len(text.rstrip('.-+')) :]}"
    return text


def _hidden_forms(secrets: Iterable[Secret]) -> list[str]:
    """List how these secrets may look in a text, the longest first: one may hold another."""
    return sorted({form for secret in secrets for form in _forms(secret.reveal())}, key=len, reverse=True)


def _forms(text: str) -> set[str]:
    """List how a text looks in errors: itself, and quoted for URLs, for Python and for JSON."""
    quoted = (quote(text), quote(text, safe=""), repr(text)[1:-1], ascii(text)[1:-1], json.dumps(text)[1:-1])
    return {form for form in (text, *quoted) if form}
