"""Checks of names: what a rule reads is exported or recorded, has the labels that it asks for, and is of use."""

import difflib
from collections.abc import Iterable, Iterator

from promql_parser import AggModifierType, AggregateExpr, BinaryExpr

from rules.lint.expression import name_of, selectors, walk
from rules.lint.fault import Fault
from rules.lint.source import Rule
from rules.lint.world import World

_SCRAPE = "correct the name, or scrape what exports it: `make scrape`"


def unknown_metric(rule: Rule, world: World) -> Iterator[Fault]:
    """A metric that nothing exports: the rule can never fire."""
    for selector, _ in selectors(rule.tree):
        name = name_of(selector)
        if name and ":" not in name and name not in world.series:
            like = nearest(name, world.series)
            fix = f"write {like}, or scrape what exports {name}: `make scrape`" if like else _SCRAPE
            yield Fault(f"{name} is exported by nobody{_meant(like)}", fix, name)


def unrecorded_series(rule: Rule, world: World) -> Iterator[Fault]:
    """A series name with colons, as recording rules have, that no rule records."""
    recorded = {other.name for other in world.rules if other.kind == "record"}
    for selector, _ in selectors(rule.tree):
        name = name_of(selector)
        if ":" in name and name not in recorded:
            text = f"{name} is recorded by no rule{_meant(nearest(name, recorded))}"
            yield Fault(text, "correct the name, or record it in rules/recording.yml", name)
        elif ":" in name and not world.recorded(selector):
            text = f"no rule records {name} with these labels: {selector.matchers}"
            yield Fault(text, "correct the value of the label", name)


def unused_recording(rule: Rule, world: World) -> Iterator[Fault]:
    """A recorded series that no rule, dashboard or page in docs/ reads: it costs memory for nothing."""
    if rule.kind == "record" and rule.name not in world.read:
        yield Fault("no rule, dashboard or page of docs/ reads it", "remove the rule, or use it", rule.name)


def unknown_label(rule: Rule, world: World) -> Iterator[Fault]:
    """A label that the series do not have: a matcher then selects nothing, and `by` groups everything together."""
    for node, _ in walk(rule.tree):
        if isinstance(node, AggregateExpr):
            named = node.modifier.labels if node.modifier and node.modifier.type == AggModifierType.By else []
            inner = world.labels(node.expr)
            for label in named:
                if inner.lack(label):
                    text = f"{node.op} by ({label}): no series here has a label {label}{_or(inner.possible)}"
                    yield Fault(text, "take it out of `by`, or correct it", label)
        if isinstance(node, BinaryExpr) and node.modifier and node.modifier.group_labels:
            one = world.labels(node.rhs if str(node.modifier.card).endswith("ManyToOne") else node.lhs)
            for label in node.modifier.group_labels:
                if one.lack(label):
                    text = f"group_left or group_right ({label}): the other side has no label {label}"
                    yield Fault(text, "take it out, or correct it", label)
    yield from _in_matchers(rule, world)


def _in_matchers(rule: Rule, world: World) -> Iterator[Fault]:
    for selector, _ in selectors(rule.tree):
        name = name_of(selector)
        series = world.series.get(name)
        recorded = [world.of_rule(other) for other in world.rules if other.name == name and other.kind == "record"]
        for matcher in selector.matchers.matchers:
            absent = bool(recorded) and all(one.lack(matcher.name) for one in recorded)
            absent |= series is not None and matcher.name not in series.possible
            if absent and matcher.name != "__name__":
                named = series.possible if series else frozenset().union(*(one.possible or () for one in recorded))
                yield Fault(
                    f"{name} has no label {matcher.name}{_or(named)}", "correct the label, or take it out", matcher.name
                )


def not_in_every_version(rule: Rule, world: World) -> Iterator[Fault]:
    """A metric or label that only some supported versions of a program export: with others the rule never fires."""
    for selector, _ in selectors(rule.tree):
        series = world.series.get(name_of(selector))
        if series is None:
            continue
        fix = "use what all have, or allow it with a reason that says what happens without it"
        if series.missing:
            yield Fault(f"{series.name} is not in {', '.join(sorted(series.missing))}", fix, series.name)
        for matcher in selector.matchers.matchers:
            if matcher.name in series.newer:
                yield Fault(f"{series.name} has its label {matcher.name} not in every version", fix, matcher.name)


def nearest(name: str, names: Iterable[str]) -> str:
    """Give the name that was probably meant: one with all its words, or one that is written nearly so."""
    words = set(name.replace(":", "_").split("_"))
    whole = [other for other in names if words <= set(other.replace(":", "_").split("_"))]
    like = difflib.get_close_matches(name, whole, 1, 0.5) or difflib.get_close_matches(name, list(names), 1, 0.75)
    return like[0] if like else ""


def _meant(like: str) -> str:
    return f"; did you mean {like}?" if like else ""


def _or(names: frozenset[str] | None) -> str:
    rest = sorted((names or frozenset()) - {"job", "instance", "__name__"})
    return f"; there are {', '.join(rest)}" if rest else ""
