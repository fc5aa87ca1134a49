"""Reads a YAML file into one frozen tree of typed settings, and says file, line and fix when it cannot."""

import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from process.conversion import Problem, problems
from process.findings import Findings, SettingsError, reason
from process.yaml_text import Loader, explained, load

__all__ = [
    "Duration",
    "Findings",
    "Secret",
    "SettingsError",
    "Source",
    "Strict",
    "parse_duration",
    "read_secret",
    "require_secret",
]

T = TypeVar("T")

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w)")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_LARGEST_SECRET = 64 * 1024  # bytes of its file
_SHOWN = 60  # characters of a wrong value
_LONGEST = 36_500 * 86400.0  # seconds; added to a date, it stays in what Python's dates can be
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class Secret:
    """A value that shows itself only when asked, so that no log, page or error can show it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself; call this only where it goes on the wire."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every settings struct: a misspelt key is an error, never silently the default."""


class Duration(float):
    """Seconds, written as Prometheus writes them: ``15m``, ``1h30m``, ``250ms``."""

    EXPECTED = "expected e.g. 30s, 15m or 1h30m"  # read by process.conversion


def parse_duration(text: str) -> Duration:
    """Turn ``1h30m`` into seconds; ValueError if it is not one."""
    if not re.fullmatch(r"(?:\d{1,15}(?:ms|s|m|h|d|w))+|0", text):
        raise ValueError(f"invalid duration {text[:_SHOWN]!r} (expected e.g. 30s, 15m or 1h30m)")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))
    if seconds > _LONGEST:
        raise ValueError(f"the duration {text[:_SHOWN]!r} is too long (at most 100 years, 36500d)")
    return Duration(seconds)


class Source:
    """One parsed file: its plain data, and the line on which each path stands."""

    def __init__(self, path: Path, loader: type[Loader] = Loader, text: str | None = None) -> None:
        """Read it; with ``text`` it is that, and ``path`` is only its name."""
        self.path = path
        self.data: object
        self._keys: dict[int, dict[str, tuple[int, yaml.Node]]] = {}  # of nodes, which live as long as this
        try:
            text = path.read_text(encoding="utf-8") if text is None else text
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read {path}: {reason(error)}") from error
        try:
            self._node, self.data = load(text, loader)
        except yaml.YAMLError as error:
            line, problem = explained(error, text)
            raise SettingsError(f"{path}{f':{line}' if line else ''}: invalid YAML: {problem}") from error
        _refuse_duplicates(self._node, path)

    def error(self, at: str, message: str) -> SettingsError:
        """Build the error for the place ``at`` (``.teams.backend[0]``); the nearest known line is named."""
        return SettingsError(f"{self.path}:{self._line(at)}: {at.lstrip('.') or 'the file'}: {message}")

    def convert(self, kind: type[T], part: str = "") -> T:
        """Turn the file, or the ``part`` of it at ``.channels.slack``, into ``kind``.

        All unknown keys, wrong types and missing keys are one SettingsError.
        """
        value = _value(self.data, part) or {}
        try:
            return msgspec.convert(value, kind, dec_hook=self._hook)
        except (msgspec.ValidationError, SettingsError) as error:
            raise self._all_wrong(kind, value, part) from error

    def holds(self, at: str) -> bool:
        """Say whether the text at a place stands in the file itself, and not in the environment."""
        value = _value(self.data, at)
        return isinstance(value, str) and not _VARIABLE.fullmatch(value)

    def _all_wrong(self, kind: type[Any], value: object, part: str) -> SettingsError:
        findings = Findings()
        for problem in problems(kind, value, part, self._hook):
            if findings.is_full:
                break
            if isinstance(problem, Problem):
                findings.add(self.error(*problem))
            else:
                findings.add(problem)
        return SettingsError(*findings.lines)

    def _hook(self, kind: type[Any], value: object) -> object:
        if kind is Duration:
            if isinstance(value, str):
                return parse_duration(value)
            raise ValueError(f"invalid duration {repr(value)[:_SHOWN]} (expected e.g. 30s, 15m or 1h30m)")
        if kind is Secret:
            if isinstance(value, str) and value:
                return Secret(_from_environment(value))
            raise ValueError("invalid secret (expected a non-empty string, or use its *_file twin)")
        if kind is Path:
            return self._beside(value)
        if hasattr(kind, "from_source"):
            return kind.from_source(self)  # reads its own part of the file, and names its own errors
        if hasattr(kind, "from_yaml"):
            return kind.from_yaml(value)  # ValueError says how it is written
        raise NotImplementedError(f"settings cannot hold {kind}")

    def _beside(self, value: object) -> Path:
        """Read a path; relative ones are relative to the file that names them."""
        if not isinstance(value, str) or "\0" in value:
            raise ValueError("invalid path (expected text; quote it, if it is a number or a date)")
        return self.path.parent / Path(value)

    def _line(self, at: str) -> int:
        node, line = self._node, 1
        for name, index in _STEP.findall(at):
            child = self._child(node, name, index)
            if child is None:
                break
            line, node = child
        return line

    def _child(self, node: yaml.Node | None, name: str, index: str) -> tuple[int, yaml.Node] | None:
        if isinstance(node, yaml.MappingNode):
            return self._keys_of(node).get(name or index)
        if isinstance(node, yaml.SequenceNode) and node.value:
            item = node.value[int(index)] if index.isdigit() and int(index) < len(node.value) else node.value[0]
            return item.start_mark.line + 1, item
        return None

    def _keys_of(self, node: yaml.MappingNode) -> dict[str, tuple[int, yaml.Node]]:
        """Give the line and the value of each key: a mapping of a thousand people is looked at once."""
        if id(node) not in self._keys:
            self._keys[id(node)] = {
                str(getattr(key, "value", "")): (key.start_mark.line + 1, value) for key, value in reversed(node.value)
            }
        return self._keys[id(node)]


def read_secret(
    source: Source, at: str, value: Secret | None, file: Path | None, *, several: bool = False
) -> Secret | None:
    """Resolve a secret and its ``*_file`` twin; both given, or what holds no secret, is an error.

    A secret is one line of text: it stands in a header, a URL or a login. ``several`` may stand in lines of their own.
    """
    if value is not None and file is not None:
        raise source.error(at, f"set either {at.rsplit('.', 1)[-1]} or its *_file twin, not both")
    if file is None:
        if value is not None and (wrong := _not_one_line(value.reveal(), several=several)):
            raise source.error(at, wrong)
        return value
    try:
        text = _text_of(file)
    except (OSError, UnicodeDecodeError) as error:
        raise source.error(f"{at}_file", f"cannot read {file}: {reason(error)}") from error
    if not text:
        raise source.error(f"{at}_file", f"{file} is empty")
    if wrong := _not_one_line(text, several=several):
        raise source.error(f"{at}_file", f"{file} {wrong}")
    return Secret(text)


def _text_of(file: Path) -> str:
    """Read a small file; OSError or UnicodeDecodeError. Opening a pipe would block until somebody writes to it."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError(0, "it is no file")
        content = opened.read(_LARGEST_SECRET + 1)
    if len(content) > _LARGEST_SECRET:
        raise OSError(0, f"it is larger than {_LARGEST_SECRET // 1024} KiB")
    return content.decode("utf-8-sig").strip()


def _not_one_line(text: str, *, several: bool) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and not several:
        return f"holds {len(lines)} lines; a secret is one line"
    if any(unicodedata.category(each) == "Cc" for line in lines for each in line):
        return "holds a control character; write it again as plain text"
    return ""


def require_secret(
    source: Source, at: str, value: Secret | None, file: Path | None, *, several: bool = False
) -> Secret:
    """Resolve a secret that must be set."""
    secret = read_secret(source, at, value, file, several=several)
    if secret is None:
        raise source.error(at, f"missing; set {at.rsplit('.', 1)[-1]} or its *_file twin")
    return secret


def _from_environment(value: str) -> str:
    match = _VARIABLE.fullmatch(value)
    if not match:
        return value
    if not os.environ.get(match[1]):
        raise ValueError(f"the environment variable {match[1]} is not set")
    return os.environ[match[1]]


def _value(data: object, at: str) -> object:
    """Follow a path through plain data as far as it goes."""
    for name, index in _STEP.findall(at):
        if isinstance(data, dict):
            data = data.get(name or index)
        elif isinstance(data, list) and index.isdigit() and int(index) < len(data):
            data = data[int(index)]
    return data


def _refuse_duplicates(node: yaml.Node | None, path: Path) -> None:
    """YAML keeps the last of two equal keys without a word; a lost escalation step must not pass so."""
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(getattr(key, "value", key))
            if name in seen:
                raise SettingsError(f"{path}:{key.start_mark.line + 1}: {name}: duplicate key")
            seen.add(name)
            children.append(value)
    elif isinstance(node, yaml.SequenceNode):
        children = list(node.value)
    for child in children:
        _refuse_duplicates(child, path)
