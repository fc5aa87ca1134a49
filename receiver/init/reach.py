"""Says which routes an alert reaches when only some of its labels are known: yes, maybe or no. Pure.

Labels that series bring along are unknown before an alert fires, so a matcher on one of them may match.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum

from receiver.init.alertmanager_file import Node
from receiver.policy.matcher import Matcher


class Sure(IntEnum):
    """How sure something is; ``min`` of two is "both", ``max`` is "one of them"."""

    NO = 0
    MAYBE = 1
    YES = 2

    @property
    def otherwise(self) -> "Sure":
        """How sure the opposite is."""
        return Sure(2 - self)


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> Sure:
    """Say whether all of them match; ``labels`` are those that are known."""
    return min((_matches(matcher, labels) for matcher in matchers), default=Sure.YES)


def _matches(matcher: Matcher, labels: Mapping[str, str]) -> Sure:
    if matcher.label not in labels:
        return Sure.MAYBE
    return Sure.YES if matcher.matches(dict(labels)) else Sure.NO


def may_miss(node: Node, labels: Mapping[str, str], ours: Collection[str]) -> bool:
    """Say whether an alert that is at this route may tell none of these receivers.

    Unlike ``reached``, which looks at each route by itself: one of two routes may be sure where neither is.
    """
    untaken, taken = True, False  # may it have passed the children so far unmatched; may one have had it, and gone on
    for child in node.children:
        match = matches(child.matchers, labels)
        if match is Sure.NO:
            continue
        missed = (untaken or taken) and may_miss(child, labels, ours)
        if missed and not child.goes_on:
            return True
        if match is Sure.YES:
            untaken, taken = False, False
        taken = taken or missed
    return taken or (untaken and node.receiver not in ours)


def reached(root: Node, labels: Mapping[str, str]) -> dict[str, Sure]:
    """Give the routes whose receiver may be told, by their place in the file."""
    found: dict[str, Sure] = {}
    _visit(root, labels, Sure.YES, found)
    return found


def _visit(node: Node, labels: Mapping[str, str], reach: Sure, found: dict[str, Sure]) -> None:
    """The first child that matches takes the alert, unless it continues; if none does, the node itself has it."""
    left, taken = reach, Sure.NO
    for child in node.children:
        match = min(left, matches(child.matchers, labels))
        if match is Sure.NO:
            continue
        _visit(child, labels, match, found)
        taken = max(taken, match)
        if not child.goes_on:
            left = min(left, match.otherwise)
    own = min(reach, taken.otherwise)
    if own is not Sure.NO:
        found[node.at] = own
