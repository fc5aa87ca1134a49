"""Checks of links: every dashboard, panel and runbook that one leads to exists."""

import re
from collections.abc import Iterator
from difflib import get_close_matches

from grafana.lint.board import Document, Panel
from grafana.lint.scene import Complaint, Place, Scene
from rules.lint.source import Rule

_DASHBOARD = re.compile(r"/d/(?P<uid>[\w-]+)(?:[/?][^\s)\"]*?viewPanel=(?:panel-)?(?P<panel>\d+))?")
_PAGE = re.compile(r"/blob/main/(?P<path>[^\s)\"#?]+)")
_CONTEXT = ("${__url_time_range}", "${__all_variables}")
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}|\$\w+")


def dead_link(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A link to a dashboard, a panel or a page of the repository that does not exist."""
    for place, url in _links(document):
        for link in _DASHBOARD.finditer(url):
            if wrong := _missing(link["uid"], link["panel"], scene):
                yield Complaint(place, f"{url}: {wrong}", "correct the link")
        for link in _PAGE.finditer(url):
            path = link["path"]
            folder, _, name = path.rpartition("/")
            there = scene.root / (folder if _PLACEHOLDER.search(name) else path)
            if not there.exists():
                like = get_close_matches(name, [one.name for one in there.parent.glob("*")], 1)
                fix = f"write {folder}/{like[0]}" if like else "correct the link, or write the page"
                yield Complaint(place, f"{url}: there is no {path}", fix)


def link_without_context(document: Document, _: Scene) -> Iterator[Complaint]:
    """A link to a dashboard that does not keep the time range or the variables."""
    for link in document.board.links:
        if (link.type == "dashboards" or _DASHBOARD.search(link.url)) and not (link.keep_time and link.include_vars):
            yield Complaint(None, f'the link "{link.title}" loses them', "set keepTime and includeVars")
    for panel in document.board.every():
        for url in _of_panel(panel):
            lost = [one for one in _CONTEXT if one not in url]
            if lost and _DASHBOARD.search(url):
                yield Complaint(panel, f"{url} loses them", f"add {'&'.join(lost)} to it")


def alert_to_nowhere(rule: Rule, scene: Scene) -> str:
    """An alert whose dashboard_url leads to no dashboard or panel, or to a panel in a folded row."""
    url = rule.annotations.get("dashboard_url", "")
    link = _DASHBOARD.search(url)
    if link is None:
        return f"its dashboard_url is {url!r}" if url else ""
    wrong = _missing(link["uid"], link["panel"], scene) or _folded(link["uid"], link["panel"], scene)
    return f"{url}: {wrong}" if wrong else ""


def _folded(uid: str, panel: str | None, scene: Scene) -> str:
    document = scene.board(uid)
    rows = document.board.panels if document and panel else []
    row = next((row for row in rows if row.collapsed and int(panel or 0) in {one.id for one in row.panels}), None)
    return f'panel {panel} is in the folded row "{row.title}"' if row else ""


def _missing(uid: str, panel: str | None, scene: Scene) -> str:
    document = scene.board(uid)
    if document is None:
        return f"there is no dashboard {uid}; there are {', '.join(sorted(one.board.uid for one in scene.boards))}"
    if panel and int(panel) not in {one.id for one in document.board.every()}:
        return f"{uid} has no panel {panel}"
    return ""


def _links(document: Document) -> Iterator[tuple[Place, str]]:
    yield from ((None, link.url) for link in document.board.links)
    for panel in document.board.every():
        yield from ((panel, url) for url in [*_of_panel(panel), panel.options.content])


def _of_panel(panel: Panel) -> list[str]:
    links = [link.url for link in (*panel.links, *panel.field.defaults.links)]
    return links + [str(one.get("url", "")) for value in panel.overridden("links") for one in value or ()]
