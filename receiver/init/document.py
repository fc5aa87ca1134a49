"""Writes receiver.yml and the block for alertmanager.yml. Pure."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from receiver.init.alertmanager_file import AlertmanagerFile, Node, walk, written
from receiver.init.places import BEATS, Places, sends_here
from receiver.policy.matcher import Matcher

NAME, WATCHDOG = "heypeter-receiver", "heypeter-watchdog"  # of our receivers in alertmanager.yml
DEFAULT = "default"  # the team of what no rule matches
_GROUPING = ("group_by", "group_wait", "group_interval")
# What people call severities, and the priority that we propose: what the rules use is written to `severities`.
_SEVERITIES = {
    **dict.fromkeys(("critical", "page", "emergency", "fatal", "disaster", "p1"), "P1"),
    **dict.fromkeys(("warning", "warn", "error", "major", "high", "p2"), "P2"),
    **dict.fromkeys(("info", "minor", "low", "notice", "p3"), "P3"),
    **dict.fromkeys(("none", "debug", "p4"), "P4"),
}
_USUAL = ("critical", "warning", "info", "none")

_HEAD = """\
# Made by `heypeter-receiver init` from {name}.
# `heypeter-receiver check --config.file receiver.yml` validates this file. Relative paths are relative to this file.
# deploy/config/receiver.yml shows every key.

external_url: {external_url}   # public URL of the receiver, used for links in messages
database: receiver.sqlite3

webhook:
  token_file: secrets/webhook-token        # bearer token sent by Alertmanager
api:
  token_file: secrets/api-token            # bearer token for scripts
links:
  secret_file: secrets/link-secret         # signs the links in messages

# --- priorities ------------------------------------------------------------------------------------------------------
# The label `priority` (P1 to P4) of an alert decides; otherwise its label `severity`, looked up here. An alert with
# neither, or with an unknown value, gets `unknown_severity`, and every message says so.
severities: {severities}
unknown_severity: P2

# How soon an incident should be acknowledged. The people notified get a reminder at 80% of the time and at its end.
response_times: {{P1: 15m, P2: 30m, P3: 2h, P4: 24h}}

# --- the escalation matrix -------------------------------------------------------------------------------------------
# Each row says who is notified when an incident has been unacknowledged for that long. "-" means nobody. Add a row for
# whoever is next, e.g. `- {{after: 15m, P1: lead, P2: "-", P3: "-", P4: "-"}}`, with the role in `roles`.
escalation_matrix:
  - {{after: 0m, P1: on-call, P2: on-call, P3: on-call, P4: on-call}}
# The last step repeats at this interval until someone acknowledges (if unset: once).
repeat_last_step: {{P1: 15m}}

# Who is on call for each role: people, or schedules with rotations and calendars (docs/oncall.md).
roles:
  on-call: [oncall]

# Alertmanager does not know who is on call: replace this by people, and say how each is reached.
people:
  oncall: {person}

# --- teams -----------------------------------------------------------------------------------------------------------
# Where a team follows its incidents, in addition to the people above: one team for each receiver of Alertmanager. The
# label `team` of the alert selects the team, else the first rule of `team_rules`; `default` has the rest.
"""


_ALERTMANAGER = """\
# --- Alertmanager, channels ------------------------------------------------------------------------------------------
# Every minute, incidents are compared with Alertmanager's API: silences pause escalations."""

_BLOCK_HEAD = """\
# For alertmanager.yml: put this `route` in the place of the one that is there, and add these `receivers` to those that
# are there. Everything is sent to the receiver first. The last route is the old root with all its keys, so that
# everybody who is told today still is: delete it when the receiver tells them. The groups get new keys, so what fires
# now is told once more. Check the result with `amtool check-config alertmanager.yml`.
"""


def document(  # what is known, and what of it could not be read from a file
    file: AlertmanagerFile,
    places: Places,
    severities: Iterable[str],
    *,
    name: str,
    external_url: str,
    urls: Mapping[str, str],
) -> str:
    """Give the whole receiver.yml. ``urls`` holds `url` and maybe `prometheus_url` of the section alertmanager."""
    teams, keys = {DEFAULT: places.of(file.root.receiver)}, _keys(file)
    rules, routes = list[dict[str, object]](), list[dict[str, object]]()
    for node, path, aside in _owners(file.root, (), aside=False):
        receiver = file.receivers[node.receiver]
        if node is file.root or receiver.is_silent or sends_here(receiver) or sends_here(receiver, BEATS):
            continue
        match = [written(matcher) for matcher in dict.fromkeys(path)]
        if aside:
            routes += [{"match": match, **places.of(node.receiver)}] if places.of(node.receiver) else []
            continue
        team = keys[node.receiver]
        teams.setdefault(team, places.of(node.receiver))
        rules.append({"match": match, "team": team})
    known = {
        word: _SEVERITIES[word.lower()] for word in dict.fromkeys((*_USUAL, *severities)) if word.lower() in _SEVERITIES
    }
    head = _HEAD.format(
        name=name,
        external_url=external_url,
        severities=_flow(known),
        person=_flow({"name": "On call", **_person(file, places)}),
    )
    return "\n".join(
        (
            head + "teams:\n" + "\n".join(f"  {_flow(team)}: {_flow(own)}" for team, own in teams.items()),
            _list("team_rules", rules),
            _list("# Told besides the team, since their route has `continue`.\nroutes", routes),
            _ALERTMANAGER,
            "alertmanager:\n" + "\n".join(f"  {key}: {_flow(value)}" for key, value in urls.items()),
            f"  receivers: {_flow([one.name for one in file.receivers.values() if sends_here(one)] or [NAME])}\n",
            _channels(places.channels),
        )
    )


def _keys(file: AlertmanagerFile) -> dict[str, str]:
    """Give the key of each receiver's team: its name, but `default` is that of the root."""
    names = (f"{DEFAULT} ({number})" for number in itertools.count(2))
    other = next(name for name in names if name not in file.receivers)
    return {name: other if name == DEFAULT else name for name in file.receivers} | {file.root.receiver: DEFAULT}


def block(file: AlertmanagerFile, *, url: str, token_file: Path, has_watchdog: bool) -> str:
    """Give what alertmanager.yml is to have in place of its `route`, and in addition to its `receivers`."""
    root = file.route
    ours = _as_route(_ours(file, has_watchdog=has_watchdog))
    ours |= {key: root[key] for key in _GROUPING if key in root}
    routes = [ours, root]
    receivers = [_receiver(NAME, f"{url}/webhook/alertmanager", token_file)]
    if has_watchdog:
        receivers.append(_receiver(WATCHDOG, f"{url}/webhook/watchdog", token_file))
    new = {"route": {"receiver": root["receiver"], "routes": routes}, "receivers": receivers}
    return _BLOCK_HEAD + _dump(new)


def silent(file: AlertmanagerFile) -> Iterator[Node]:
    """Give the routes to receivers that tell nobody."""
    return (node for node in walk(file.root) if file.receivers[node.receiver].is_silent)


def wrapped(file: AlertmanagerFile, *, has_watchdog: bool) -> Node:
    """Give the tree of routes that the block makes."""
    ours = _ours(file, has_watchdog=has_watchdog)
    return Node("new", file.root.receiver, children=(ours, file.root))


def _ours(file: AlertmanagerFile, *, has_watchdog: bool) -> Node:
    """Give the route that sends everything to us, but for what Alertmanager tells nobody."""
    mirror = _mirror(file.root, {node.at for node in silent(file)})
    watchdog = Node("watchdog", WATCHDOG, (Matcher("alertname", "=", "Watchdog"),))
    children = (*((watchdog,) if has_watchdog else ()), *mirror.children)
    return msgspec.structs.replace(mirror, goes_on=True, children=children)


def _mirror(node: Node, quiet: set[str]) -> Node:
    """Give the same routes with us in the place of whoever is told.

    Routes that lead to us anyway are left out, and `continue` is kept only where somebody may not be told: there an
    alert may reach us by two routes, which is one incident (``matching.choose``). A route behind a `continue` stays:
    an alert that another route had already is not the parent's any more.
    """
    children = [_mirror(child, quiet) for child in node.children]
    told = node.at not in quiet
    while told and children and not _may_be_quiet(children[-1]) and not any(one.goes_on for one in children):
        children.pop()
    mirrored = Node(f"ours {node.at}", NAME if told else node.receiver, node.matchers, children=tuple(children))
    return msgspec.structs.replace(mirrored, goes_on=node.goes_on and _may_be_quiet(mirrored))


def _may_be_quiet(node: Node) -> bool:
    return any(one.receiver != NAME for one in walk(node))


def _as_route(node: Node) -> dict[str, object]:
    """Write a route as alertmanager.yml has it."""
    times = {"group_wait": "0s", "group_interval": "1m", "repeat_interval": "50s"} if node.receiver == WATCHDOG else {}
    route: dict[str, object] = {
        "receiver": node.receiver,
        "matchers": [written(matcher) for matcher in node.matchers],
        **times,
        "continue": node.goes_on,
        "routes": [_as_route(child) for child in node.children],
    }
    return {key: value for key, value in route.items() if value}


def _receiver(name: str, url: str, token_file: Path) -> dict[str, object]:
    authorization = {"type": "Bearer", "credentials_file": str(token_file)}
    hook = {
        "url": url,
        "send_resolved": name == NAME,
        "max_alerts": 0,
        "http_config": {"authorization": authorization, "follow_redirects": False},
    }
    return {"name": name, "webhook_configs": [hook]}


def _owners(node: Node, path: tuple[Matcher, ...], *, aside: bool) -> Iterator[tuple[Node, tuple[Matcher, ...], bool]]:
    """Give each route with the matchers of its whole path, children before parents, and whether it is told besides."""
    whole, beside = (*path, *node.matchers), aside or node.goes_on
    for child in node.children:
        yield from _owners(child, whole, aside=beside)
    yield node, whole, beside


def _person(file: AlertmanagerFile, places: Places) -> dict[str, object]:
    """Give the contacts of whoever is on call: those of the root, or of the first receiver that has any."""
    root = {kind: place for kind, place in places.of(file.root.receiver).items() if kind != "slack"}
    if root:
        return root
    names = (file.root.receiver, *file.receivers)
    for kinds in (("pagerduty", "email"), ("email",), ("slack",)):
        for name in names:
            own = {kind: place for kind, place in places.of(name).items() if kind in kinds}
            if kinds[0] in own:
                return own
    return {}


def _channels(channels: Mapping[str, object]) -> str:
    if not channels:
        return "# Without any channel, notifications are printed to the terminal. docs/channels.md lists all of them.\n"
    return "# docs/channels.md lists all channels and keys.\n" + _dump({"channels": dict(channels)})


class _Dumper(yaml.SafeDumper):
    """Writes values out where they are used again: nobody edits an alias."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _dump(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def _list(name: str, entries: Iterable[object]) -> str:
    lines = [f"  - {_flow(entry)}" for entry in entries]
    return "\n".join([f"{name}:", *lines]) + "\n" if lines else ""


def _flow(value: Any) -> str:  # noqa: ANN401  # plain data
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=1 << 30, allow_unicode=True
    )
    return text.removesuffix("...\n").strip()
