"""Checks of alerts: they can fire, can be quiet, and lead a person on."""

from collections.abc import Iterator

from promql_parser import Expr, VectorSelector

from rules.lint.expression import COMPARISONS, bare, binaries, calls, filters, name_of
from rules.lint.fault import Fault
from rules.lint.source import Rule
from rules.lint.world import World

_WORTH = {"critical": ("P1",), "warning": ("P2",), "info": ("P3", "P4", "P5"), "none": (None,)}
_ANNOTATIONS = ("summary", "description", "dashboard_url")


def unfiltered_alert(rule: Rule, _: World) -> Iterator[Fault]:
    """An alert without a comparison that filters: every series fires all the time. `bool` does not filter."""
    if rule.alerts and not filters(rule.tree):
        yield Fault("every series of the result fires, always", "compare with a threshold, without `bool`", "expr")


def impossible_threshold(rule: Rule, world: World) -> Iterator[Fault]:
    """A ratio compared with more than 1, such as 14.4 times an error budget of 10 %: it can never fire."""
    for node in binaries(rule.tree, *COMPARISONS) if rule.alerts else ():
        share, numbers = _share(node.lhs), world.constants(node.rhs)
        if not share or numbers is None:
            continue
        if str(node.op) in {">", ">="} and max(numbers) >= 1:
            text = f"{share} is a share, and is never more than 1; the threshold is {max(numbers):g}"
            yield Fault(text, "lower the threshold or the factor, or raise the objective", share)
        if str(node.op) in {"<", "<="} and min(numbers) <= 0:
            text = f"{share} is a share, and is never less than 0; the threshold is {min(numbers):g}"
            yield Fault(text, "raise the threshold", share)


def _share(node: Expr) -> str:
    node = bare(node)
    name = name_of(node) if isinstance(node, VectorSelector) else ""
    return name if ":ratio" in name or name.endswith("_ratio") else ""


def absent_without_for(rule: Rule, _: World) -> Iterator[Fault]:
    """absent() without `for`: it fires at each restart of a target or of Prometheus."""
    if rule.alerts and not rule.wait and calls(rule.tree, "absent"):
        yield Fault("absent() without `for`", "add a `for` longer than a restart, as 10m", "absent")


def missing_label(rule: Rule, _: World) -> Iterator[Fault]:
    """An alert without severity, team or priority: it cannot be routed."""
    if rule.alerts:
        needed = ("severity", "team", *(() if rule.labels.get("severity") == "none" else ("priority",)))
        for label in needed:
            if not rule.labels.get(label):
                yield Fault(f"it has no label {label}", f"add {label} to its labels", "labels")


def wrong_priority(rule: Rule, _: World) -> Iterator[Fault]:
    """A priority that does not match its severity: critical is P1, warning P2, info P3 to P5, none has none."""
    severity, priority = rule.labels.get("severity"), rule.labels.get("priority")
    if not rule.alerts or severity is None or "{{" in severity:
        return
    worth = _WORTH.get(severity)
    if worth is None:
        yield Fault(f"severity {severity} is none of {', '.join(_WORTH)}", "write one of them", "severity")
    elif priority is not None and priority not in worth:
        named = " or ".join(word for word in worth if word) or "none"
        yield Fault(
            f"severity {severity} with priority {priority}", f"the priority of {severity} is {named}", "priority"
        )


def missing_annotation(rule: Rule, _: World) -> Iterator[Fault]:
    """An alert without summary, description or dashboard_url."""
    for annotation in _ANNOTATIONS if rule.alerts else ():
        if not rule.annotations.get(annotation):
            yield Fault(f"it has no {annotation}", f"add {annotation} to its annotations", "annotations")


def missing_runbook(rule: Rule, world: World) -> Iterator[Fault]:
    """An alert without a runbook_url, or whose page is not in docs/runbooks."""
    runbooks = world.here.site.runbooks
    if not rule.alerts:
        return
    url = rule.annotations.get("runbook_url", "").partition("#")[0]
    page = f"{rule.name}.md"
    if not url:
        yield Fault("it has no runbook_url", f"add runbook_url: {runbooks}/{page}", "annotations")
    elif url != f"{runbooks}/{page}":
        yield Fault(f"its runbook_url is not its own page: {url}", f"write {runbooks}/{page}", "runbook_url")
    elif page not in world.here.runbooks:
        yield Fault(
            f"docs/runbooks/{page} does not exist", "write the page; docs/runbooks/README.md says how", "runbook_url"
        )
