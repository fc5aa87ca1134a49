"""Text of generated rule files: header, links and YAML."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from rules.site import ROOT, read

SITE = read()  # the one that rules and dashboards are written for before they are adapted to another
RUNBOOKS, DASHBOARDS = SITE.runbooks, SITE.dashboards
Panels = Mapping[str, Mapping[str, object]]  # alert -> dashboard and panel


class _Plain(yaml.SafeDumper):
    """YAML without anchors, so that each rule can be read and grepped by itself."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # PyYAML's signature
        """Repeat values instead of using anchors."""
        return True


def annotations(alert: str, summary: str, description: str, panels: Panels) -> dict[str, str]:
    """Return the four annotations of an alert; ValueError if no panel shows its series."""
    return {
        "summary": summary,
        "description": description,
        "runbook_url": f"{RUNBOOKS}/{alert}.md",
        "dashboard_url": panel(alert, panels),
    }


def panel(alert: str, panels: Panels) -> str:
    """Return the URL of the panel that shows the series of an alert."""
    try:
        place = panels[alert]
    except KeyError:
        fix = "declare it on one (explains=...), then `python -m grafana.build`"
        raise ValueError(f"no panel shows {alert}: {fix}") from None
    return f"{DASHBOARDS}/{place['dashboard']}?viewPanel={place['panel']}"


def panels(root: Path = ROOT) -> Panels:
    """Read which panel shows the series of which alert."""
    panel_of_alert: Panels = yaml.load((root / "grafana/panels.yml").read_text("utf-8"), yaml.CSafeLoader)
    return panel_of_alert


def group(name: str, interval: str, rules: list[dict[str, object]]) -> dict[str, object]:
    """Return a rule group in the format of Prometheus."""
    return {"name": name, "interval": interval, "rules": rules}


def file(table: str, about: str, groups: list[dict[str, object]]) -> str:
    """Return the text of a whole file, marked as generated."""
    head = (
        f"# GENERATED from rules/tables/{table} by `python -m rules.generate`. Do not edit; change the table.\n{about}"
    )
    text = yaml.dump({"groups": groups}, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)
    return head + "".join(_with_lags(text))


# Alerts and recording rules of groups that run every minute or more often read series that are up to a minute old.
LAG = ("# pint disable rule/dependency", "# lag: 1m")
_RECORDED = re.compile(r"[a-z_]+:\w+:\w+")


def _with_lags(text: str) -> Iterator[str]:
    """Add the comments of LAG to each recording rule that reads a series recorded in another group."""
    for part in re.split(r"(?m)^(?=- name: )", text):
        own = set(re.findall(r"(?m)^  - record: (\S+)$", part))
        for rule in re.split(r"(?m)^(?=  - )", part):
            first, _, rest = rule.partition("\n")
            foreign = set(_RECORDED.findall(rest.partition("\n    labels:")[0])) - own
            if first.startswith("  - record: ") and foreign:
                yield "".join(f"{line}\n" for line in (first, *(f"    {comment}" for comment in LAG))) + rest
            else:
                yield rule
