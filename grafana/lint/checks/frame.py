"""Checks of a dashboard as a whole: its name, its variables, and that nobody edits it in the browser."""

from collections import Counter
from collections.abc import Iterator

from grafana.lint.board import Document
from grafana.lint.query import BUILT_IN, VARIABLE, names, selector_of
from grafana.lint.scene import Complaint, Scene

SOURCE = "${datasource}"
_SCHEMA = 42  # the newest that Grafana 10 to 13 all load from a file
_ON_TIME_CHANGE = 2
_MOST = 25


def dashboard_without_name(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A dashboard without a uid that begins with the site's prefix, a title or a description."""
    board, prefix = document.board, scene.world.here.site.prefix
    if not board.uid.startswith(f"{prefix}-"):
        yield Complaint(
            None, f'the uid is "{board.uid}"', f"begin it with {prefix}-: links lead to it, and it must not change"
        )
    for name in ("title", "description"):
        if not getattr(board, name).strip():
            yield Complaint(None, f"it has no {name}", f"write a {name}: what question does it answer, and whose?")


def duplicate_uid(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A uid that two dashboards share: Grafana loads only one of them."""
    for other in scene.boards:
        if other.path != document.path and other.board.uid == document.board.uid:
            yield Complaint(
                None, f"the uid {document.board.uid} is also that of {other.path}", "give one of them another uid"
            )


def crowded_dashboard(document: Document, _: Scene) -> Iterator[Complaint]:
    """A dashboard with more than 25 panels: the one that matters is hard to find."""
    panels = len(document.board.shown())
    if panels > _MOST:
        yield Complaint(None, f"it has {panels} panels (at most {_MOST})", "split it, one question for each dashboard")


def editable_dashboard(document: Document, _: Scene) -> Iterator[Complaint]:
    """A dashboard that can be edited in the browser: the next provisioning overwrites the edits."""
    if document.board.editable:
        yield Complaint(None, "it can be edited in the browser", "set editable to false (`readonly()` of the SDK)")


def wrong_schema(document: Document, _: Scene) -> Iterator[Complaint]:
    """A schema version that one of Grafana 10 to 13 does not load from a file."""
    if document.board.schema != _SCHEMA:
        yield Complaint(None, f"schemaVersion is {document.board.schema}", f"set it to {_SCHEMA}")


def datasource_variable(document: Document, _: Scene) -> Iterator[Complaint]:
    """A dashboard without exactly one data source variable for Prometheus, named datasource."""
    datasources = [one for one in document.board.templating.every if one.type == "datasource"]
    good = len(datasources) == 1 and datasources[0].name == "datasource" and datasources[0].text() == "prometheus"
    if not good:
        shown = ", ".join(f"${one.name} ({one.text()})" for one in datasources) or "none"
        fix = "have one data source variable, named datasource, with the query prometheus"
        yield Complaint(None, f"its data source variables are: {shown}", fix)


def narrow_variable(document: Document, _: Scene) -> Iterator[Complaint]:
    """A query variable without multiple values, All or a refresh on time range change: new series stay hidden."""
    for one in document.board.templating.every:
        if one.type != "query":
            continue
        missing = [
            fix
            for wrong, fix in (
                (not one.label, "a label"),
                (not one.multi, "multi"),
                (not one.include_all, "includeAll"),
                (one.all_value not in (".*", ".+"), 'an allValue of ".+" (".*" where the label may be missing)'),
                (one.refresh != _ON_TIME_CHANGE, "refresh 2 (when the time range changes)"),
                (one.datasource is None or one.datasource.uid != SOURCE, f"the datasource {SOURCE}"),
            )
            if wrong
        ]
        if missing:
            yield Complaint(one, f"it lacks {', '.join(missing)}", "add what is missing")


def undeclared_variable(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A $variable that the dashboard does not define: Grafana sends its name as text, and the query returns nothing."""
    declared = {one.name for one in document.board.templating.every} | BUILT_IN
    for query in scene.queries(document):
        for name in sorted(names(query.text) - declared):
            yield Complaint(query, f"there is no variable ${name}", f"declare it, or use one of {_offered(document)}")


def unused_variable(document: Document, _: Scene) -> Iterator[Complaint]:
    """A variable that no query uses: changing it has no effect."""
    uses = {m["plain"] or m["braced"] or m["old"] for m in VARIABLE.finditer(document.text)}
    for one in document.board.templating.every:
        if one.name not in uses:
            yield Complaint(one, "no query and no link uses it", "remove it, or use it")


def variable_as_one_value(document: Document, scene: Scene) -> Iterator[Complaint]:
    """A multi-value variable compared with `=`: with two values selected, the query returns nothing."""
    several = {one.name for one in document.board.templating.every if one.multi or one.include_all}
    for query in scene.queries(document):
        for match in VARIABLE.finditer(query.text):
            name = match["plain"] or match["braced"] or match["old"]
            before = query.text[: match.start()].rstrip('" ')
            if name in several and before.endswith(("=", "!=")):
                yield Complaint(query, f"${name} can have several values and is compared by =", f'write =~"${name}"')


def variable_without_values(document: Document, _: Scene) -> Iterator[Complaint]:
    """A query variable that is not label_values(selector, label): the checks cannot evaluate it."""
    for one in document.board.templating.every:
        if one.type == "query" and selector_of(one) is None:
            yield Complaint(one, f"its query is {one.text()!r}", "write label_values(selector, label)")


def repeated_id(document: Document, _: Scene) -> Iterator[Complaint]:
    """A panel without a unique id: after the next change, links to it open another panel."""
    counted = Counter(panel.id for panel in document.board.every())
    for panel in document.board.every():
        if not panel.id:
            yield Complaint(panel, "it has no id", "give it a number that no other panel has and that never changes")
        elif counted[panel.id] > 1:
            shared = [one.title for one in document.board.every() if one.id == panel.id and one is not panel]
            yield Complaint(
                panel, f"{', '.join(shared) or 'another panel'} has its id too", "give one of them a new id"
            )


def _offered(document: Document) -> str:
    return ", ".join(f"${one.name}" for one in document.board.templating.every)
