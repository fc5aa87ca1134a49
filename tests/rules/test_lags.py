"""The comments of rules that read another group's series, as pint reads them; pint itself is not needed.

https://cloudflare.github.io/pint/checks/rule/dependency.html says which rules need them, and
https://cloudflare.github.io/pint/checks/pint/comment.html that a comment must touch its rule. The lint's `unstated-lag`
judges parsed expressions; this reads the shipped files as text, by names alone.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from promql_parser import parse_duration

NAME = re.compile(r"[a-zA-Z_]\w*:[\w:]+")
COMMENTS = re.compile(r"^# pint disable rule/dependency\n# lag: (\w+)\n(expr:|labels:)", re.MULTILINE)


@dataclass(frozen=True)
class Recorded:
    """A recording rule: the file and group that it is in, the group's interval, its name and its lines unindented."""

    group: tuple[str, str]
    interval: float
    name: str
    text: str

    @property
    def reads(self) -> set[str]:
        """Return the names that look like recorded series, without those of labels and comments."""
        expr = re.sub(r"(?m)^#.*$", "", self.text.partition("\nexpr:")[2].partition("\nlabels:")[0])
        return set(NAME.findall(expr))


def recorded() -> list[Recorded]:
    rules = []
    for path in sorted(Path("rules").glob("*.yml")):
        for group in re.split(r"(?m)^ *- name: ", path.read_text("utf-8"))[1:]:
            interval = re.search(r"(?m)^ *interval: (\S+)", group)
            assert interval, f"{path}: a group without an interval"
            for rule in re.split(r"(?m)^(?= *- (?:record|alert): )", group)[1:]:
                text = "\n".join(line.strip() for line in rule.splitlines())
                if record := re.match(r"- record: (\S+)", text):
                    seconds = parse_duration(interval[1]).total_seconds()
                    rules.append(Recorded((path.name, group.partition("\n")[0]), seconds, record[1], text))
    return rules


def test_each_rule_that_reads_another_group_says_so_to_pint_and_states_its_lag() -> None:
    rules = recorded()
    sources = {name: [rule for rule in rules if rule.name == name] for name in {rule.name for rule in rules}}
    needed, lacking = 0, []
    for rule in rules:
        foreign = [one for name in rule.reads for one in sources.get(name, []) if one.group != rule.group]
        if not foreign:
            assert "pint" not in rule.text, f"{rule.name}: a comment that nothing needs"
            continue
        needed += 1
        comments = COMMENTS.search(rule.text)
        if comments is None or parse_duration(comments[1]).total_seconds() < max(one.interval for one in foreign):
            lacking.append(rule.name)
    assert lacking == []
    assert needed >= 18, "fewer rules than before: does this test still find them?"  # counted by hand
