"""Turn a board into dashboard JSON: layout, variables, annotations and links."""

import json

from grafana_foundation_sdk.builders import dashboard as built
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from grafana.drawing import SOURCE, Place, draw, environment
from grafana.panel import Board, Section
from grafana.tables import Numbers
from rules.writing import RUNBOOKS, SITE

WIDTH = 24
SCHEMA = 42  # what Grafana 10 to 13 load by file; the newer ones migrate it as they load it
ADDRESSES = {"alertmanager": SITE.alertmanager}  # its public URL
_VALUES = {
    "job": ("Job", "label_values(http_requests_total, job)", "The application whose requests are shown."),
    "team": ("Team", "label_values(ALERTS, team)", "The team whose alerts and incidents are shown."),
    "host": ("Host", "label_values(node_memory_MemTotal_bytes, instance)", "The hosts that are shown."),
}


def written(board: Board, numbers: Numbers) -> str:
    """Return the JSON of the dashboard.

    Raises:
        ValueError: the widths of a line do not fill the grid, or an id is used twice.

    """
    _check(board)
    drawn = (
        built.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags([SITE.prefix])
        .readonly()
        .refresh(board.refresh)
        .time(board.span, "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables([*_variables(board), *_addresses()])
        .annotations(_annotations())
        .links(_links())
        .build()
    )
    drawn.panels = _panels(board, numbers)
    drawn.schema_version = SCHEMA
    return json.dumps(drawn, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _panels(board: Board, numbers: Numbers) -> list[dashboard.Panel | dashboard.RowPanel]:
    panels: list[dashboard.Panel | dashboard.RowPanel] = []
    y = 0
    for section in board.sections:
        row = built.Row(section.title).id(section.id).grid_pos(dashboard.GridPos(h=1, w=WIDTH, x=0, y=y)).build()
        inside = _inside(section, y + 1, numbers)
        row.collapsed = section.folded
        panels.append(row)
        if section.folded:
            row.panels = inside
            y += 1
        else:
            panels += inside
            y += 1 + sum(line.height for line in section.lines)
    return panels


def _inside(section: Section, y: int, numbers: Numbers) -> list[dashboard.Panel]:
    panels = []
    for line in section.lines:
        x = 0
        for panel in line.panels:
            panels.append(draw(panel, Place(x, y, line.height), numbers))
            x += panel.width
        y += line.height
    return panels


def _check(board: Board) -> None:
    seen: dict[int, str] = {}
    named = [(section.id, section.title) for section in board.sections]
    for number, title in [*named, *((panel.id, panel.title) for panel in board.panels())]:
        if number in seen:
            raise ValueError(f"{board.uid}: {title} and {seen[number]} both have the id {number}")
        seen[number] = title
    for section in board.sections:
        for line in section.lines:
            width = sum(panel.width for panel in line.panels)
            if width != WIDTH:
                titles = ", ".join(panel.title for panel in line.panels)
                raise ValueError(f"{board.uid}: {titles} have a total width of {width} (expected {WIDTH})")


def _variables(board: Board) -> list[Builder[dashboard.VariableModel]]:
    source = built.DatasourceVariable("datasource").label("Data source").type("prometheus")
    variables = [
        source,
        _choice("environment", "Environment", "label_values(up, env)", ".*").description(
            "The label env of a store that holds several environments. In a single Prometheus only alerts have it."
        ),
    ]
    for name in board.variables:
        label, query, about = _VALUES[name]
        variables.append(_choice(name, label, query, ".+").description(about))
    return variables


def _choice(name: str, label: str, query: str, everything: str) -> built.QueryVariable:
    return (
        built.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)  # noqa: FBT003  # the SDK's
        .include_all(True)  # noqa: FBT003  # the SDK's
        .all_value(everything)
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _addresses() -> list[Builder[dashboard.VariableModel]]:
    return [built.ConstantVariable(name).value(url).description("URL.") for name, url in ADDRESSES.items()]


def _annotations() -> list[Builder[dashboard.AnnotationQuery]]:
    labels = "priority, team, alertname"
    opened = 'receiver_incidents_opened_total{job="receiver"}'
    # A combination of labels that is new has no earlier value: count it from 0.
    before = f"(sum by ({labels}) ({opened} offset 1m) or 0 * sum by ({labels}) ({opened}))"
    incidents = f"sum by ({labels}) ({opened}) - {before} > 0"
    deployed = f'time() - max by (job) (deployment_last_timestamp_seconds{{job="{SITE.app}"}}) < 120'
    return [
        _annotation(
            "Incidents", "red", incidents, "{{priority}} {{alertname}}", "An incident of team {{team}} was opened."
        ),
        _annotation("Deployments", "blue", deployed, "Deployed", "{{job}} was deployed."),
    ]


def _annotation(name: str, colour: str, expr: str, title: str, text: str) -> built.AnnotationQuery:
    return (
        built.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)  # noqa: FBT003  # the SDK's
        .icon_color(colour)
        .expr(environment(expr))
        .step("60s")
        .title_format(title)
        .text_format(text)
        .tag_keys("priority,team")
    )


def _links() -> list[Builder[dashboard.DashboardLink]]:
    boards = built.DashboardLink("Dashboards").type(dashboard.DashboardLinkType.DASHBOARDS).tags([SITE.prefix])
    outside = {
        "Runbooks": (f"{RUNBOOKS}/README.md", "What to do about each alert"),
        "Alertmanager": ("${alertmanager}/#/alerts", "Firing alerts and silences"),
    }
    return [
        boards.as_dropdown(True).include_vars(True).keep_time(True),  # noqa: FBT003  # the SDK's
        *(
            built.DashboardLink(title)
            .type(dashboard.DashboardLinkType.LINK)
            .icon("external link")
            .tooltip(tooltip)
            .url(url)
            .target_blank(True)  # noqa: FBT003  # the SDK's
            for title, (url, tooltip) in outside.items()
        ),
    ]
