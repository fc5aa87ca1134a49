"""Compiles the regular expressions of matchers with RE2, which Alertmanager's own are written for. Pure.

Whoever sends alerts chooses the values that are matched. Python's `re` takes hours for `(a+)+b` and a value of forty
characters; RE2 takes a time that grows with the value alone (github.com/google/re2/wiki/WhyRE2), and refuses what
Alertmanager would refuse: look-around, back-references, possessive quantifiers.
"""

import re
from typing import Protocol

import re2

_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")  # which RE2 knows, and the one that is written in Go does not


class RE2Error(ValueError):
    """Alertmanager would refuse the expression; the message says what RE2 stumbles on."""


class Pattern(Protocol):
    """A compiled expression."""

    def fullmatch(self, text: str) -> object | None:
        """Match the whole text; None if it does not."""


def compile_re2(text: str) -> Pattern:
    r"""Compile an expression between ``^(?:`` and ``)$`` as Alertmanager does; an open ``\Q`` would quote these too."""
    if _BYTE.search(text):
        raise RE2Error(r"invalid regular expression: \C is unknown to Alertmanager")
    options = re2.Options()
    options.log_errors = False  # it would write to standard error by itself
    try:
        compiled: Pattern = re2.compile(f"^(?:{text})$", options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(error)
        raise RE2Error(f"invalid regular expression: {reason}") from error
    return compiled
