"""Read a storm's history and say what the receiver did wrong; it shares no code with the receiver.

``python -m tests.crash.check FILE`` prints each fault and ends with 1 if there is any.
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

Line = dict[str, Any]
GRACE = 5.0  # seconds in which what was under way may still arrive, or what was answered is written down
FAILING_STARTS = 3
STATES = ("triggered", "acknowledged", "resolved", "unknown")
SLOW = 3.0  # seconds for a request; whatever is written may take as long
LONGEST = 20.0  # seconds that something may wait until it is written then
RANK = {"page": 0, "acknowledged": 1, "resolved": 2}
SECOND_STEP = {"leads", "marek@example.com"}


class History:
    """The lines of one run, by what they tell."""

    def __init__(self, lines: list[Line]) -> None:
        self.step = next(line["step"] for line in lines if line["type"] == "run")
        self.lease = next(line.get("lease", 0.0) for line in lines if line["type"] == "run")
        asked = [(line["began"], line["at"]) for line in lines if line["type"] == "request"]
        self.slow = [(began, at) for began, at in asked if at - began > SLOW]
        self.planted = next(line["planted"] for line in lines if line["type"] == "run")
        self.deaths = {line["life"]: line for line in lines if line["type"] == "death"}
        self.integrity = [line["integrity"] for line in lines if line["type"] == "database"]
        self.owed = next((line.get("owed", "") for line in lines if line["type"] == "rest"), "")
        self.is_whole = any(line["type"] == "end" for line in lines) and self.owed != "coming"
        self.no_starts = [line for line in lines if line["type"] == "no start"]
        self.ready = [line for line in lines if line["type"] == "ready"]
        self.errors = [line["error"] for line in lines if line["type"] == "failed"]
        self.waiting = sum(line["waiting"] for line in lines if line["type"] == "people")
        self.lost_answers = [line for line in lines if line["type"] == "fault" and line["lost"]]
        self.set_back = any(line["type"] == "clock" and line["kind"] == "back" for line in lines)
        what = [line for line in lines if line["type"] == "disturbance"]
        self.disturbances = [(line["at"], line.get("lasts", 0.0)) for line in what]
        self.pauses = [line for line in what if line.get("kind") == "stopped"]
        self.outages = any(line["type"] == "disk" for line in lines)
        self.duty = [line for line in lines if line["type"] == "duty"]
        self.sends = [line for line in lines if line["type"] == "send"]
        self.requests, self.sends_of = defaultdict[str, list[Line]](list), defaultdict[str, list[Line]](list)
        self.incidents = defaultdict[str, list[Line]](list)
        for line in lines:
            if line["type"] == "request":
                self.requests[line["title"]].append(line)
            elif line["type"] == "incident":
                self.incidents[line["title"].split(":")[0]].append(line)
        titles = {incident["id"]: title for title, incidents in self.incidents.items() for incident in incidents}
        for line in self.sends:
            if line["channel"] == "pagerduty" and not line["titles"]:  # an end has nothing but the key of its incident
                line["titles"] = [titles.get(int(line["identity"].split("-")[1]), "")]
            for title in filter(None, line["titles"]):
                self.sends_of[title].append(line)

    def asked(self, title: str, *what: str, outcomes: tuple[str, ...] = ("acknowledged",)) -> list[Line]:
        return [r for r in self.requests[title] if r["what"] in what and r["outcome"] in outcomes]

    def was_slow(self, start: float, end: float) -> bool:
        """Say whether a request took so long then that what was to be written may have waited for as long."""
        return any(began < end and at > start for began, at in self.slow)

    def fired(self) -> list[str]:
        """Name what was acknowledged as firing."""
        return [title for title in self.requests if self.asked(title, "fire")]


def faults(history: History) -> list[str]:
    """Give a sentence for each fault."""
    rules = [unfinished, unanswered, failing_starts, unready]
    rules += [early, wrong_person, rung_twice, repeated, damaged]
    if history.is_whole:  # the others need what the API says at the end
        rules += [lost, not_one, disordered, after_the_answer, timelines, told_unsent, left_open]
    return [f"{rule.__name__.replace('_', ' ')}: {fault}" for rule in rules for fault in rule(history)]


def unfinished(history: History) -> Iterator[str]:
    """The storm has seen its end, and read what was left: else the half of what is here has not been checked."""
    yield from history.errors
    if history.owed == "coming":
        yield "what was owed still went out when the storm gave up waiting for it"
    elif not history.is_whole:
        yield "the storm has not read what was left, and only what had been seen before is checked"


def unanswered(history: History) -> Iterator[str]:
    """What is repeated is acknowledged at last."""
    if history.waiting:
        yield f"{history.waiting} who repeated a request were not answered"


def failing_starts(history: History) -> Iterator[str]:
    """A start that finds no database fails, and is tried again; hardly ever without a reason."""
    if len(history.no_starts) > FAILING_STARTS:
        yield f"{len(history.no_starts)} starts found no database, the last with: {history.no_starts[-1]['log'][-200:]}"


def unready(history: History) -> Iterator[str]:
    """Where nothing can be written, /-/ready says so, and that it can when it can again."""
    for line in history.ready:
        if line["status"] != line["wanted"]:
            yield f"/-/ready did not become {line['wanted']}: it was {line['status']}"


def lost(history: History) -> Iterator[str]:
    """Each firing that was acknowledged reached a person at its step, or was answered."""
    for title in history.fired():
        if not history.incidents[title]:
            yield f"{title} was acknowledged and is no incident"
            continue
        if history.asked(title, "acknowledge", "resolve", outcomes=("acknowledged", "unknown")):
            continue
        targets = {send["target"] for send in history.sends_of[title] if send["channel"] != "slack"}
        if not targets - SECOND_STEP:
            yield f"{title} reached nobody at its first step"
        if not targets & SECOND_STEP:
            yield f"{title} reached nobody at its second step"


def early(history: History) -> Iterator[str]:
    """Nobody is paged before the firing, and nobody of the second step before its time."""
    for title, sends in history.sends_of.items():
        began = min(request["began"] for request in history.requests[title])
        for send in sends:
            due = began + (history.step if send["target"] in SECOND_STEP else 0)
            if send["at"] < due:
                yield f"{title} came to {send['target']} {due - send['at']:.2f} s before its step"


def wrong_person(history: History) -> Iterator[str]:
    """Who is on call when an incident begins is paged at its first step, on both sides of a hand-over."""
    for duty in history.duty:
        for title in history.fired():
            first = min(request["at"] for request in history.asked(title, "fire"))
            began = min(request["began"] for request in history.requests[title])
            wanted = {duty["before"] if began < duty["change"] else "", duty["after"] if first > duty["change"] else ""}
            paged = {send["target"] for send in history.sends_of[title] if send["kind"] == "page"}
            if wrong := (paged & {duty["before"], duty["after"]}) - wanted:
                yield f"{title} came to {', '.join(wrong)}, who was not on call"


def disordered(history: History) -> Iterator[str]:
    """What one target gets of one incident comes in its order: the page, its acknowledgement, its end.

    What was sent while nothing could be written down is sent again after a kill, in its order.
    """
    for title, sends in history.sends_of.items():
        if len(history.incidents[title]) > 1:
            continue  # whether there may be another one is the business of `not_one`
        last, seen = dict[str, int](), set[tuple[str, ...]]()
        for send in sends:
            if len(send["titles"]) > 1:
                continue  # a digest has an order of its own
            # Slack is given the number of the notification, which rises; the others say what it is.
            place = int(send["identity"]) if send["channel"] == "slack" else RANK.get(send["kind"], 0)
            if place < last.get(send["target"], 0) and not (history.outages and _key(send) in seen):
                yield f"{title} at {send['target']}: {send['kind'] or send['identity']} came after what follows it"
            last[send["target"]] = max(place, last.get(send["target"], 0))
            seen.add(_key(send))


def not_one(history: History) -> Iterator[str]:
    """A group of alerts is one incident, however often and from wherever it is posted."""
    for title, incidents in history.incidents.items():
        if len(incidents) > 1 + _arrived_late(history, title):
            yield f"{title} has {len(incidents)} incidents"
        promised = {r["told"].get("incident") for r in history.asked(title, "fire")} - {None}
        if promised - {incident["id"] for incident in incidents}:
            yield f"{title} was answered with incidents {sorted(promised)}, of which there is not each"


def _arrived_late(history: History, title: str) -> int:
    """Count what a receiver that was stopped may have read when it went on, though its sender had given it up."""
    stopped = [line for line in history.pauses if line["lasts"]]
    unknown = history.asked(title, "fire", outcomes=("unknown",))
    return sum(
        any(asked["began"] < pause["at"] + pause["lasts"] and asked["at"] > pause["at"] for pause in stopped)
        for asked in unknown
    )


def rung_twice(history: History) -> Iterator[str]:
    """PagerDuty rings once for a dedup key: what is repeated meets the open alert."""
    states, rings = dict[str, str](), Counter[str]()
    for send in history.sends:
        if send["channel"] == "pagerduty":
            key = f"{send['target']} {send['identity']}"
            rings[key] += send["kind"] == "page" and states.get(key) in {None, "resolved"}
            if send["kind"] == "page" or key in states:
                states[key] = send["kind"]
    yield from (f"{key} rang {count} times" for key, count in rings.items() if count > 1)


def left_open(history: History) -> Iterator[str]:
    """What PagerDuty has been told of an incident last is how it stands."""
    stands = {str(one["id"]): one["state"] for incidents in history.incidents.values() for one in incidents}
    for (target, key), kinds in _at_pagerduty(history).items():
        state = stands.get(key.split("-")[1], "unknown")
        if "page" in kinds and RANK[kinds[-1]] != STATES.index(state):
            yield f"{key} at {target} is {kinds[-1]}, and the incident {state}"


def _at_pagerduty(history: History) -> dict[tuple[str, str], list[str]]:
    """Give what PagerDuty took for each service and dedup key."""
    kinds = defaultdict[tuple[str, str], list[str]](list)
    for send in history.sends:
        if send["channel"] == "pagerduty":
            kinds[send["target"], send["identity"]].append(send["kind"])
    return kinds


def repeats(history: History) -> dict[tuple[str, ...], list[Line]]:
    """Give what was taken more than once, by what identifies it."""
    taken = defaultdict[tuple[str, ...], list[Line]](list)
    for send in history.sends:
        taken[send["channel"], send["target"], send["kind"], send["identity"]].append(send)
    return {key: sends for key, sends in taken.items() if len(sends) > 1}


def repeated(history: History) -> Iterator[str]:
    """Something is sent again only if its answer was lost, or we were killed before that had been written down."""
    for key, sends in repeats(history).items():
        for before, after in pairwise(sends):
            if _answer_was_lost(history, before):
                continue
            if any(-GRACE < at - before["at"] < GRACE + lasts for at, lasts in history.disturbances):
                continue
            if history.lease and history.was_slow(before["at"] - history.lease, before["at"] + history.lease):
                continue  # its lease was over before it could be settled: the machine is too slow for us
            death = history.deaths.get(before["life"])
            if before["life"] == after["life"] or death is None:
                yield f"{' '.join(key)} was sent twice without a kill in between"
            elif death["at"] - before["at"] > GRACE:
                yield f"{' '.join(key)} was sent again though it had been taken long before the kill"


def _answer_was_lost(history: History, send: Line) -> bool:
    lost = (line for line in history.lost_answers if line["channel"] == send["channel"])
    return any(abs(send["at"] - line["at"]) < GRACE for line in lost)


def after_the_answer(history: History) -> Iterator[str]:
    """Nobody is paged after an answer that was acknowledged, but by what was under way."""
    for title in history.fired():
        if len(history.incidents[title]) > 1:
            continue  # whether there may be another one is the business of `not_one`
        answers = [request["at"] for request in history.asked(title, "acknowledge", "resolve")]
        for send in history.sends_of[title]:
            if answers and send["kind"] == "page" and send["at"] > min(answers) + GRACE:
                yield f"{title} paged {send['target']} {send['at'] - min(answers):.1f} s after it was answered"


def timelines(history: History) -> Iterator[str]:
    """A timeline has a line for each thing that was acknowledged, once, in the order of time."""
    for title, incidents in history.incidents.items():
        answered = {request["told"].get("incident") for request in history.asked(title, "fire")}
        for incident in incidents:
            lines = incident["timeline"]
            kinds = Counter(line["kind"] for line in lines)
            if not lines or lines[0]["kind"] != "opened" or kinds["opened"] != 1 or kinds["alert_firing"] != 1:
                yield f"{title} does not begin with one opening and one alert: {dict(kinds)}"
            times = [datetime.fromisoformat(line["at"]).timestamp() for line in lines]
            # A moment is read when a request comes in, and commits may overtake each other.
            if not (history.set_back or history.pauses) and any(
                before - after > GRACE and not history.was_slow(after - LONGEST, before + LONGEST)
                for before, after in pairwise(times)
            ):
                yield f"{title} goes back in time"
            if incident["id"] in answered or len(incidents) == 1:
                yield from _acts(history, title, incident, kinds)


def _acts(history: History, title: str, incident: Line, kinds: Counter[str]) -> Iterator[str]:
    done = {
        "acknowledge": (incident["state"] in {"acknowledged", "resolved"}, kinds["acknowledged"]),
        "resolve": (incident["state"] == "resolved", kinds["resolved_by_hand"]),
    }
    for act, (is_done, line) in done.items():
        acted = history.asked(title, act)
        after_a_resolve = act == "acknowledge" and history.asked(title, "resolve", outcomes=("unknown", "acknowledged"))
        if acted and (not is_done or not (line or after_a_resolve)):
            yield f"{title}: {act} was acknowledged, and it is {incident['state']} with {line} such lines"
        if line > 1 or (line and not history.asked(title, act, outcomes=("acknowledged", "unknown"))):
            yield f"{title}: {line} lines of {act}"


def told_unsent(history: History) -> Iterator[str]:
    """What the timeline calls sent has been taken by the provider."""
    for title, incidents in history.incidents.items():
        taken = Counter(key[:2] for key in {_key(send) for send in history.sends_of[title]})
        told = Counter[tuple[str, str]]()
        for incident in incidents:
            for line in incident["timeline"]:
                if line["kind"] == "told":
                    told[line["data"]["channel"], line["data"]["address"]] += 1
        for (channel, address), count in told.items():
            if count > taken[channel, address]:
                yield f"{title}: {count} sent to {address} ({channel}), which took {taken[channel, address]}"


def damaged(history: History) -> Iterator[str]:
    """The database is whole."""
    yield from (found for found in history.integrity if found != "ok")


def _key(send: Line) -> tuple[str, str, str, str]:
    return send["channel"], send["target"], send["kind"], send["identity"]


def read(path: Path) -> History:
    """Read a history; the last line of one that was broken off may be half of one."""
    written = path.read_text("utf-8")
    return History([json.loads(line) for line in written[: written.rfind("\n") + 1].splitlines()])


def summary(history: History) -> str:
    """Say how much there was to check."""
    outcomes = Counter(r["outcome"] for requests in history.requests.values() for r in requests)
    again = sum(len(sends) - 1 for sends in repeats(history).values())
    rung = _at_pagerduty(history).values()
    taken, states = sum(map(len, rung)), sum(len(set(kinds)) for kinds in rung)
    asked = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    kills = sum(bool(death["how"]) for death in history.deaths.values())
    return (
        f"{kills} kills, {len(history.fired())} incidents, {len(history.sends)} notifications taken, "
        f"{again} repeats; PagerDuty: {len(rung)} dedup keys, {states} states, {taken - states} repeats; "
        f"requests: {asked}{'; something was still owed' if history.owed else ''}"
    )


def main(path: Path) -> int:
    """Check one history."""
    try:
        history = read(path)
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)  # noqa: T201  # a program
        return 2
    found = faults(history)
    for fault in found:
        print(fault)  # noqa: T201  # a program
    print(f"{path}: {summary(history)}; {len(found)} faults")  # noqa: T201  # a program
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:  # its name and a file
        raise SystemExit("usage: python -m tests.crash.check FILE")
    raise SystemExit(main(Path(sys.argv[1])))
