"""Checks of what people read: the templates use labels that are there, and numbers that a person can read."""

import re
from collections.abc import Iterator

from promql_parser import BinaryExpr, Expr, VectorSelector

from rules.exported import TARGET
from rules.lint.expression import RATES, name_of, operator, selectors, valued, walk
from rules.lint.fault import Fault
from rules.lint.source import Rule
from rules.lint.world import World

_LABEL = re.compile(r"\$labels\.(\w+)")
_RAW = re.compile(r"\{\{-?\s*\$value\s*-?\}\}")
_FRACTIONS = {*RATES, "deriv", "histogram_quantile", "quantile_over_time", "avg_over_time", "avg", "quantile"}
_FRACTION_NAMES = re.compile(r"ratio|rate\d|_seconds$|_bytes$|:p\d\d")
_OURS = ("severity", "priority", "team")


def lost_label(rule: Rule, world: World) -> Iterator[Fault]:
    """A template that uses a label which the result does not have: it renders as an empty string."""
    left = world.labels(rule.tree)
    for text in (*rule.annotations.values(), *rule.labels.values()):
        for label in _LABEL.findall(text):
            if left.lack(label) and label not in rule.labels:
                there = ", ".join(sorted(left.possible or ())) or "none at all"
                why = "was lost on the way" if _had(rule, label, world) else "is on none of these series"
                fix = (
                    f"keep it: by (…, {label}), or take it out of the text"
                    if "lost" in why
                    else "take it out of the text"
                )
                yield Fault(f"{{{{ $labels.{label} }}}} {why}; the result has {there}", fix, f"$labels.{label}")


def _had(rule: Rule, label: str, world: World) -> bool:
    return any(not world.labels(selector).lack(label) for selector, _ in selectors(rule.tree))


def raw_value(rule: Rule, world: World) -> Iterator[Fault]:
    """An unformatted `{{ $value }}` of a ratio, a rate or seconds: people read 0.05333333333."""
    if any(_RAW.search(text) for text in rule.annotations.values()):
        parts = [part for node in valued(rule.tree) for part in _fractions(node, world)]
        if parts:
            fix = "write {{ $value | humanizePercentage }}, humanizeDuration, or printf"
            yield Fault(f"{{{{ $value }}}} is written as it is, and {parts[0]} has many digits", fix, "$value")


def _fractions(node: Expr, world: World) -> Iterator[str]:
    for part, _ in walk(node):
        if operator(part) in _FRACTIONS:
            yield f"{operator(part)}()"
        elif isinstance(part, BinaryExpr) and str(part.op) == "/":
            yield "a share"
        elif isinstance(part, VectorSelector) and name_of(part) in {r.name for r in world.recorded(part)}:
            if _FRACTION_NAMES.search(name_of(part)):
                yield name_of(part)
        elif isinstance(part, VectorSelector) and _FRACTION_NAMES.search(name_of(part)):
            yield name_of(part)


def value_in_label(rule: Rule, _: World) -> Iterator[Fault]:
    """`$value` in a label: each new value is a new alert, which waits for its `for` again and pages again."""
    for name, text in rule.labels.items():
        if "$value" in text:
            yield Fault(f"the label {name} changes with the value", "write the value in an annotation", name)


def anonymous_alert(rule: Rule, world: World) -> Iterator[Fault]:
    """A text without the labels that tell several alerts of one rule apart."""
    if not rule.alerts:
        return
    left = world.labels(rule.tree)
    told = {label for text in rule.annotations.values() for label in _LABEL.findall(text)}
    own = sorted(left.certain - left.fixed - TARGET - set(rule.labels))
    if own and not told & set(own):
        text = f"the text does not say which {', '.join(own)} it is about"
        yield Fault(
            text,
            f"write {{{{ $labels.{own[0]} }}}} in the description, or sum over what does not matter",
            "description",
        )
    elif not own and "instance" in left.certain - left.fixed and "instance" not in told:
        text = "the text does not say which instance it is about"
        yield Fault(text, "write {{ $labels.instance }} in the description, or sum by (job)", "description")


def colliding_label(rule: Rule, world: World) -> Iterator[Fault]:
    """A label of the alert that overwrites one of its series: two series become one, and the rule fails."""
    for label in _OURS if rule.alerts else ():
        text = rule.labels.get(label)
        possible = world.labels(rule.tree).possible or frozenset()
        if text is not None and label in possible - world.labels(rule.tree).fixed and f"$labels.{label}" not in text:
            yield Fault(
                f"the series have a label {label} too, and the alert overwrites it",
                f'sum it away, or give it another name: label_replace(…, "{label}_of", "$1", "{label}", "(.*)")',
                label,
            )
