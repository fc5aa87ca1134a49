"""Judges files: promtool first, then each check on each rule, less what comments allow."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rules.lint.fault import Finding
from rules.lint.promtool import complaints
from rules.lint.register import BAD_ALLOWANCE, CHECKS, INVALID, UNUSED_ALLOWANCE
from rules.lint.source import REFUSED, RULE_FILE, Allowance, Rule, Source, SourceError, read
from rules.lint.world import World, world
from rules.site import ROOT

_PLACE = re.compile(r'group "(?P<group>.*?)", rule (?P<rule>\d+)')


def judged(files: Sequence[Path], promtool: Path, root: Path = ROOT) -> tuple[list[Finding], int]:
    """Give what is wrong in these files, and how many rules they have.

    The other rule files beside them are read as well: they record what these read. While one of them cannot be read,
    nothing else is judged, for it would be wrong.

    Raises:
        PromtoolError: promtool does not run.
        ValueError: a table of the product itself cannot be read.

    """
    missing = [_invalid(path, 1, "there is no such file", "correct the name") for path in files if not path.is_file()]
    there = [path for path in files if path.is_file()]
    broken = missing + _refused(there, promtool)
    sources, unread = _read(there + _beside(there), {finding.file for finding in broken})
    if broken or unread:
        return sorted(broken + unread, key=lambda one: (one.file, one.line)), 0
    rules = tuple(rule for source in sources for rule in source.rules)
    around = world(rules, root)
    chosen = [source for source in sources if Path(source.path) in there]
    findings = [finding for source in chosen for finding in _of_source(source, around)]
    return sorted(findings, key=lambda one: (one.file, one.line)), sum(len(source.rules) for source in chosen)


def _invalid(path: Path | str, line: int, text: str, fix: str) -> Finding:
    return Finding(str(path), line, "", INVALID, text, fix)


def _refused(files: list[Path], promtool: Path) -> list[Finding]:
    findings = []
    for one in complaints(promtool, [str(path) for path in files]) if files else ():
        line, text = one.line, one.text
        try:
            line = line or _named(text, read(Path(one.file)))
        except SourceError as error:  # PyYAML knows the line where promtool's YAML does not
            line = error.line if "YAML" in str(error) else line
        fix = RULE_FILE if "a rule file" in text or "no rule file" in text else REFUSED
        findings.append(_invalid(one.file, line or 1, text, fix))
    return findings


def _named(text: str, source: Source) -> int:
    """Give the line of the rule that promtool names by its place."""
    place = _PLACE.match(text)
    rules = [rule for rule in source.rules if place and rule.group == place["group"]]
    return rules[int(place["rule"]) - 1].line if place and rules else 0


def _beside(files: list[Path]) -> list[Path]:
    folders = {path.parent for path in files}
    return sorted({path for folder in folders for path in folder.glob("*.yml")} - set(files))


def _read(files: list[Path], known: set[str]) -> tuple[list[Source], list[Finding]]:
    sources, broken = [], []
    for path in files:
        if str(path) in known:
            continue
        try:
            sources.append(read(path))
        except SourceError as error:
            broken.append(_invalid(path, error.line, str(error), error.fix))
    return sorted(sources, key=lambda source: source.path), broken


def _of_source(source: Source, around: World) -> list[Finding]:
    findings = [finding for rule in source.rules for finding in of_rule(rule, around)]
    lines = {finding: rule.line for rule in source.rules for finding in findings if _belongs(finding, rule)}
    allowed = {(one.owner, one.check) for one in source.allowances}
    kept = [one for one in findings if (lines[one], one.check) not in allowed]
    used = {(lines[one], one.check) for one in findings}
    return kept + [finding for one in source.allowances for finding in _of_allowance(source.path, one, used)]


def _belongs(finding: Finding, rule: Rule) -> bool:
    return rule.line <= finding.line < rule.line + len(rule.text)


def of_rule(rule: Rule, around: World) -> list[Finding]:
    """Give all that the checks find in one rule, whatever its comments allow."""
    findings = []
    for name, check in CHECKS.items():
        for fault in check(rule, around):
            line = rule.line_of(fault.near)
            findings.append(Finding(rule.file, line, rule.name, name, fault.text, fault.fix))
    return list(dict.fromkeys(findings))


def _of_allowance(file: str, one: Allowance, used: Iterable[tuple[int, str]]) -> list[Finding]:
    if one.check not in CHECKS:
        fix = "`python -m rules.lint --list` names them"
        return [Finding(file, one.line, "", BAD_ALLOWANCE, f"there is no check {one.check}", fix)]
    if not one.reason:
        fix = f"write # lint: allow {one.check}: <why>"
        return [Finding(file, one.line, "", BAD_ALLOWANCE, f"{one.check} is allowed without a reason", fix)]
    if (one.owner, one.check) not in used:
        text = f"{one.check} finds nothing here any more"
        return [Finding(file, one.line, "", UNUSED_ALLOWANCE, text, "remove the comment")]
    return []
