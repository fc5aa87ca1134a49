"""Every check by its name: the function's own, with dashes; the first line of its docstring says what it finds."""

from collections.abc import Callable, Iterator
from functools import partial

from grafana.lint.board import Document
from grafana.lint.checks import frame, layout, legends, links, numbers, panels, queries, roundtrip
from grafana.lint.scene import Complaint, Scene

Check = Callable[[Document, Scene], Iterator[Complaint]]
_OWN: tuple[Check, ...] = (
    roundtrip.unknown_key,
    frame.dashboard_without_name,
    frame.duplicate_uid,
    frame.crowded_dashboard,
    frame.editable_dashboard,
    frame.wrong_schema,
    frame.datasource_variable,
    frame.narrow_variable,
    frame.undeclared_variable,
    frame.unused_variable,
    frame.variable_as_one_value,
    frame.variable_without_values,
    frame.repeated_id,
    layout.overlapping_panels,
    layout.beyond_the_grid,
    layout.hole_in_the_grid,
    panels.nameless_panel,
    panels.panel_without_query,
    panels.repeated_ref_id,
    panels.fixed_datasource,
    panels.unknown_unit,
    panels.wrong_unit,
    panels.silent_emptiness,
    panels.accidental_colour,
    panels.usage_shows_available,
    queries.unreadable_query,
    queries.own_window,
    queries.unaggregated_counter,
    queries.fractional_count,
    legends.legend_without_label,
    legends.legend_lacks_label,
    legends.unknown_legend_label,
    legends.repeated_legend,
    numbers.lost_threshold,
    numbers.invented_threshold,
    numbers.undrawn_threshold,
    links.dead_link,
    links.link_without_context,
)
_OF_RULES = "alert-to-nowhere"
CHECKS: dict[str, Check] = {check.__name__.replace("_", "-"): check for check in _OWN} | {
    check.__name__.replace("_", "-"): partial(queries.shared, check) for check in queries.SHARED
}
_ABOUT = {
    check.__name__.replace("_", "-"): (check.__doc__ or "").strip().partition("\n")[0]
    for check in (*_OWN, *queries.SHARED, links.alert_to_nowhere)
}
NAMES = (*CHECKS, _OF_RULES)
UNREADABLE, ALERT_TO_NOWHERE = "unreadable-dashboard", _OF_RULES


def about(name: str) -> str:
    """Say what a check finds."""
    return _ABOUT[name]
