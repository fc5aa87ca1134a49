"""Writes a report as Markdown, as one HTML page with plots and no script, and as JSON."""

import html
import re

import msgspec
import pygal  # type: ignore[import-untyped]  # it has no types
from pygal.style import Style  # type: ignore[import-untyped]  # it has no types

from receiver.messages.i18n import duration
from receiver.reports.incidents.statistics import Report, Row, Times

_SCRIPT = re.compile(r"<script.*?</script>|<!--.*?-->", re.DOTALL)  # tooltips; a report must not need a script
_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="currentColor",
    foreground_strong="currentColor",
    foreground_subtle="#8b949e",
    colors=("#2f81f7", "#db6d28", "#3fb950"),
    font_family="system-ui, sans-serif",
    guide_stroke_color="#8b949e",
    major_guide_stroke_color="#8b949e",
    guide_stroke_dasharray="1,4",
    major_guide_stroke_dasharray="1,4",
    label_font_size=12,
    legend_font_size=14,
)
_CSS = """
:root { color-scheme: light dark; --soft: #57606a; --line: #d0d7de; --paper: #ffffff; --ink: #1b1f24; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --soft: #9198a1; --line: #3d444d; --paper: #0d1117; --ink: #e6edf3;
  --bad: #ff7b72; } }
body { margin: 0 auto; max-width: 900px; padding: 24px 16px 64px; font: 16px/1.5 system-ui, sans-serif;
  background: var(--paper); color: var(--ink); }
h1 { margin: 0; font-size: 28px; } h2 { margin: 40px 0 8px; font-size: 20px; }
p { margin: 4px 0 0; color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 24px; }
.figures div { border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.figures strong { display: block; font-size: 30px; line-height: 1.2; } .figures span { color: var(--soft); }
.bad { color: var(--bad); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; } th { font-weight: 600; color: var(--soft); }
svg { display: block; width: 100%; min-width: 560px; height: auto; }
"""
_HEAD = ("Incidents", "MTTA", "Median", "Worst", "MTTR", "Median", "Worst", "Breaches")


def markdown(report: Report) -> str:
    """Write it for a wiki or a chat."""
    parts = [f"# On-call report, {_period(report)}", "", _verdict(report), ""]
    for title, rows in (("Priority", report.by_priority), ("Team", report.by_team)):
        head = (title, *_HEAD)
        parts += [_line(head), _line(("---", *("---:" for _ in _HEAD))), *(_line(_cells(row)) for row in rows), ""]
    parts += ["## Who was paged", "", _line(("Person", "Pages", "At night")), _line(("---", "---:", "---:"))]
    parts += [_line((person, str(pages), str(nights))) for person, pages, nights in report.pages]
    parts += ["", "## Noisiest alerts", "", _line(("Alert", "Incidents", "Reopened")), _line(("---", "---:", "---:"))]
    parts += [_line((name, str(count), str(again))) for name, count, again in report.noisiest]
    return "\n".join(parts) + "\n"


def json(report: Report) -> str:
    """Write it for a program; times in seconds."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def page(report: Report) -> str:
    """Write it for a browser or a mail: one file, nothing loaded from elsewhere."""
    answered = [row for row in report.by_priority if row.acknowledge.mean is not None]
    plots = [("Incidents a day", _days(report))]
    if answered:
        plots.append(("Minutes to acknowledge and to resolve, by priority", _durations(report)))
    body = [
        f"<h1>On-call report</h1><p>{html.escape(_period(report))}</p>",
        f'<div class="figures">{"".join(_figures(report))}</div>',
        *(f'<h2>{title}</h2><div class="wide">{svg}</div>' for title, svg in plots),
        "<h2>By priority</h2>" + _table(("Priority", *_HEAD), [_cells(row) for row in report.by_priority]),
        "<h2>By team</h2>" + _table(("Team", *_HEAD), [_cells(row) for row in report.by_team]),
        "<h2>Who was paged</h2>" + _table(("Person", "Pages", "At night"), [_text(row) for row in report.pages]),
        "<h2>Noisiest alerts</h2>"
        + _table(("Alert", "Incidents", "Reopened"), [_text(row) for row in report.noisiest]),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
    style = f"<title>On-call report, {html.escape(_period(report))}</title><style>{_CSS}</style>"
    return f'<!doctype html><html lang="en"><head>{head}{style}</head><body>{"".join(body)}</body></html>\n'


def _figures(report: Report) -> list[str]:
    nights = sum(night for _, _, night in report.pages)
    figures = [
        ("incidents", report.incidents, False),
        ("still open", report.still_open, False),
        ("response times breached", report.breaches, report.breaches > 0),
        ("pages at night", nights, nights > 0),
    ]
    return [
        f"<div><strong{' class=bad' if bad else ''}>{number}</strong><span>{name}</span></div>"
        for name, number, bad in figures
    ]


def _days(report: Report) -> str:
    chart = pygal.Bar(style=_STYLE, show_legend=False, height=240, width=860, margin=8, truncate_label=-1)
    every = max(1, len(report.by_day) // 10)
    chart.x_labels = [day[5:] if n % every == 0 else "" for n, (day, _) in enumerate(report.by_day)]
    highest = max((count for _, count in report.by_day), default=0)
    chart.y_labels = range(0, highest + 1, max(1, -(-highest // 5)))  # whole incidents
    chart.add("incidents", [count for _, count in report.by_day])
    return _svg(chart)


def _durations(report: Report) -> str:
    chart = pygal.HorizontalBar(style=_STYLE, height=280, width=860, margin=8, legend_at_bottom=True)
    rows = report.by_priority[::-1]  # drawn from below: P1 stands on top
    chart.x_labels = [row.name for row in rows]
    chart.add("to acknowledge (mean)", [_minutes(row.acknowledge) for row in rows])
    chart.add("to resolve (mean)", [_minutes(row.resolve) for row in rows])
    return _svg(chart)


def _svg(chart: pygal.graph.graph.Graph) -> str:
    chart.config.js = []
    chart.disable_xml_declaration = True
    chart.no_data_text = "nothing to show"
    return _SCRIPT.sub("", str(chart.render(is_unicode=True)))


def _minutes(times: Times) -> float | None:
    return round(times.mean / 60, 1) if times.mean is not None else None


def _cells(row: Row) -> tuple[str, ...]:
    times = [_span(value) for t in (row.acknowledge, row.resolve) for value in (t.mean, t.median, t.worst)]
    return (row.name, str(row.incidents), *times, str(row.breaches))


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _text(row: tuple[object, ...]) -> tuple[str, ...]:
    return tuple(map(str, row))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return "<p>Nothing.</p>"
    shown = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><tr>{shown}</tr>{body}</table></div>'


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _period(report: Report) -> str:
    return f"{report.start:%Y-%m-%d} to {report.end:%Y-%m-%d} (UTC)"


def _verdict(report: Report) -> str:
    nights = sum(night for _, _, night in report.pages)
    incidents = "1 incident" if report.incidents == 1 else f"{report.incidents} incidents"
    breaches = "1 response time" if report.breaches == 1 else f"{report.breaches} response times"
    pages = "1 page" if nights == 1 else f"{nights} pages"
    return f"{incidents}, {report.still_open} still open; {breaches} breached; {pages} at night."
