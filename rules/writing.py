"""How a generated rule file is written: its head, its links and its YAML."""

import yaml

RUNBOOKS = "https://github.com/heypeteracademy/monitoring/blob/main/docs/runbooks"
DASHBOARDS = "https://grafana.heypeteracademy.com/d"


class _Plain(yaml.SafeDumper):
    """YAML without anchors: an SRE reads and greps each rule by itself."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # PyYAML's signature
        """Write what stands twice twice."""
        return True


def annotations(alert: str, dashboard: str, summary: str, description: str) -> dict[str, str]:
    """Give the four annotations that every alert has."""
    return {
        "summary": summary,
        "description": description,
        "runbook_url": f"{RUNBOOKS}/{alert}.md",
        "dashboard_url": f"{DASHBOARDS}/{dashboard}",
    }


def group(name: str, interval: str, rules: list[dict[str, object]]) -> dict[str, object]:
    """Give a group of rules as Prometheus reads it."""
    return {"name": name, "interval": interval, "rules": rules}


def file(table: str, about: str, groups: list[dict[str, object]]) -> str:
    """Write a whole file, marked as generated."""
    head = (
        f"# GENERATED from rules/tables/{table} by `python -m rules.generate`: change the table. Do not edit.\n{about}"
    )
    return head + yaml.dump({"groups": groups}, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)
