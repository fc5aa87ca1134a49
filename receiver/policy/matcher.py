"""Matches labels the way Alertmanager does: `severity="critical"`, `team!=a`, `alertname=~"High.*"`, `job!~x`. Pure.

prometheus.io/docs/alerting/latest/configuration/#matcher: regular expressions are anchored at both ends, and a
label that is missing is the empty string.
"""

import re

import msgspec

_FORM = re.compile(r"""^\s*([a-zA-Z_:][a-zA-Z0-9_:.]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"\s{},]*))\s*$""")


class MatcherError(ValueError):
    """The text is no matcher; says what one looks like."""


class Matcher(msgspec.Struct, frozen=True):
    """One condition on one label."""

    label: str
    op: str
    value: str

    def matches(self, labels: dict[str, str]) -> bool:
        """Say whether the condition holds."""
        found = labels.get(self.label, "")
        if self.op in {"=", "!="}:
            return (found == self.value) is (self.op == "=")
        return (re.fullmatch(self.value, found) is not None) is (self.op == "=~")


Matchers = tuple[Matcher, ...]


def parse(text: str) -> Matcher:
    """Read one matcher; MatcherError says what is wrong."""
    found = _FORM.match(text)
    if found is None:
        raise MatcherError(f'{text!r} is no matcher; write it as Alertmanager does: severity="critical", job=~"api.*"')
    label, op, quoted, bare = found.groups()
    value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None and op in {"=", "!="} else (quoted or bare or "")
    if quoted is not None and op in {"=~", "!~"}:
        value = quoted.replace("\\\\", "\\")
    if op in {"=~", "!~"}:
        try:
            re.compile(value)
        except re.error as error:
            raise MatcherError(f"{text!r}: the regular expression is not right: {error}") from error
    return Matcher(label, op, value)


def match_all(matchers: Matchers, labels: dict[str, str]) -> bool:
    """Say whether every condition holds; none at all matches everything."""
    return all(matcher.matches(labels) for matcher in matchers)
