"""Writes the report as Markdown, for a wiki, a ticket or a chat. Pure."""

from receiver.reports.review.content import Content, Row, Section


def markdown(given: Content) -> str:
    """Write it; plots are left to the page, tables have a line of blocks instead."""
    figures = "; ".join(f"**{number}** {name}" for number, name, _ in given.figures)
    to_do = [f"- {_plain(one)}" for one in given.to_do] or ["Nothing."]
    parts = [f"# {given.title}", "", given.when, "", figures, "", "## What to do", "", *to_do, ""]
    for section in given.sections:
        parts += _section(section)
    return "\n".join(parts).rstrip() + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {section.title}", "", section.lead, ""]
    if section.items:
        parts += [*(f"- [ ] {one}" for one in section.items), ""]
    if section.head and not section.rows:
        parts += ["Nothing.", ""]
    elif section.head:
        rows = [_line(section.head), _line(tuple("---" for _ in section.head)), *map(_line, section.rows)]
        parts += [*rows, ""]
    return parts


def _line(cells: Row) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _plain(text: str) -> str:
    """Nothing that an alert says may begin a tag or a line of its own."""
    return " ".join(text.split("\n")).replace("<", "&lt;").replace("*", "\\*")
