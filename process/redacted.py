"""Shows a configuration without its secrets, and lists them, so that they can be hidden elsewhere."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from process.settings import Duration, Secret

HIDDEN = "<secret>"
# Characters of a secret that is looked for in other texts, for a shorter one is part of many words; and of a part of a
# URL, with a digit or without.
_SHORTEST, _MIXED, _LONG = 6, 8, 20


class Redacted(NamedTuple):
    """The file as plain data, without what has its default; and the secrets that were in it and in its files."""

    plain: object
    secrets: list[Secret]


def redacted(config: object, files: Iterable[Path]) -> Redacted:
    """Take the secrets out of a configuration. Those of its secret ``files`` that cannot be read are passed over.

    What is no struct has its sections in an attribute ``settings``.
    """
    walk = _Walk()
    plain = walk.plain(config, "")
    for file in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = file.read_text("utf-8").strip()
            walk.found += [text, *_parts(text)]
    return Redacted(plain, [Secret(text) for text in dict.fromkeys(walk.found) if len(text) >= _SHORTEST])


class _Walk:
    """``plain`` gives a value without secrets, and adds them to ``found``; ``at`` is its place in the file."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def plain(self, value: object, at: str) -> object:
        if isinstance(value, Secret):
            return self._hidden(value.reveal())
        if isinstance(value, msgspec.Struct):
            value = dict(_set(value))
        elif hasattr(value, "settings"):
            value = value.settings
        if isinstance(value, Mapping):
            return {str(self._scalar(name, at)): self._entry(name, inner, at) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(inner, at) for inner in value]
        return self._scalar(value, at)

    def _entry(self, name: object, value: object, at: str) -> object:
        """Any header may hold credentials."""
        return self._hidden(str(value)) if at.endswith(".headers") else self.plain(value, f"{at}.{name}")

    def _scalar(self, value: object, at: str) -> object:
        """Cut users and queries off URLs, and off those that messages are posted to the path as well."""
        if isinstance(value, Duration):
            return f"{float(value):g}s"
        if isinstance(value, bool | int | float) or value is None:
            return value
        text = str(getattr(value, "text", value))
        scheme, mark, rest = text.partition("://")
        if not mark:
            return text
        # The last one: a password may hold any character, though it should not.
        user, _, rest = rest.rpartition("@")
        host, slash, path = rest.partition("/")
        path, _, query = path.partition("?") if slash else (path, "", "")
        host, _, more = host.partition("?")
        self._hidden(f"{user}&{query}&{more}")
        if query or more:
            path = f"{path}?{HIDDEN}"
        if at.startswith((".channels.", ".event_webhooks.")) and path:  # there it is often the secret
            path = self._hidden(path)
        return f"{scheme}://{host}{slash}{path}"

    def _hidden(self, text: str) -> str:
        self.found += [text, *_parts(text)]
        return HIDDEN


def _parts(text: str) -> list[str]:
    """Give what of a URL may stand alone in a log, and is no usual word."""
    parts = re.split(r"[/?#&=:@]", text)
    return [part for part in parts if len(part) >= _LONG or (len(part) >= _MIXED and re.search(r"\d", part))]


def _set(value: msgspec.Struct) -> Iterator[tuple[str, object]]:
    """Give the fields that do not have their default."""
    for field in msgspec.structs.fields(value):
        inner = getattr(value, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if inner != default and inner is not msgspec.UNSET:
            yield field.encode_name, inner
