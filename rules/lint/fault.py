"""What a check finds, and how it is told: as a compiler does, or as annotations of a pull request on GitHub."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and what to do; `near` is a word of the rule that leads to its line."""

    text: str
    fix: str
    near: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault in its place; `rule` is empty where it is the file's own."""

    file: str
    line: int
    rule: str
    check: str
    text: str
    fix: str

    @property
    def plain(self) -> str:
        """Write two lines for a terminal."""
        rule = f"{self.rule}: " if self.rule else ""
        return f"{self.file}:{self.line}: {rule}{self.check}: {self.text}\n    fix: {self.fix}\n"

    @property
    def github(self) -> str:
        """Write one line that GitHub shows beside the changed line."""
        rule = f"{self.rule}: " if self.rule else ""
        place = f"file={_escaped(self.file)},line={self.line},title={_escaped(self.check)}"
        said = f"{rule}{self.text}\nFix: {self.fix}"
        return f"::error {place}::{_text(said)}\n"


def _text(words: str) -> str:
    """Escape as github.com/actions/toolkit does for the text of a command."""
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped(words: str) -> str:
    return _text(words).replace(":", "%3A").replace(",", "%2C")
