"""Writes docs/metrics.md from the catalogue. Pure."""

from exporter.catalogue.model import SELF, Catalogue, Family


def document(catalogue: Catalogue) -> str:
    """Give the page."""
    lines = [
        "# Metrics",
        "",
        "Written by `python -m exporter metrics-doc` from `exporter/catalogue/catalogue.yml`.",
        "",
    ]
    lines += ["## Counted from events", "", *_table([f for f in catalogue.families if f.event != SELF])]
    lines += ["", "## The exporter about itself", "", *_table([f for f in catalogue.families if f.event == SELF])]
    lines += [
        "",
        "## Events",
        "",
        "`?`: may be left out. From: who may send it, browsers (public) or servers (private).",
        "",
    ]
    lines += ["| event | from | fields |", "| --- | --- | --- |"]
    for name, event in catalogue.events.items():
        fields = (f"{n}: {' or '.join(k) if isinstance(k, list) else k}" for n, k in event.fields.items())
        lines.append(f"| `{name}` | {event.from_} | {', '.join(fields)} |")
    return "\n".join(lines) + "\n"


def _table(families: list[Family]) -> list[str]:
    lines = ["| family | type | labels | fed by | what it counts |", "| --- | --- | --- | --- | --- |"]
    for family in families:
        labels = ", ".join(label.name for label in family.labels) or "none"
        event = "itself" if family.event == SELF else f"`{family.event}`"
        lines.append(f"| `{family.name}` | {family.type} | {labels} | {event} | {family.help}{_details(family)} |")
    return lines


def _details(family: Family) -> str:
    found = []
    if family.buckets:
        found.append(f"Buckets: {', '.join(f'{bound:g}' for bound in family.buckets)}.")
    if family.max_age:
        found.append(f"Gone when nobody has set it for {family.max_age:g} s.")
    return "".join(f" {text}" for text in found)
