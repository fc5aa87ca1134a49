r"""Turns a regular expression of Go (RE2), which Alertmanager uses, into one of Python that matches the same. Pure.

github.com/google/re2/wiki/Syntax. What RE2 does not have (look-around, back-references, possessive quantifiers) is
refused, as Alertmanager would, and so is the little that Python does not have (`\p{Greek}`, `\C`). In RE2, `\d`, `\w`,
`\s` and `\b` are ASCII, `$` is the end of the text and flags may be set in the middle.
"""

import re
from collections.abc import Callable

LONGEST_REPEAT = 1000  # RE2's own limit
_REPEAT = re.compile(r"\{(\d+)(,(\d*))?\}")
_GROUP = re.compile(r"\?(?:P?<(?P<name>\w+)>|(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<end>[:)]))", re.ASCII)
_HEX = re.compile(r"x(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))")
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")
_POSIX = re.compile(r"\[:(\^?)(\w+):\]")
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_RANGES = {  # as first and last character; RE2's Perl and ASCII classes
    "d": "09",
    "s": "\t\n\f\r  ",
    "w": "09AZ__az",
    "alnum": "09AZaz",
    "alpha": "AZaz",
    "ascii": "\x00\x7f",
    "blank": "\t\t  ",
    "cntrl": "\x00\x1f\x7f\x7f",
    "digit": "09",
    "graph": "!~",
    "lower": "az",
    "print": " ~",
    "punct": "!/:@[`{~",
    "space": "\t\r  ",
    "upper": "AZ",
    "word": "09AZ__az",
    "xdigit": "09AFaf",
}
_LAST = "\U0010ffff"


class RE2Error(ValueError):
    """Alertmanager would refuse the expression, or we cannot match it; the message says what it stumbles on."""


def compile_re2(text: str) -> re.Pattern[str]:
    """Compile an expression of RE2; use ``fullmatch``, for Alertmanager anchors it at both ends."""
    translated = _Translator(text).whole()
    try:
        return re.compile(translated)
    except (re.error, OverflowError, RecursionError) as error:
        raise RE2Error(f"invalid regular expression: {error}") from error


class _Translator:
    def __init__(self, text: str) -> None:
        self._text, self._at, self._out = text, 0, list[str]()
        # For each open group: the flags that are set in its middle, each as `(?i:`, which Python closes again.
        self._flags: list[list[str]] = [[]]
        self._lines = False  # whether `$` may be the end of a line: there is a flag m somewhere
        self._repeated = False  # whether what stands before is a quantifier already

    def whole(self) -> str:
        kinds: dict[str, Callable[[], None]] = {
            "\\": self._escape,
            "(": self._open,
            ")": self._close,
            "[": self._class,
            "|": self._alternative,
            "$": self._end,
            **dict.fromkeys("*+?", self._quantifier),
            "{": self._brace,
        }
        while self._at < len(self._text):
            kinds.get(self._text[self._at], self._literal)()
        if len(self._flags) > 1:
            raise RE2Error("missing `)`")
        return "".join(self._out) + ")" * len(self._flags[0])

    def _emit(self, text: str, length: int) -> None:
        self._out.append(text)
        self._at += length
        self._repeated = False

    def _literal(self) -> None:
        char = self._text[self._at]
        self._emit(char if char in ".^" else re.escape(char), 1)

    def _end(self) -> None:
        self._emit("$" if self._lines else r"\Z", 1)

    def _open(self) -> None:
        if self._text[self._at + 1 : self._at + 2] != "?":
            self._flags.append([])
            self._emit("(", 1)
            return
        match = _GROUP.match(self._text, self._at + 1)
        if match is None:
            shown = self._text[self._at : self._at + 4]
            raise RE2Error(f"{shown!r}: RE2 has no look-around, conditions, atomic groups, comments or such flags")
        length = 1 + len(match[0])
        if match["name"]:
            self._flags.append([])
            self._emit("(", length)  # nobody asks for the name, and Go knows names that Python does not
            return
        self._lines |= "m" in match["flags"].partition("-")[0]
        # U only changes which match is found first, and here all of the text must match.
        opening = f"(?{match['flags'].replace('U', '').rstrip('-')}:"
        if match["end"] == ":":
            self._flags.append([])
        else:
            self._flags[-1].append(opening)
        self._emit(opening, length)

    def _close(self) -> None:
        if len(self._flags) == 1:
            raise RE2Error("unexpected `)`")
        self._emit(")" * (1 + len(self._flags.pop())), 1)

    def _alternative(self) -> None:
        flags = self._flags[-1]
        self._emit(f"{')' * len(flags)}|{''.join(flags)}", 1)

    def _quantifier(self, length: int = 1) -> None:
        if self._repeated:
            raise RE2Error("two quantifiers in a row; RE2 has no possessive ones")
        lazy = self._text[self._at + length : self._at + length + 1] == "?"
        self._emit(self._text[self._at : self._at + length] + "?" * lazy, length + lazy)
        self._repeated = True

    def _brace(self) -> None:
        match = _REPEAT.match(self._text, self._at)
        if match is None:
            self._literal()
            return
        if max(int(match[1]), int(match[3] or 0)) > LONGEST_REPEAT:
            raise RE2Error(f"{match[0]}: more than {LONGEST_REPEAT} repetitions")
        self._quantifier(len(match[0]))

    def _escape(self) -> None:
        kind = self._text[self._at + 1 : self._at + 2]
        if kind in {"A", "z"}:
            self._emit(rf"\{kind.upper()}", 2)
        elif kind in {"b", "B"}:
            self._emit(rf"(?a:\{kind})", 2)
        elif kind == "Q":
            quoted, end, _ = self._text[self._at + 2 :].partition(r"\E")
            if not end:  # it would quote the anchor that Alertmanager adds
                raise RE2Error(r"\Q without \E")
            self._emit(re.escape(quoted), 4 + len(quoted))
        elif kind.lower() in {"d", "s", "w"} and kind:
            self._emit(f"[{_ranges(kind.lower(), negated=kind.isupper())}]", 2)
        else:
            char, length = self._character()
            self._emit(re.escape(char), length)

    def _character(self) -> tuple[str, int]:
        """Read one character, escaped or not; gives it and how long it is written."""
        if self._text[self._at] != "\\":
            return self._text[self._at], 1
        kind = self._text[self._at + 1 : self._at + 2]
        for pattern, base in ((_HEX, 16), (_OCTAL, 8)):
            match = pattern.match(self._text, self._at + 1)
            code = int(match[match.lastindex or 0], base) if match else -1
            if match and code <= ord(_LAST):
                return chr(code), 1 + len(match[0])
        if kind in _CONTROLS:
            return _CONTROLS[kind], 2
        if not kind or kind.isalnum() or not kind.isascii():
            raise RE2Error(f"{self._text[self._at : self._at + 2]}: {_why(kind)}")
        return kind, 2

    def _class(self) -> None:
        """Read `[...]`; what is written for Python has each character escaped, for Python warns of `[[` and `--`."""
        self._at += 1
        negated = self._text.startswith("^", self._at)
        self._at += negated
        items, first = list[str](), True
        while first or not self._text.startswith("]", self._at):
            if self._at >= len(self._text):
                raise RE2Error("missing `]`")
            items.append(self._item())
            first = False
        self._emit(f"[{'^' * negated}{''.join(items)}]", 1)

    def _item(self) -> str:
        """Read one class, character or range in brackets."""
        posix = _POSIX.match(self._text, self._at)
        if posix:
            if posix[2] not in _RANGES or len(posix[2]) == 1:
                raise RE2Error(f"unknown class {posix[0]}")
            self._at += len(posix[0])
            return _ranges(posix[2], negated=bool(posix[1]))
        kind = self._text[self._at + 1 : self._at + 2]
        if self._text[self._at] == "\\" and kind and kind in "dDsSwW":
            self._at += 2
            return _ranges(kind.lower(), negated=kind.isupper())
        low, length = self._character()
        self._at += length
        following = self._text[self._at : self._at + 2]
        if len(following) < 2 or following[0] != "-" or following[1] == "]":  # noqa: PLR2004  # `-` and what follows
            return _code(low)
        self._at += 1
        high, length = self._character()
        self._at += length
        if high < low:
            raise RE2Error(f"invalid range {low}-{high}")
        return f"{_code(low)}-{_code(high)}"


def _why(kind: str) -> str:
    if kind in {"p", "P"}:
        return "classes of Unicode are not supported here; list the characters"
    return "RE2 has no back-references" if kind.isdigit() else "unknown escape"


def _code(char: str) -> str:
    return f"\\U{ord(char):08x}"


def _ranges(name: str, *, negated: bool) -> str:
    """Write a class as ranges, so that its complement can stand among others in brackets, too."""
    ends = _RANGES[name]
    pairs = sorted(zip(ends[::2], ends[1::2], strict=True))
    if negated:
        starts = [0, *(ord(last) + 1 for _, last in pairs)]
        stops = [*(ord(first) - 1 for first, _ in pairs), ord(_LAST)]
        pairs = [(chr(low), chr(high)) for low, high in zip(starts, stops, strict=True) if low <= high]
    return "".join(f"{_code(low)}-{_code(high)}" for low, high in pairs)
