"""Turn a panel into Grafana's JSON, with the types of Grafana's SDK."""

import re
from dataclasses import dataclass, replace
from functools import singledispatch

from grafana_foundation_sdk.builders import bargauge, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard as built
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.panel import Bars, Column, Limit, Number, Panel, Query, Series, Stat, States, Table, Word
from grafana.tables import Numbers

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
# What is healthy is quiet: only a state that asks for action has a colour.
CALM = "transparent"  # the background of a tile
CALM_BAND = "rgba(128, 128, 128, 0.35)"  # a time without trouble, on either theme
UNKNOWN = "#808080"
_UNKNOWN = ("unknown", "not measured")  # words for missing data that somebody should look after
_FEW = 2  # rows of a legend's table that fit below a graph, and large numbers that fit beside each other on a phone
_WIDE = 12  # columns from which a graph has room for a legend beside it
REFERENCES = "ABCDEFGHIJKLMNOP"
# Colours of lines without a state: none of them is a state's colour.
LINES = ("blue", "purple", "light-blue", "dark-purple", "super-light-blue", "super-light-purple")
# https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/manage-dashboard-links/: keepTime and includeVars
# work in the links of a dashboard only; those of panels and cells need these two.
WITH_CONTEXT = "${__url_time_range}&${__all_variables}"
_STRING = re.compile(r'("(?:[^"\\]|\\.)*")')
_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_LAST = build.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)  # noqa: FBT003  # the SDK's


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a panel in the grid of 24 columns."""

    x: int
    y: int
    height: int


def environment(expr: str) -> str:
    """Insert the environment variable into every selector; without a label `env` it selects everything."""
    parts = _STRING.split(expr)
    # In PromQL, braces outside of strings are always selectors.
    inside = [part if number % 2 else part.replace("{", '{env=~"$environment", ') for number, part in enumerate(parts)]
    return "".join(inside).replace(", }", "}")


def draw(panel: Panel, place: Place, numbers: Numbers) -> dashboard.Panel:
    """Return the panel as Grafana's type; ValueError names a number that does not exist."""
    panel = _of_site(panel, numbers)
    drawn = _kind(panel, numbers).build()
    drawn.id_val = panel.id
    drawn.title, drawn.description = panel.title, numbers.say(panel.about)
    drawn.datasource = SOURCE
    drawn.grid_pos = dashboard.GridPos(h=place.height, w=panel.width, x=place.x, y=place.y)
    drawn.targets = [_target(panel, position).build() for position in range(len(panel.queries))]
    drawn.links = [_link(title, uid).build() for title, uid in panel.leads_to] or None
    config = drawn.field_config or dashboard.FieldConfigSource()
    config.defaults.unit = numbers.say(panel.unit)
    config.defaults.decimals = _decimals(panel)
    config.defaults.no_value = panel.empty
    config.defaults.mappings = _mappings(panel)
    drawn.field_config = config
    return drawn


def _of_site(panel: Panel, numbers: Numbers) -> Panel:
    """Leave out what is of a priority that nobody has configured."""
    kept = [n for n, query in enumerate(panel.queries) if query.priority in {"", *numbers.response_times}]
    if len(kept) == len(panel.queries):
        return panel
    panel = replace(panel, queries=tuple(panel.queries[n] for n in kept))
    return replace(panel, alarms=tuple(panel.alarms[n] for n in kept)) if isinstance(panel, Stat) else panel


def _mappings(panel: Panel) -> list[dashboard.ValueMapping] | None:
    """Return the value mappings; a stat without data has a neutral colour, not that of a good state."""
    mappings: list[dashboard.ValueMapping] = [_mapping(panel.words)] if panel.words else []
    if isinstance(panel, Stat) and (panel.limits or panel.words or panel.alarms):
        colour = UNKNOWN if panel.empty in _UNKNOWN else CALM
        grey = dashboard.ValueMappingResult(text=panel.empty, color=colour, index=len(panel.words))
        options = dashboard.DashboardSpecialValueMapOptions(dashboard.SpecialValueMatch.NULL_AND_NAN, grey)
        mappings.append(dashboard.SpecialValueMap(options=options))
    return mappings or None


def _decimals(panel: Panel) -> int | None:
    """Show counts as whole numbers; axes choose for themselves."""
    return 0 if panel.decimals is None and panel.unit == "locale" and not isinstance(panel, Series) else panel.decimals


def _target(panel: Panel, position: int) -> prometheus.Dataquery:
    query: Query = panel.queries[position]
    target = prometheus.Dataquery().datasource(SOURCE).ref_id(REFERENCES[position])
    target = target.expr(environment(query.expr)).legend_format(query.legend)
    if isinstance(panel, Table):
        return target.instant().format(PromQueryFormat.TABLE)
    if isinstance(panel, Bars | Stat):
        return target.instant()
    return target.range().exemplar(True) if query.exemplars else target.range()  # noqa: FBT003  # the SDK's


@singledispatch
def _kind(panel: Panel, numbers: Numbers) -> Builder[dashboard.Panel]:
    raise NotImplementedError(type(panel))


@_kind.register
def _stat(panel: Stat, numbers: Numbers) -> Builder[dashboard.Panel]:
    state = panel.limits or panel.words or panel.alarms
    named = len(panel.queries) > 1 or panel.goal
    drawn = (
        stat.Panel()
        .color_mode(common.BigValueColorMode.BACKGROUND if state else common.BigValueColorMode.NONE)
        .color_scheme(_colour(dashboard.FieldColorModeId.THRESHOLDS) if state else _fixed(LINES[0]))
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME if named else common.BigValueTextMode.AUTO)
        .reduce_options(_LAST)
        .text(build.VizTextDisplayOptions().title_size(14).value_size(34 if len(panel.queries) <= _FEW else 28))
        .thresholds(steps(_limits(panel.limits, numbers), CALM if state else "text"))
    )
    if panel.goal:
        drawn = drawn.display_name(numbers.say(panel.goal)).wide_layout(False)  # noqa: FBT003  # the SDK's
    for position, unit in enumerate(panel.units):
        drawn = drawn.override_by_query(REFERENCES[position], [dashboard.DynamicConfigValue("unit", unit)])
    for position, colour in enumerate(panel.alarms):
        alarm = steps([Limit(1, "above", colour)], CALM).build()
        drawn = drawn.override_by_query(REFERENCES[position], [dashboard.DynamicConfigValue("thresholds", alarm)])
    return drawn


@_kind.register
def _series(panel: Series, numbers: Numbers) -> Builder[dashboard.Panel]:
    drawn = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(20 if panel.stacked else 0 if any("{{" in query.legend for query in panel.queries) else 8)
        .draw_style(common.GraphDrawStyle.LINE)
        .show_points(common.VisibilityMode.AUTO)
        .color_scheme(_colour(dashboard.FieldColorModeId.PALETTE_CLASSIC))
        .tooltip(build.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
        .legend(_legend(panel))
        .thresholds(lines(_limits(panel.limits, numbers)))
    )
    nearest = min((limit.value for limit in _limits(panel.limits, numbers)), default=None)
    drawn = _axis(drawn, panel, nearest)
    if panel.stacked:
        drawn = drawn.stacking(build.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if panel.interval:
        drawn = drawn.interval(panel.interval)
    if panel.limits:
        style = build.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        drawn = drawn.thresholds_style(style)
    for query, settings in _looks(panel.queries):
        drawn = drawn.override_by_name(query.legend, settings)
    return drawn


def _axis(drawn: timeseries.Panel, panel: Series, nearest: float | None) -> timeseries.Panel:
    """Let the axis reach to the nearest limit, however far away it is, and give a count of 0 a scale."""
    if panel.smallest is not None:
        drawn = drawn.min(panel.smallest)
    elif nearest is not None:
        drawn = drawn.axis_soft_min(nearest)
    if panel.largest is not None:
        return drawn.max(panel.largest)
    if panel.smallest is None or (nearest is None and panel.unit not in {"short", "none"}):
        return drawn
    return drawn.axis_soft_max(nearest * 1.2 if nearest else 1)


def _legend(panel: Series) -> build.VizLegendOptions:
    """Return a legend with room for its names: Grafana cuts one below a graph after three rows."""
    few = len(panel.queries) <= _FEW and not any("{{" in query.legend for query in panel.queries)
    table = few or panel.width >= _WIDE
    return (
        build.VizLegendOptions()
        .show_legend(True)  # noqa: FBT003  # the SDK's
        .display_mode(common.LegendDisplayMode.TABLE if table else common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.RIGHT if table and not few else common.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"] if table else [])
    )


def _looks(queries: tuple[Query, ...]) -> list[tuple[Query, list[dashboard.DynamicConfigValue]]]:
    """Give neutral colours to lines whose names are known, and draw faint queries faintly."""
    named = [query for query in queries if "{{" not in query.legend]
    overrides = []
    for query, colour in zip(named, LINES, strict=False):
        settings: dict[str, object] = {}
        if query.faint:
            settings = {"color": {"mode": "fixed", "fixedColor": "text"}, "custom.fillOpacity": 0}
            settings["custom.lineStyle"] = {"fill": "dash", "dash": [4, 4]}
        elif len(named) == len(queries):
            settings["color"] = {"mode": "fixed", "fixedColor": colour}
        values = [dashboard.DynamicConfigValue(name, value) for name, value in settings.items()]
        overrides += [(query, values)] if values else []
    return overrides


@_kind.register
def _bars(panel: Bars, numbers: Numbers) -> Builder[dashboard.Panel]:
    drawn = (
        bargauge.Panel()
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .show_unfilled(True)  # noqa: FBT003  # the SDK's
        .value_mode(common.BarGaugeValueMode.TEXT)
        .name_placement(common.BarGaugeNamePlacement.LEFT)
        .sizing(common.BarGaugeSizing.MANUAL)
        .min_viz_height(16)
        .max_viz_height(36)
        .reduce_options(_LAST)
        .text(build.VizTextDisplayOptions().title_size(13).value_size(15))
        .min(0)
        .color_scheme(_colour(dashboard.FieldColorModeId.THRESHOLDS) if panel.limits else _fixed(LINES[0]))
        .thresholds(steps(_limits(panel.limits, numbers), LINES[0]))
    )
    # Without a name of its own, Grafana leaves the name of a single bar away: which certificate, which backup?
    for position, query in enumerate(panel.queries):
        name = _LABEL.sub(r"${__field.labels.\1}", query.legend)
        drawn = (
            drawn.override_by_query(REFERENCES[position], [dashboard.DynamicConfigValue("displayName", name)])
            if position
            else drawn.display_name(name)
        )
    above = [limit.value for limit in _limits(panel.limits, numbers) if limit.bad == "above"]
    largest = panel.largest or max(above, default=None)
    return drawn if largest is None else drawn.max(largest)


@_kind.register
def _states(panel: States, numbers: Numbers) -> Builder[dashboard.Panel]:
    return (
        statetimeline.Panel()
        .show_value(common.VisibilityMode.NEVER)
        .merge_values(True)  # noqa: FBT003  # the SDK's
        .row_height(0.7)
        .line_width(0)
        .fill_opacity(80)
        .color_scheme(_colour(dashboard.FieldColorModeId.THRESHOLDS))
        .thresholds(steps(_limits(panel.limits, numbers), CALM_BAND))
        .legend(
            build.VizLegendOptions()
            .show_legend(True)  # noqa: FBT003  # the SDK's
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .calcs([])
        )
    )


@_kind.register
def _table(panel: Table, numbers: Numbers) -> Builder[dashboard.Panel]:
    shown = [column.field for column in panel.columns]
    order = build.TableSortByFieldState().display_name(panel.sort).desc(panel.descending)
    drawn = (
        table.Panel()
        .show_header(True)  # noqa: FBT003  # the SDK's
        .cell_height(common.TableCellHeight.SM)
        .color_scheme(_colour(dashboard.FieldColorModeId.THRESHOLDS))
        .thresholds(steps(_limits(panel.limits, numbers), "text"))
        .sort_by([order])
    )
    if len(panel.queries) > 1:
        drawn = drawn.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
    drawn = drawn.with_transformation(
        dashboard.DataTransformerConfig("filterFieldsByName", options={"include": {"names": shown}})
    )
    order_of = {"indexByName": {field: number for number, field in enumerate(shown)}}
    renamed = {"renameByName": {column.field: column.heading for column in panel.columns}}
    drawn = drawn.with_transformation(
        dashboard.DataTransformerConfig("organize", options={"excludeByName": {}, **order_of, **renamed})
    )
    for column in panel.columns:
        settings = _column(column, numbers)
        drawn = drawn.override_by_name(column.heading, settings) if settings else drawn
    return drawn


def _column(column: Column, numbers: Numbers) -> list[dashboard.DynamicConfigValue]:
    # An empty cell shows the text of an empty table unless it has its own.
    settings: list[tuple[str, object]] = [("noValue", "-")]
    if column.unit:
        settings.append(("unit", column.unit))
    if column.width:
        settings.append(("custom.width", column.width))
    if column.words:
        settings.append(("mappings", [_mapping(column.words)]))
    if column.limits:
        settings.append(("thresholds", steps(_limits(column.limits, numbers), "text").build()))
    if column.limits or any(word.colour for word in column.words):
        settings.append(("custom.cellOptions", {"type": "color-text"}))
    if column.link:
        settings.append(("links", [{"title": column.link_title, "url": column.link, "targetBlank": True}]))
    return [dashboard.DynamicConfigValue(name, value) for name, value in settings]


def _limits(named: tuple[Number, ...], numbers: Numbers) -> list[Limit]:
    return sorted((numbers.limit(one) for one in named), key=lambda limit: limit.value)


def _mapping(words: tuple[Word, ...]) -> dashboard.ValueMap:
    result = dashboard.ValueMappingResult
    return dashboard.ValueMap({one.value: result(one.text, one.colour or None, index=n) for n, one in enumerate(words)})


def steps(ordered: list[Limit], good: str) -> built.ThresholdsConfig:
    """Return the colours of a state: good on one side of the limits, the limits' colours on the other."""
    below = [limit for limit in ordered if limit.bad == "below"]
    above = [limit for limit in ordered if limit.bad == "above"]
    colours = [limit.colour for limit in below] + [good] + [limit.colour for limit in above]
    values: list[float | None] = [None, *(limit.value for limit in below), *(limit.value for limit in above)]
    return _thresholds(list(zip(values, colours, strict=True)))


def lines(ordered: list[Limit]) -> built.ThresholdsConfig:
    """Return the limits as lines; only the lines are coloured."""
    return _thresholds([(None, "transparent"), *((limit.value, limit.colour) for limit in ordered)])


def _thresholds(pairs: list[tuple[float | None, str]]) -> built.ThresholdsConfig:
    steps = [dashboard.Threshold(value=value, color=colour) for value, colour in pairs]
    return built.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def _colour(mode: dashboard.FieldColorModeId) -> built.FieldColor:
    return built.FieldColor().mode(mode)


def _fixed(colour: str) -> built.FieldColor:
    return built.FieldColor().mode(dashboard.FieldColorModeId.FIXED).fixed_color(colour)


def address(uid: str) -> str:
    """Return the address of a dashboard, with the time range and the variables of the one that leads there."""
    return f"/d/{uid}?{WITH_CONTEXT}"


def _link(title: str, uid: str) -> built.DashboardLink:
    return built.DashboardLink(title).type(dashboard.DashboardLinkType.LINK).url(address(uid))
