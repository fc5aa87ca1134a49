"""Matches labels the way Alertmanager does: `severity="critical"`, `team!=a`, `alertname=~"High.*"`, `job!~x`. Pure.

prometheus.io/docs/alerting/latest/configuration/#matcher: regular expressions are anchored at both ends, and a
label that is missing is the empty string.
"""

import re

import msgspec

_FORM = re.compile(r"""^\s*([a-zA-Z_:][a-zA-Z0-9_:.]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"\s{},]*))\s*$""")


class MatcherError(ValueError):
    """The text is not a matcher; the message names the expected form."""


class Matcher(msgspec.Struct, frozen=True):
    """One condition on one label."""

    label: str
    op: str
    value: str

    def matches(self, labels: dict[str, str]) -> bool:
        """Say whether the condition holds."""
        value = labels.get(self.label, "")
        if self.op in {"=", "!="}:
            return (value == self.value) is (self.op == "=")
        return (re.fullmatch(self.value, value) is not None) is (self.op == "=~")


Matchers = tuple[Matcher, ...]


def parse(text: str) -> Matcher:
    """Read one matcher; MatcherError names what is invalid."""
    match = _FORM.match(text)
    if match is None:
        raise MatcherError(f'invalid matcher {text!r} (expected e.g. severity="critical" or job=~"api.*")')
    label, op, quoted, bare = match.groups()
    value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None and op in {"=", "!="} else (quoted or bare or "")
    if quoted is not None and op in {"=~", "!~"}:
        value = quoted.replace("\\\\", "\\")
    if op in {"=~", "!~"}:
        try:
            re.compile(value)
        except re.error as error:
            raise MatcherError(f"invalid matcher {text!r}: invalid regular expression: {error}") from error
    return Matcher(label, op, value)


def match_all(matchers: Matchers, labels: dict[str, str]) -> bool:
    """Say whether every condition holds; an empty list matches everything."""
    return all(matcher.matches(labels) for matcher in matchers)
