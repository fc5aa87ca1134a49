"""Maps the escalation chains of Grafana OnCall to rows, and walks them a second time to prove it. Pure.

Steps: engine/apps/public_api/serializers/escalation_policies.py and
engine/apps/alerts/models/escalation_policy.py of grafana/oncall@3666186.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from receiver.importing.draft import MOST_ROWS, Hours, Report, Row, Told, merged_rows

REPEATS = 5  # EscalationPolicy.MAX_TIMES_REPEAT
_DEFAULT_WAIT = 300  # seconds
_UNKNOWN = {
    "notify_user_group": "Slack user groups are not in the API",
    "notify_whole_channel": "a whole Slack channel is not called to; the team's channel is told anyway",
    "resolve": "an incident ends when its alerts do, or by hand",
    "declare_incident": "needs Grafana Incident",
    "trigger_action": "webhooks: use channels.webhook",
    "trigger_webhook": "webhooks: use channels.webhook",
    "notify_if_num_alerts_in_window": "steps do not depend on the number of alerts; those after it are taken",
}


class Step(msgspec.Struct, frozen=True):
    """`escalation_policies` of the API."""

    id: str
    escalation_chain_id: str
    type: str | None = None
    position: int = 0
    duration: float | None = None
    important: bool | None = None
    persons_to_notify: list[str] | None = None
    persons_to_notify_next_each_time: list[str] | None = None
    notify_on_call_from_schedule: str | None = None
    team_to_notify: str | None = None
    notify_if_time_from: str | None = None
    notify_if_time_to: str | None = None


Names = Callable[[Step], tuple[str, ...]]


def rows(steps: Sequence[Step], names: Names, hours: dict[str, Hours], chain: str, report: Report) -> tuple[Row, ...]:
    """Give the chain as rows, its loop unrolled; ``hours`` gets those that rows name."""
    ordered, made = sorted(steps, key=lambda step: step.position), list[Row]()
    for step in ordered:
        _say(step, chain, report)
    repeats = [number for number, step in enumerate(ordered) if step.type == "repeat_escalation"]
    once = ordered[: repeats[0]] if repeats else ordered
    passed, only = 0, ""
    for step in once * (1 + REPEATS * bool(repeats)):
        if step.type == "wait":
            passed += _wait(step)
        elif step.type == "notify_if_time_from_to":
            only = _hours(step, hours)
        else:
            made.append(Row(passed, names(step), only))
    return merged_rows(made, "escalation chain", chain, report)


def told(steps: Iterable[Step], names: Names) -> tuple[Told, ...]:
    """Walk the chain as OnCall's worker does: a cursor, a clock and a counter of repetitions."""
    ordered = sorted(steps, key=lambda step: step.position)
    heard: dict[int, frozenset[str]] = {}
    cursor, clock, repeated = 0, 0, 0
    while cursor < len(ordered):
        step = ordered[cursor]
        cursor += 1
        if step.type == "wait":
            clock += _wait(step)
        elif step.type == "repeat_escalation":
            repeated += 1
            if repeated > REPEATS:
                break
            cursor = 0
        elif whom := frozenset(names(step)):
            heard[clock] = heard.get(clock, frozenset()) | whom
    return tuple(Told(after, heard[after]) for after in sorted(heard)[:MOST_ROWS])


def has_hours(steps: Iterable[Step]) -> bool:
    """Say whether steps wait for hours of the day, so that no time line holds at every hour."""
    return any(step.type == "notify_if_time_from_to" for step in steps)


def _wait(step: Step) -> int:
    return int(step.duration if step.duration is not None else _DEFAULT_WAIT)


def _hours(step: Step, hours: dict[str, Hours]) -> str:
    start, end = (str(time or "00:00")[:5] for time in (step.notify_if_time_from, step.notify_if_time_to))
    name = f"utc-{start.replace(':', '')}-{end.replace(':', '')}"
    hours[name] = Hours(f"{start}-{end}", "UTC")
    return name


def _say(step: Step, chain: str, report: Report) -> None:
    kind, name = "escalation step", f"{chain} #{step.position + 1} {step.type}"
    if step.type in _UNKNOWN:
        report.not_mapped(kind, name, _UNKNOWN[step.type])
    elif step.type == "notify_if_time_from_to":
        report.approximated(kind, name, "`only` on the rows after it; times between them count in these hours")
    elif step.type == "notify_person_next_each_time":
        report.approximated(kind, name, "everybody is told, instead of the next one at each alert")
    elif step.type == "notify_team_members":
        report.approximated(kind, name, "the members of today")
    elif step.type in {"notify_persons", "notify_on_call_from_schedule"}:
        if step.important:
            report.approximated(kind, name, "important: the person's rules for P1 and P2 apply by priority")
        else:
            report.exact(kind, name)
    elif step.type in {"wait", "repeat_escalation"}:
        report.exact(kind, name)
    else:
        report.not_mapped(kind, name, "unknown type")
