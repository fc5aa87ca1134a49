"""Reads alertmanager.yml: its tree of routes and its receivers, and what of them the receiver cannot take over. Pure.

prometheus.io/docs/alerting/latest/configuration/. Only what is needed here is read: `amtool check-config` checks the
rest. ``Remarks`` collects a line for each thing that a person has to know, with its place in the file.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from process.findings import SettingsError
from process.settings import Source
from receiver.policy.matcher import Matcher, MatcherError, parse

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
    """Read the file; SettingsError has a line for everything that Alertmanager itself would refuse."""
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
            text = f"unknown receiver {node.receiver!r}; add it to `receivers`" if node.receiver else "has no receiver"
            reading.errors.append(str(source.error(node.at, text)))
    if data.get("templates"):
        reading.remark(".templates", "not used: the receiver has templates of its own (docs/templates.md)")
    if reading.errors:
        raise SettingsError(*reading.errors)
    settings = data.get("global")
    return AlertmanagerFile(
        root, receivers, settings if isinstance(settings, dict) else {}, data["route"], tuple(reading.remarks)
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


class _Reading:
    def __init__(self, source: Source) -> None:
        self._source = source
        self.errors: list[str] = []
        self.remarks: list[str] = []

    def remark(self, at: str, text: str) -> None:
        self.remarks.append(str(self._source.error(at, text)))

    def receivers(self, value: object) -> dict[str, Integrations]:
        found: dict[str, Integrations] = {}
        for number, one in enumerate(value if isinstance(value, list) else []):
            name = one.get("name") if isinstance(one, dict) else None
            if not isinstance(name, str) or not name:
                self.errors.append(str(self._source.error(f".receivers[{number}]", "has no name")))
                continue
            kinds = {key: entries for key, entries in one.items() if key.endswith("_configs") and entries}
            by_kind = {
                key.removesuffix("_configs"): [entry for entry in entries if isinstance(entry, dict)]
                for key, entries in kinds.items()
                if isinstance(entries, list)
            }
            found[name] = Integrations(name, by_kind)
        return found

    def node(self, value: Mapping[str, Any], at: str, receiver: str, depth: int) -> Node:
        """Read a route; one that names no receiver has that of its parent."""
        own = value.get("receiver") or receiver
        children = value.get("routes") or []
        if depth >= _MOST_DEPTH:
            self.errors.append(str(self._source.error(at, f"routes are nested more than {_MOST_DEPTH} deep")))
            children = []
        for key in _MUTES:
            if value.get(key):
                text = "stays in Alertmanager, and does not hold back the receiver; use `maintenance` or `only`"
                self.remark(f"{at}.{key}", text)
        if value.get("continue"):
            text = "its places are told besides the team's (`routes`), since an alert has one team"
            self.remark(f"{at}.continue", text)
        return Node(
            at=at,
            receiver=str(own),
            matchers=tuple(self._matchers(value, at)),
            goes_on=bool(value.get("continue")),
            children=tuple(
                self.node(child, f"{at}.routes[{number}]", str(own), depth + 1)
                for number, child in enumerate(children if isinstance(children, list) else [])
                if isinstance(child, dict)
            ),
        )

    def _matchers(self, value: Mapping[str, Any], at: str) -> Iterator[Matcher]:
        for key, op in (("match", "="), ("match_re", "=~")):
            old = value.get(key)
            if not old:
                continue
            self.remark(f"{at}.{key}", "deprecated; read as matchers")
            for label, text in old.items() if isinstance(old, dict) else ():
                yield from self._parsed(f"{label}{op}{msgspec.json.encode(str(text)).decode()}", f"{at}.{key}")
        listed = value.get("matchers")
        texts = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else []
        for number, text in enumerate(texts):
            inner = str(text).strip()
            if inner.startswith("{"):
                inner = inner.removeprefix("{").removesuffix("}")
            for part in _PARTS.findall(inner):
                yield from self._parsed(part.strip(), f"{at}.matchers[{number}]")

    def _parsed(self, text: str, at: str) -> Iterator[Matcher]:
        try:
            yield parse(text)
        except MatcherError as error:
            self.errors.append(str(self._source.error(at, str(error))))
