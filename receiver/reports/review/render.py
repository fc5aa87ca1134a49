"""Renders a report as Markdown, and as one HTML page with plots that has no script and loads nothing. Pure."""

import html
import re
from datetime import UTC, datetime
from itertools import zip_longest

import pygal  # type: ignore[import-untyped]  # it has no types
from pygal.style import Style  # type: ignore[import-untyped]  # it has no types

from receiver.reports.review.sections import Bars, Content, Plot, Row, Section
from receiver.reports.review.threshold import show

_SCRIPT = re.compile(r"<script.*?</script>|<!--.*?-->", re.DOTALL)  # tooltips; a report must not need a script
_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="currentColor",
    foreground_strong="currentColor",
    foreground_subtle="#8b949e",
    colors=("#2f81f7", "#e5534b"),
    font_family="system-ui, sans-serif",
    guide_stroke_color="#8b949e",
    major_guide_stroke_color="#8b949e",
    guide_stroke_dasharray="1,4",
    major_guide_stroke_dasharray="1,4",
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=13,
    value_font_size=13,
    value_colors=("currentColor", "currentColor"),
)
_CSS = """
:root { color-scheme: light dark; --soft: #57606a; --line: #d0d7de; --paper: #ffffff; --ink: #1b1f24; --bad: #cf222e;
  --card: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --soft: #9198a1; --line: #3d444d; --paper: #0d1117; --ink: #e6edf3;
  --bad: #ff7b72; --card: #151b23; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 24px 16px 64px; font: 16px/1.5 system-ui, sans-serif;
  background: var(--paper); color: var(--ink); }
h1 { margin: 0; font-size: 28px; } h2 { margin: 44px 0 4px; font-size: 20px; } h3 { margin: 0; font-size: 15px; }
h1, h2, h3, p, figcaption, summary { overflow-wrap: anywhere; }
p { margin: 4px 0 12px; color: var(--soft); max-width: 78ch; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 20px 0; }
.figures div { border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.figures strong { display: block; font-size: 28px; line-height: 1.2; } .figures span { color: var(--soft); }
strong.bad { color: var(--bad); }
.todo { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 20px; }
.todo h2 { margin: 0; } ul { margin: 8px 0 0; padding-left: 20px; } li { margin: 4px 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font-size: 14px; }
td:first-child { min-width: 130px; }
th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); white-space: nowrap; } td:first-child { font-weight: 600; }
td.short { white-space: nowrap; } td.long { min-width: 180px; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 24px;
  margin-top: 20px; }
figure { margin: 0; min-width: 0; max-width: 640px; } figcaption { color: var(--soft); font-size: 13px; }
summary { cursor: pointer; margin-top: 44px; font-size: 20px; font-weight: 700; } details h2 { display: none; }
svg { display: block; width: 100%; height: auto; }
"""
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SHORT = 28  # characters; longer cells may wrap


def html_page(report: Content) -> str:
    """Write it for a browser or a mail."""
    title = _safe(report.title)
    figures = "".join(
        f"<div><strong{' class=bad' if bad else ''}>{_safe(number)}</strong><span>{_safe(name)}</span></div>"
        for number, name, bad in report.figures
    )
    to_do = "".join(f"<li>{_safe(one)}</li>" for one in report.to_do)
    shown = f"<ul>{to_do}</ul>" if to_do else "<p>Nothing.</p>"
    body = [
        f"<h1>{title}</h1><p>{_safe(report.when)}</p>",
        f'<div class="figures">{figures}</div><div class="todo"><h2>What to do</h2>{shown}</div>',
        *(_section(section) for section in report.sections),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
    style = f"<title>{title}, {_safe(report.when)}</title><style>{_CSS}</style>"
    return f'<!doctype html><html lang="en"><head>{head}{style}</head><body>{"".join(body)}</body></html>\n'


def markdown(report: Content) -> str:
    """Write it; plots are left to the page, tables have a line of blocks instead."""
    figures = "; ".join(f"**{number}** {name}" for number, name, _ in report.figures)
    to_do = [f"- {_plain(one)}" for one in report.to_do] or ["Nothing."]
    parts = [f"# {report.title}", "", report.when, "", figures, "", "## What to do", "", *to_do, ""]
    for section in report.sections:
        parts += _markdown_section(section)
    return "\n".join(parts).rstrip() + "\n"


def _markdown_section(section: Section) -> list[str]:
    parts = [f"## {section.title}", "", section.lead, ""]
    if section.items:
        parts += [*(f"- [ ] {one}" for one in section.items), ""]
    if section.head and not section.rows:
        parts += ["Nothing.", ""]
    elif section.head:
        rows = [
            _markdown_row(section.head),
            _markdown_row(tuple("---" for _ in section.head)),
            *map(_markdown_row, section.rows),
        ]
        parts += [*rows, ""]
    return parts


def _markdown_row(cells: Row) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str) -> str:
    """Nothing that an alert says may begin a tag or a line of its own."""
    return " ".join(text.split("\n")).replace("<", "&lt;").replace("*", "\\*")


def _breaking(text: str) -> str:
    """A long name of an alert breaks where a word of it begins."""
    return _HUMP.sub("<wbr>", _safe(text))


def _safe(text: str) -> str:
    return html.escape(text)


def _section(section: Section) -> str:
    parts = [f"<h2>{_safe(section.title)}</h2><p>{_safe(section.lead)}</p>"]
    if section.items:
        parts.append(f"<ul>{''.join(f'<li>{_safe(one)}</li>' for one in section.items)}</ul>")
    if section.head:
        parts.append(_table(section.head, section.rows))
    drawn = [_figure(plot.title, plot.caption, _line(plot)) for plot in section.plots]
    drawn += [_figure(bars.title, bars.caption, _bars(bars), "one") for bars in section.bars]
    if drawn:
        parts.append(f'<div class="plots">{"".join(drawn)}</div>')
    whole = f"<section>{''.join(parts)}</section>"
    return f"<details><summary>{_safe(section.title)}</summary>{whole}</details>" if section.folded else whole


def _figure(title: str, caption: str, svg: str, kind: str = "") -> str:
    head = f"<h3>{_safe(title)}</h3><figcaption>{_safe(caption)}</figcaption>"
    return f'<figure class="{kind}">{head}{svg}</figure>'


def _line(plot: Plot) -> str:
    chart = _chart(pygal.Line(show_dots=False, height=250, legend_at_bottom=True))
    days = [f"{datetime.fromtimestamp(at, UTC):%d %b}" for at, _ in plot.curve]
    every = max(1, len(days) // 5)
    chart.x_labels = [day if n % every == 0 else "" for n, day in enumerate(days)]
    chart.value_formatter = show
    chart.add("value", [value for _, value in plot.curve], stroke_style={"width": 1.6})
    if plot.limit is not None:
        name = f"{plot.limit_name} {show(plot.limit)}"
        chart.add(name, [plot.limit] * len(days), stroke_style={"width": 2, "dasharray": "7, 5"})
    return _svg(chart)


def _bars(bars: Bars) -> str:
    height = 60 + 30 * len(bars.names)
    chart = _chart(pygal.HorizontalBar(show_legend=False, height=height, print_values=True, show_y_labels=True))
    chart.x_labels = bars.names[::-1]  # drawn from below: the first stands on top
    chart.value_formatter = lambda value: f"{value:.0f}"
    chart.show_x_labels = False  # a horizontal bar's are its numbers, which stand in it
    chart.add("", bars.values[::-1])
    return _svg(chart)


def _chart(chart: pygal.graph.graph.Graph) -> pygal.graph.graph.Graph:
    chart.config.style = _STYLE
    chart.config.width = 520
    chart.config.margin = 6
    chart.config.truncate_label = -1
    chart.config.truncate_legend = -1
    return chart


def _svg(chart: pygal.graph.graph.Graph) -> str:
    chart.config.js = []
    chart.disable_xml_declaration = True
    chart.no_data_text = "nothing to show"
    return _SCRIPT.sub("", str(chart.render(is_unicode=True)))


def _table(head: Row, rows: tuple[Row, ...]) -> str:
    if not rows:
        return "<p>Nothing.</p>"
    long = [any(len(cell) > _SHORT for cell in column) for column in zip_longest(*rows, fillvalue="")]
    shown = "".join(f"<th>{_safe(cell)}</th>" for cell in head)
    lines = (
        "".join(
            f"<td>{_breaking(cell)}</td>"
            if n == 0
            else f'<td class="{"long" if wraps else "short"}">{_safe(cell)}</td>'
            for n, (cell, wraps) in enumerate(zip(row, long, strict=True))
        )
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><tr>{shown}</tr>{body}</table></div>'
