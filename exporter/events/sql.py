"""Reads the operation and the table of an SQL text, and nothing else of it, least of all its values. Pure.

A tokenizer, the same as in heypeter.mjs; tests/exporter/client/queries.yml has the cases of both. Browsers send these
texts, so its time is bounded. On a query of 200 characters sqlglot 30.30 takes 7 times as long and sqlparse 0.6.1 24
times; both recurse as deep as a text is nested (GHSA-2m57-hf25-phgg), and neither can be had in Node.
"""

import re
from itertools import pairwise
from typing import NamedTuple

_MAX_LENGTH = 10_000  # characters that are read
_MAX_NAME = 63  # as long as PostgreSQL lets a name be
_NAME = r'(?:"[^"]*"|`[^`]*`|\[[^\W\d][^\]]{0,62}\]|[^\W\d]\w*)'
# What is passed over (comments and texts, as PostgreSQL and MySQL write them), brackets, and names, quoted and dotted.
_TOKEN = re.compile(
    r"(?P<comment>/\*)|--[^\n]*|^[ \t]*#[^\n]*"
    r"|\$(?P<tag>[^\W\d]\w*)?\$[\s\S]*?(?:\$(?(tag)(?P=tag))\$|\Z)"
    r"|'(?:[^']|'')*(?:'|\Z)"
    rf"|(?P<bracket>[()])|(?P<name>{_NAME}(?:\s*\.\s*{_NAME})*)",
    re.MULTILINE,
)
_COMMENT = re.compile(r"/\*|\*/")
_QUOTES = {'"': '"', "`": "`", "]": "["}
_OPERATIONS = {name: name for name in ("select", "insert", "update", "delete")} | {
    "merge": "upsert",
    "replace": "upsert",
}
_MARKS = {"select": "from", "delete": "from", "insert": "into", "merge": "into", "replace": "into"}
_TRANSACTIONS = {"begin", "commit", "rollback", "savepoint", "release", "start", "end", "abort"}
_DEFINITIONS = {"create", "alter", "drop", "truncate", "reindex", "comment", "grant", "revoke"}
_SKIPPED = {"(", "only", "lateral", "if", "exists", "not", "table", "into", "from", "ignore", "low_priority"}


class _Token(NamedTuple):
    name: str
    depth: int
    word: str  # of SQL; "" for what is quoted or behind a dot: a column may be called "from"


_NOTHING = _Token("", 0, "")


def statement(query: str) -> tuple[str, str]:
    """Return operation and first table in lower case, "" where there is none."""
    query = query[:_MAX_LENGTH]
    words = _tokens(query)
    first = next((token.word for token in words if token.word != "("), "")
    if first in _TRANSACTIONS:
        return "transaction", ""
    # Whether a text ends at \' depends on the database: a word of the text must not be taken for a table.
    is_unsure = "\\'" in query
    if first in _DEFINITIONS:
        return "ddl", "other" if is_unsure else _defined(first, words)
    start = _verb(first, words)
    if start is None:
        return "", ""
    verb, depth = words[start].word, words[start].depth
    rest = words[start + 1 :]
    pairs = {(one.word, other.word) for one, other in pairwise(rest)}
    is_upsert = verb == "insert" and not pairs.isdisjoint({("on", "conflict"), ("on", "duplicate")})
    operation = "upsert" if is_upsert else _OPERATIONS[verb]
    at = -1
    if verb in _MARKS:
        at = _mark(rest, _MARKS[verb], depth)
        if at < 0:
            return operation, ""
    return operation, "other" if is_unsure else _real(words, _table(rest, at))


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    depth = at = 0
    nests = True
    while match := _TOKEN.search(text, at):
        at = match.end()
        if match["comment"]:
            at, nests = _comment_end(text, at, nests=nests)
        elif match["bracket"] == ")":
            depth -= 1
        elif match["bracket"]:
            tokens.append(_Token("(", depth, "("))
            depth += 1
        elif match["name"]:
            written = match["name"]
            name = _last(written).lower()
            tokens.append(_Token(name, depth, name if name == written.lower() else ""))
    return tokens


def _comment_end(text: str, at: int, *, nests: bool) -> tuple[int, bool]:
    """Return where a comment ends, and whether comments of this text nest: they do if each that begins in it also ends.

    PostgreSQL and SQL Server nest them, MySQL and SQLite do not. It is asked once for a text, for the time it takes.
    """
    depth, first = 1, -1
    for mark in _COMMENT.finditer(text, at):
        depth += 1 if mark[0] == "/*" else -1
        if mark[0] == "*/":
            first = mark.end() if first < 0 else first
            if not (nests and depth):
                return mark.end(), nests
    return (first, False) if first >= 0 else (len(text), nests)


def _last(name: str) -> str:
    """Return the last part of a dotted name, without its quotes."""
    quote = _QUOTES.get(name[-1])
    return name[:-1].rpartition(quote)[2] if quote else name.rpartition(".")[2].strip()


def _verb(first: str, words: list[_Token]) -> int | None:
    if first == "with":
        return next((i for i, it in enumerate(words) if it.word in _OPERATIONS and it.depth == 0), None)
    return next((i for i, it in enumerate(words) if it.word == first), None) if first in _OPERATIONS else None


def _mark(words: list[_Token], mark: str, depth: int) -> int:
    for at, token in enumerate(words):
        # "a IS DISTINCT FROM b" has a FROM that names no table.
        if (token.word, token.depth) == (mark, depth) and not (
            at > 1 and words[at - 1].word == "distinct" and words[at - 2].word in {"is", "not"}
        ):
            return at
    return -1


def _table(words: list[_Token], at: int) -> str:
    token = next((token for token in words[at + 1 :] if token.word not in _SKIPPED), _NOTHING)
    if token.word in {"select", "values"}:
        inner = words[at + 1 :]
        from_at = next((i for i, token in enumerate(inner) if token.word == "from"), -1)
        return _table(inner, from_at) if from_at >= 0 else ""
    return token.name[:_MAX_NAME]


def _defined(first: str, words: list[_Token]) -> str:
    kinds = {token.word for token in words}
    if first == "create" and "index" not in kinds:
        return ""  # it is not there yet
    if first == "comment" and "table" not in kinds:
        return ""
    mark = "on" if "index" in kinds else "table"
    at = next((i for i, token in enumerate(words) if token.word == mark), -1 if mark == "on" else 0)
    return _table(words, at) if at >= 0 else ""  # "drop index" names no table


def _real(words: list[_Token], table: str) -> str:
    """Return the first table instead of the name of a common table expression."""
    expressions = {_before(words, at) for at in range(len(words)) if _is_expression(words, at)}
    if table not in expressions:
        return table
    tables = (_table(words, at) for at, token in enumerate(words) if token.word in {"from", "into", "update", "join"})
    return next((name for name in tables if name not in expressions), "")


def _is_expression(words: list[_Token], at: int) -> bool:
    after = [token.word for token in words[at : at + 5] if token.word not in {"not", "materialized"}]
    return after[:2] == ["as", "("] and after[2:3] != [] and after[2] in {"select", "with", "values", *_OPERATIONS}


def _before(words: list[_Token], at: int) -> str:
    """Return the name before ``AS``, over a list of columns in brackets."""
    depth = words[at].depth
    return next((token.name for token in reversed(words[:at]) if token.depth == depth and token.word != "("), "")
