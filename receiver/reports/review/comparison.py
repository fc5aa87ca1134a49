"""Splits an alert's expression: what is compared, how, with what, and on which further conditions. Pure.

Only the top level is read, with the precedence of PromQL: `or` binds least, then `and` and `unless`, then comparisons.
Of an `or` the first arm is taken, of a chain of `and` the first comparison: by the rules' own habit that is the number
that the alert is about, and the others are its floors.
"""

import re
from collections.abc import Iterator

import msgspec

# Strings, durations and names are one piece each, so that no operator is found within them.
_PIECE = re.compile(
    r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`|[A-Za-z_:][\w:.]*|==|!=|<=|>=|=~|!~|[<>]|\s+|.', re.DOTALL
)
_LOGIC = frozenset({"or", "and", "unless"})
_COMPARISONS = frozenset({"==", "!=", "<=", ">=", "<", ">"})
_MATCHING = re.compile(
    r"\s*(?:bool\b\s*)?((?:on|ignoring)\s*\([^)]*\)\s*(?:group_(?:left|right)\s*(?:\([^)]*\))?)?)?\s*"
)
_OPEN, _CLOSE = "([{", ")]}"


class Comparison(msgspec.Struct, frozen=True):
    """The first comparison of an alert.

    ``limit`` is a number, or None where it is compared with other series; ``left`` is then made of both, so that it can
    be read against 1. ``rest`` is what follows (` and on (job) …`), "" if nothing does.
    """

    left: str
    operator: str
    limit: float | None
    rest: str = ""
    arms: int = 1

    @property
    def tunable(self) -> bool:
        """Say whether it has a threshold that one can turn; `== 0` and `> 0` ask whether something is, not how much."""
        return self.operator not in {"==", "!="} and bool(self.limit)

    @property
    def above(self) -> bool:
        """Say whether it fires above its limit, and not below."""
        return self.operator.startswith(">")

    def holds(self, value: float, limit: float) -> bool:
        """Compare as Prometheus does."""
        if self.operator == "==":
            return value == limit
        if self.operator == "!=":
            return value != limit
        if self.above:
            return value > limit or (value == limit and self.operator == ">=")
        return value < limit or (value == limit and self.operator == "<=")

    def guarded(self) -> str:
        """Give the left side where the further conditions hold, and only there."""
        return f"({self.left}){self.rest}" if self.rest else self.left


def split(expression: str) -> Comparison | None:
    """Give the first comparison; None if there is none, as in `vector(1)` or `absent(up)`."""
    arms = _parts(_bare(expression), frozenset({"or"}))
    conditions = _parts(_bare(arms[0][1]), frozenset({"and", "unless"}))
    first = _bare(conditions[0][1])
    rest = "".join(f" {word}{text}" for word, text in conditions[1:])
    if len(_parts(first, _LOGIC)) > 1:  # in parentheses, conditions may hold conditions
        found = split(first)
        return found and msgspec.structs.replace(found, rest=found.rest + rest, arms=max(found.arms, len(arms)))
    sides = _parts(first, _COMPARISONS)
    if len(sides) == 1:
        return None
    operator, right = sides[-1]
    left = first[: len(first) - len(right) - len(operator)].strip()
    matching = _MATCHING.match(right)
    clause = (matching[1] or "").strip() if matching else ""
    right = right[matching.end() :] if matching else right
    limit = number(right)
    if limit is not None:
        return Comparison(left, operator, limit, rest, len(arms))
    if operator in {"==", "!="}:
        return Comparison(left, operator, None, rest, len(arms))
    return Comparison(f"({left}) / {clause} ({right.strip()})".replace("  ", " "), operator, 1.0, rest, len(arms))


def number(text: str) -> float | None:
    """Read a number or a product of numbers, as `14 * 86400`; None if it is anything else."""
    product = 1.0
    for factor in _bare(text).split("*"):
        try:
            product *= float(factor.strip().strip("()"))
        except ValueError:
            return None
    return product


def _pieces(text: str) -> Iterator[tuple[int, str, int]]:
    """Give the depth, the text and the place of each piece."""
    depth = 0
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece in _CLOSE:
            depth -= 1
        yield depth, piece, match.start()
        if piece in _OPEN:
            depth += 1


def _parts(text: str, words: frozenset[str]) -> list[tuple[str, str]]:
    """Divide at words of the top level: each part with the word before it, the first with none."""
    found, begin, word = list[tuple[str, str]](), 0, ""
    for depth, piece, at in _pieces(text):
        if depth == 0 and piece.lower() in words:
            found.append((word, text[begin:at]))
            begin, word = at + len(piece), piece.lower()
    return [*found, (word, text[begin:])]


def _bare(text: str) -> str:
    """Take off the space and the parentheses that hold the whole."""
    text = text.strip()
    while text.startswith("(") and _closes(text) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _closes(text: str) -> int:
    return next((at for depth, piece, at in _pieces(text) if depth == 0 and piece == ")"), -1)
