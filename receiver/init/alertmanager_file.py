"""Reads alertmanager.yml: its tree of routes and its receivers, and what of them the receiver cannot take over. Pure.

prometheus.io/docs/alerting/latest/configuration/. Only what is needed here is read: `amtool check-config` checks the
rest. ``Remarks`` collects a line for each thing that a person has to know, with its place in the file.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from process.findings import SettingsError
from process.settings import Source
from process.yaml_text import text
from receiver.policy.matcher import Matcher, MatcherError, parse

T = TypeVar("T", dict[str, Any], list[Any])

_NAMES: dict[type, str] = {dict: "mapping", list: "list"}
_MOST_DEPTH = 40  # levels of routes
_PARTS = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|[^,"])+""")  # of `a="b,c",d="e"`
_MUTES = ("mute_time_intervals", "active_time_intervals")


class Node(msgspec.Struct, frozen=True):
    """One route: ``matchers`` are its own, without those of its parents; ``at`` is its place in the file."""

    at: str
    receiver: str
    matchers: tuple[Matcher, ...] = ()
    goes_on: bool = False  # `continue`
    children: tuple["Node", ...] = ()


class Integrations(msgspec.Struct, frozen=True):
    """What one receiver of Alertmanager sends to: kind without `_configs` -> its entries."""

    name: str
    by_kind: dict[str, list[dict[str, Any]]]

    @property
    def is_silent(self) -> bool:
        """Say whether it tells nobody, as `null` in many installations."""
        return not any(self.by_kind.values())


class AlertmanagerFile(msgspec.Struct, frozen=True):
    """The file; ``route`` is its root as it is written, ``remarks`` are lines for a person."""

    root: Node
    receivers: dict[str, Integrations]
    settings: dict[str, Any]  # `global`
    route: dict[str, Any]
    remarks: tuple[str, ...]


def read(source: Source) -> AlertmanagerFile:
    """Read a file of a ``TextLoader``; SettingsError has a line for what Alertmanager itself would refuse."""
    data = source.data
    if not isinstance(data, dict) or not isinstance(data.get("route"), dict):
        raise source.error(".route", "missing; this is no alertmanager.yml")
    reading = _Reading(source)
    receivers = reading.receivers(data.get("receivers"))
    root = reading.node(data["route"], ".route", "", 0)
    if root.matchers or root.goes_on:
        reading.errors.append(str(source.error(".route", "the root takes neither matchers nor continue")))
    for node in walk(root):
        if node.receiver not in receivers:
            known = f"unknown receiver {node.receiver!r}; add it to `receivers`" if node.receiver else "has no receiver"
            reading.errors.append(str(source.error(node.at, known)))
    if data.get("templates"):
        reading.remark(".templates", "not used: the receiver has templates of its own (docs/templates.md)")
    if reading.errors:
        raise SettingsError(*reading.errors)
    settings = data.get("global")
    return AlertmanagerFile(
        root, receivers, settings if isinstance(settings, dict) else {}, _route(data["route"]), tuple(reading.remarks)
    )


def walk(node: Node) -> Iterator[Node]:
    """Give the node and everything below it, in the order of the file."""
    yield node
    for child in node.children:
        yield from walk(child)


def written(matcher: Matcher) -> str:
    """Write a matcher as both programs read it."""
    quoted = msgspec.json.encode(matcher.value).decode()
    label = matcher.label if re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", matcher.label) else f'"{matcher.label}"'
    return f"{label}{matcher.op}{quoted}"


def _is_true(value: object) -> bool:
    """Read a flag as Alertmanager's library does, which takes YAML 1.1's words."""
    return text(value).lower() in {"true", "yes", "on", "y"}


def _route(route: dict[str, Any]) -> dict[str, Any]:
    """Give a route as it is written; its flags have to be flags, since they are written to another file."""
    flags: dict[str, Any] = {"continue": _is_true(route["continue"])} if "continue" in route else {}
    children = route.get("routes")
    if isinstance(children, list):
        flags["routes"] = [_route(child) if isinstance(child, dict) else child for child in children]
    return {**route, **flags}


class _Reading:
    def __init__(self, source: Source) -> None:
        self._source = source
        self.errors: list[str] = []
        self.remarks: list[str] = []

    def remark(self, at: str, line: str) -> None:
        self.remarks.append(str(self._source.error(at, line)))

    def receivers(self, value: object) -> dict[str, Integrations]:
        found: dict[str, Integrations] = {}
        for number, one in enumerate(value if isinstance(value, list) else []):
            name = one.get("name") if isinstance(one, dict) else None
            if not isinstance(name, str) or not name:
                self.errors.append(str(self._source.error(f".receivers[{number}]", "has no name")))
                continue
            if name in found:
                self.errors.append(str(self._source.error(f".receivers[{number}].name", f"{name!r} is there twice")))
            kinds = {key: entries for key, entries in one.items() if str(key).endswith("_configs") and entries}
            by_kind = {
                key.removesuffix("_configs"): [entry for entry in entries if isinstance(entry, dict)]
                for key, entries in kinds.items()
                if isinstance(entries, list)
            }
            found[name] = Integrations(name, by_kind)
        return found

    def node(self, value: Mapping[str, Any], at: str, receiver: str, depth: int) -> Node:
        """Read a route; one that names no receiver has that of its parent."""
        own, goes_on = text(value.get("receiver")) or receiver, _is_true(value.get("continue"))
        children = self._expected(value.get("routes") or [], list, f"{at}.routes")
        if depth >= _MOST_DEPTH:
            self.errors.append(str(self._source.error(at, f"routes are nested more than {_MOST_DEPTH} deep")))
            children = []
        for key in _MUTES:
            if value.get(key):
                stays = "stays in Alertmanager, and does not hold back the receiver; use `maintenance` or `only`"
                self.remark(f"{at}.{key}", stays)
        if goes_on:
            besides = "its places are told besides the team's (`routes`), since an alert has one team"
            self.remark(f"{at}.continue", besides)
        return Node(
            at=at,
            receiver=own,
            matchers=tuple(self._matchers(value, at)),
            goes_on=goes_on,
            children=tuple(
                self.node(child, f"{at}.routes[{number}]", own, depth + 1)
                for number, child in enumerate(children)
                if isinstance(child, dict)
            ),
        )

    def _matchers(self, value: Mapping[str, Any], at: str) -> Iterator[Matcher]:
        for key, op in (("match", "="), ("match_re", "=~")):
            old = value.get(key)
            if not old:
                continue
            self.remark(f"{at}.{key}", "deprecated; read as matchers")
            for label, wanted in self._expected(old, dict, f"{at}.{key}").items():
                yield from self._parsed(f"{text(label)}{op}{msgspec.json.encode(text(wanted)).decode()}", f"{at}.{key}")
        listed = value.get("matchers")
        texts = [listed] if isinstance(listed, str) else self._expected(listed or [], list, f"{at}.matchers")
        for number, one in enumerate(texts):
            inner = text(one).strip()
            if inner.startswith("{"):
                inner = inner.removeprefix("{").removesuffix("}")
            whole = not _PARTS.sub("", inner).strip(", ")  # a quotation mark without its twin is left over otherwise
            for part in _PARTS.findall(inner) if whole else (inner,):
                yield from self._parsed(part.strip(), f"{at}.matchers[{number}]")

    def _expected(self, value: object, kind: type[T], at: str) -> T:
        """Give the value, or note that it is of another kind; an empty one then."""
        if isinstance(value, kind):
            return value
        self.errors.append(str(self._source.error(at, f"expected a {_NAMES[kind]}")))
        return kind()

    def _parsed(self, matcher: str, at: str) -> Iterator[Matcher]:
        try:
            yield parse(matcher)
        except MatcherError as error:
            self.errors.append(str(self._source.error(at, str(error))))
