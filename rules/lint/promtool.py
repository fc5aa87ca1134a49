"""Asks promtool, which decides what is a rule file, and tells its complaints in one clear form."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_FILE = re.compile(r"^Checking (.*)$")
_PLACED = re.compile(r"^(?P<line>\d+):\d+: (?P<text>.*)$")
_YAML = re.compile(r"^(?:yaml: )?(?:line (?P<line>\d+): )?(?P<text>.*)$")
_KEY = re.compile(r"field (\S+) not found in type rulefmt\.(\w+)")
_KINDS = {"rulegroups": "a rule file", "rulegroup": "a group", "rule": "a rule", "rulenode": "a rule"}
_NO_RULES = re.compile(r"cannot unmarshal .* into rulefmt\.\w+")


class PromtoolError(Exception):
    """promtool cannot be run; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What promtool says of one file; line 0 when it does not know where."""

    file: str
    line: int
    text: str


def complaints(promtool: Path, files: Sequence[str]) -> list[Complaint]:
    """Check files that exist; PromtoolError when it does not run."""
    command = [str(promtool), "check", "rules", "--lint=none", *files]
    try:
        # Names go to stdout and complaints to stderr: only together is it clear what belongs to what.
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, **streams, encoding="utf-8", errors="replace", check=False)  # type: ignore[call-overload]  # noqa: S603  # ours
    except OSError as error:
        raise PromtoolError(f"{promtool}: {error.strerror}: run `make stack`, or give --promtool") from error
    reported = list(dict.fromkeys(_read(done.stdout.splitlines())))
    if done.returncode and not reported:
        raise PromtoolError(f"{promtool} failed: {done.stdout.strip()}")
    return reported


def _read(lines: list[str]) -> Iterator[Complaint]:
    file = ""
    for line in lines:
        start = _FILE.match(line)
        if start:
            file = start[1]
        elif line.startswith("  line "):
            yield _complaint(file, line.strip())
        elif file and line.startswith(f"{file}: "):
            text = line[len(file) + 2 :]
            placed = _PLACED.match(text)
            if placed:
                yield Complaint(file, int(placed["line"]), placed["text"])
            elif not text.endswith("unmarshal errors:"):
                yield _complaint(file, text)


def _complaint(file: str, text: str) -> Complaint:
    match = _YAML.match(text)
    line, said = (int(match["line"] or 0), match["text"]) if match else (0, text)
    key = _KEY.search(said)
    if key:
        said = f"{_KINDS.get(key[2].lower(), key[2])} has no key {key[1]}"
    elif _NO_RULES.search(said):
        said = "this is no rule file"
    return Complaint(file, line, said)
