"""Speeds up the shipped rules for a story: divides every duration in them by the same number. Pure.

Divided are the windows ([5m]), offsets, `for`, `keep_firing_for`, the groups' intervals, and the lengths that the
expressions themselves write in seconds: `* 3600` of the objectives, and the horizon of predict_linear. The thresholds
are not: neither counts (30 registrations in an hour, which is a minute now), nor rates a second, nor the ages of
timestamps, which are ages on a real clock. Every rule still is what is shipped, and only sooner.
"""

import re
from typing import Any

from promql_parser import parse_duration

# Windows, the windows and steps of subqueries, and offsets; not the [234] of a pattern.
_WINDOW = re.compile(
    r"(?<=\[)(?:\d+[smhdwy])+(?=[\]:])|(?<=[smhdwy]:)(?:\d+[smhdwy])+(?=\])|(?<=offset )(?:\d+[smhdwy])+"
)
_HORIZON = re.compile(r"(predict_linear\([^)]*\], )(\d+) \* (\d+)\)")
_SECONDS = re.compile(r"(?<=[*/] )\d{3,}$")


class Quick:
    """Divides by ``factor``: at 60 a minute is a second."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def length(self, written: str) -> str:
        """Divide a length of time: at 60, 5m becomes 5000ms."""
        return f"{int(parse_duration(written).total_seconds() * 1000 / self.factor)}ms"

    def rules(self, rules: dict[str, Any]) -> dict[str, Any]:
        """Give a rule file with all durations divided."""
        return {"groups": [self._group(group) for group in rules["groups"]]}

    def _group(self, group: dict[str, Any]) -> dict[str, Any]:
        rules = [self._rule(rule) for rule in group["rules"]]
        return {**group, "interval": self.length(group["interval"]), "rules": rules}

    def _rule(self, rule: dict[str, Any]) -> dict[str, Any]:
        expression = _WINDOW.sub(lambda match: self.length(match[0]), rule["expr"])
        expression = _HORIZON.sub(self._horizon, expression)
        if str(rule.get("record", "")).startswith("slo:"):
            expression = _SECONDS.sub(lambda match: str(int(match[0]) // self.factor), expression)
        waits: dict[str, Any] = {name: self.length(rule[name]) for name in ("for", "keep_firing_for") if name in rule}
        return {**rule, "expr": expression, **waits}

    def _horizon(self, horizon: re.Match[str]) -> str:
        return f"{horizon[1]}{horizon[2]} * {int(horizon[3]) // self.factor})"
