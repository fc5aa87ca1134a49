"""Matches labels as Alertmanager does: `severity="critical"`, `team!=a`, `alertname=~"High.*"`, `"my label"=x`. Pure.

prometheus.io/docs/alerting/latest/configuration/#matcher: regular expressions are anchored at both ends, and a label
that is missing is the empty string. A text is read as Alertmanager reads it in its default mode: by the classic rules
where they accept it, else by those of UTF-8, which allow any label's name.
"""

import re
from functools import lru_cache

import msgspec

from receiver.policy.re2 import RE2Error, compile_re2

_CLASSIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_WORD = r"""(?:"(?:[^"\\]|\\.)*"|[^\s{}!=~,\\"'`]+)"""
_UTF8 = re.compile(rf"\s*({_WORD})\s*(=~|!~|!=|=)\s*({_WORD})\s*", re.DOTALL)
_EXPECTED = """expected e.g. severity="critical", job=~"api.*" or "my label"="x\""""
_ONE_BY_ONE = "; write each matcher by itself, and a value with a comma in quotes"
_compiled = lru_cache(maxsize=4096)(compile_re2)


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
        return (_compiled(self.value).fullmatch(value) is not None) is (self.op == "=~")


Matchers = tuple[Matcher, ...]


def parse(text: str) -> Matcher:
    """Read one matcher; MatcherError names what is invalid."""
    try:
        matcher = _classic(text) or _utf8(text)
        if matcher is None or text.strip().startswith("{") or text.strip().endswith("}"):
            several = re.search(r"[{},]", text)
            raise MatcherError(f"invalid matcher {text!r} ({_EXPECTED}){_ONE_BY_ONE if several else ''}")
        if matcher.op in {"=~", "!~"}:
            _compiled(matcher.value)
    except RE2Error as error:
        raise MatcherError(f"invalid matcher {text!r}: {error}") from error
    return matcher


def _classic(text: str) -> Matcher | None:
    """Read it as Alertmanager's ParseMatcher; None if that refuses it. An unknown escape keeps its backslash."""
    match = _CLASSIC.fullmatch(text)
    if match is None:
        return None
    label, op, raw = match.groups()
    quoted = raw.startswith('"')
    if quoted and not re.fullmatch(r'"(?:[^"\\]|\\.)*"', raw, re.DOTALL):
        return None
    inner = raw[1:-1] if quoted else raw
    if not quoted and raw.startswith(("=", "~")):
        return None  # Alertmanager reads `a==b` as a value `=b`, which nobody means
    if not quoted and "," in raw:
        return None  # Alertmanager reads `a=b,c=d` as two matchers
    if not quoted and re.search(r'(?<!\\)(?:\\\\)*"', inner):
        return None
    value = re.sub(r'\\([n"\\])', lambda escaped: "\n" if escaped[1] == "n" else escaped[1], inner)
    return Matcher(label, op, value)


def _utf8(text: str) -> Matcher | None:
    match = _UTF8.fullmatch(text)
    if match is None:
        return None
    label, value = _unquoted(match[1]), _unquoted(match[3])
    return Matcher(label, match[2], value) if label and value is not None else None


def _unquoted(word: str) -> str | None:
    """Read a word as Go's strconv.Unquote; None if it has an escape that JSON does not know, either."""
    if not word.startswith('"'):
        return word
    try:
        return msgspec.json.decode(word, type=str)
    except msgspec.DecodeError:
        return None


def match_all(matchers: Matchers, labels: dict[str, str]) -> bool:
    """Say whether every condition holds; an empty list matches everything."""
    return all(matcher.matches(labels) for matcher in matchers)
