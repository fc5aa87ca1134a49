"""Says when the steps of a plan, the warning and the end of the response time are due. Pure.

A step that is for named hours counts its time in these hours: four hours after Friday 18:00 in an office that is open
from 09:00 to 18:00 are over on Monday at 13:00. The first row of these hours is taken as soon as they open. When that
is the first page of all, everything else counts from it, so that nothing is late before anybody was told.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec.structs import replace

from receiver.incident.model import Clocks, Plan, Step
from receiver.incident.policy import Policy


def begin(plan: Plan, now: datetime, policy: Policy) -> tuple[Plan, Clocks]:
    """Start a plan: the first step in its place, and the clocks of all that follows."""
    plan, due = upcoming(plan, 0, now, policy)
    if due is None:
        return plan, Clocks(started_at=now, answer_due_at=now + timedelta(seconds=plan.response_time))
    started = due - timedelta(seconds=plan.steps[0].after)  # later than now only if the hours have not begun
    warn, answer = response(plan, started, policy)
    return plan, Clocks(started_at=started, next_due_at=due, warn_due_at=warn, answer_due_at=answer)


def upcoming(plan: Plan, index: int, started: datetime, policy: Policy) -> tuple[Plan, datetime | None]:
    """Give the plan with its next step at ``index``, and when that is due after ``started``; None past the last."""
    counted = {step.hours for step in plan.steps[:index]}

    def due(step: Step) -> datetime:
        hours = step.hours if step.hours in counted else ""  # the first row of its hours waits for nothing but them
        return _opens(step, policy.after(hours, started, step.after), policy)

    return _next_in_place(plan, index, due)


def response(plan: Plan, started: datetime, policy: Policy) -> tuple[datetime | None, datetime]:
    """Give the warning and the end of the response time, in the hours of the first step and never before it."""
    first = plan.steps[0] if plan.steps else Step(0.0, ())
    paged = started + timedelta(seconds=first.after)
    answer = policy.after(first.hours, started, plan.response_time)
    if answer <= paged:
        answer = policy.after(first.hours, paged, plan.response_time)
    if not plan.warn_after:
        return None, answer
    warn = policy.after(first.hours, started, plan.warn_after)
    if warn <= paged:
        warn = policy.after(first.hours, paged, plan.warn_after)
    return (warn if warn < answer else None), answer


def repeated(plan: Plan, fired: datetime, policy: Policy) -> datetime | None:
    """Say when the last step is taken again; None for never."""
    if not plan.repeat_every or not plan.steps:
        return None
    last = plan.steps[-1]
    return _opens(last, policy.after(last.hours, fired, plan.repeat_every), policy)


def within(step: Step, at: datetime, policy: Policy) -> datetime:
    """Give the first moment, not before ``at``, at which the step may be taken."""
    return _opens(step, at, policy)


def _opens(step: Step, at: datetime, policy: Policy) -> datetime:
    return policy.opens(step.hours, at) if step.hours else at


def _next_in_place(plan: Plan, index: int, due: Callable[[Step], datetime]) -> tuple[Plan, datetime | None]:
    """Move the step that is due first to ``index``; a row is not overtaken by a later one.

    Rows that share a time are for different hours: the one whose hours come first is taken, the others when theirs do.
    """
    taken, left = plan.steps[:index], plan.steps[index:]
    if not left:
        return plan, None
    times = {step.after for step in taken}
    row = min((step.after for step in left if step.after not in times), default=None)
    candidates = [step for step in left if step.after == row or step.after in times]
    first = min(candidates, key=due) if len(candidates) > 1 else candidates[0]
    if first is left[0]:
        return plan, due(first)
    others = list(left)
    others.remove(first)
    return replace(plan, steps=(*taken, first, *others)), due(first)


def shifted(step: Step, at: datetime, since: datetime, now: datetime, policy: Policy) -> datetime:
    """Move a time on by a pause, of which only what lay in the hours of the step counts."""
    return policy.after(step.hours, at, policy.between(step.hours, since, now))
