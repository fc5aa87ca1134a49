"""Makes one message of many notifications for one place: how many, how bad, what they have in common, the worst."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial

import msgspec

from receiver.channels.base import Link, Message
from receiver.incident.model import Incident, Kind, Notification, State
from receiver.messages.i18n import Reader, one_line
from receiver.messages.render import HEADLINE, SUBJECT, incident_name, severity, subject_tag, where, words
from receiver.messages.templating import Templates
from receiver.messages.timeline import LINE, news

LISTED = 10  # incidents that a bundle names
_COMMON = 0.5  # of the incidents that share a label, for it to be what they have in common
_LABELS = ("alertname", "service", "job", "instance", "cluster", "region")

_STATES = {Kind.ACKNOWLEDGED: State.ACKNOWLEDGED, Kind.RESOLVED: State.RESOLVED}

_IN_ORDER = (State.TRIGGERED, State.ACKNOWLEDGED, State.RESOLVED)

Item = tuple[Notification, Incident]


def render_bundle(  # everything that a message says
    items: Sequence[Item],
    *,
    delivery_id: str,
    link_of: Callable[[Incident], str],
    link_of_all: str,
    now: datetime,
    reader: Reader,
    templates: Templates,
    thread: str = "",
) -> Message:
    """Write the message; all items are of one kind and go to one address. The most urgent and oldest come first.

    With ``thread`` it stands there already, and shows how they stand by now.
    """
    items = sorted(items, key=lambda item: (item[1].priority, item[1].opened_at or now, item[1].id))
    first, incident = items[0]
    headline = _headline(items, reader)
    tag = subject_tag(incident.priority.value, _STATES.get(first.kind, State.TRIGGERED), reader)
    values = _values(items, link_of, now, reader)
    values |= {"headline": headline, "all": link_of_all, "product": templates.brand.name}
    counts = Counter(item[1].priority.value for item in items)
    stands = next((state for state in _IN_ORDER if any(item[1].state is state for item in items)), State.TRIGGERED)
    return Message(
        id=delivery_id,
        kind=first.kind,
        address=first.target.address,
        lane=f"bundle:{first.target.address}:{first.kind.value}",
        incident=f"heypeter-bundle-{delivery_id}",
        priority=incident.priority.value,
        severity=severity(incident),
        subject=one_line(f"{tag} {headline}", SUBJECT),
        headline=headline,
        text=templates.write("bundle.txt", values).strip(),
        write_html=partial(templates.write, "bundle.html", values),
        fields=(*((name, str(number)) for name, number in sorted(counts.items())), *_states(items, reader, thread)),
        links=(
            Link(reader.say("digest_open", count=len({item[1].id for item in items})), link_of_all),
            *(Link(f"#{item[1].id}", link_of(item[1])) for item in items[:LISTED]),
        ),
        sent_at=now,
        words=msgspec.structs.replace(words(first.kind, incident, reader), state=reader.say(f"status_{stands.value}")),
        state=stands.value if thread else "",
        thread=thread,
        redraws=bool(thread),
        brand=templates.brand,
    )


def _states(items: Sequence[Item], reader: Reader, thread: str) -> Iterator[tuple[str, str]]:
    """Count how they stand, in a message that is kept up to date."""
    states = Counter(item[1].state for item in items) if thread else Counter[State]()
    return ((reader.say(f"status_{state.value}"), str(states[state])) for state in _IN_ORDER if states[state])


def _headline(items: Sequence[Item], reader: Reader) -> str:
    first, incident = items[0]
    counts = Counter(item[1].priority.value for item in items)
    of = reader.say("bundle_of", count=counts[incident.priority.value], priority=incident.priority)
    common = one_line(_common([item[1] for item in items]) or reader.say("bundle_various"), LINE // 2)
    urgent, count = of if len(counts) > 1 else "", len({item[1].id for item in items})
    return one_line(reader.say(f"bundle_{first.kind.value}", count=count, common=common, urgent=urgent), HEADLINE)


def _values(
    items: Sequence[Item], link_of: Callable[[Incident], str], now: datetime, reader: Reader
) -> dict[str, object]:
    """What the two templates may use."""
    rows = [_row(item, link_of(item[1]), now, reader) for item in items[:LISTED]]
    count = len({item[1].id for item in items})
    return {
        "say": reader.say,
        "language": reader.language,
        "kind": items[0][0].kind.value,
        "priority": items[0][1].priority.value,
        "rows": rows,
        "more": count - len(rows),
        "count": count,
    }


def _common(incidents: list[Incident]) -> str:
    """Say what most of them share: the alert's name first of all, for that is the cause as people know it."""
    for label in _LABELS:
        values = Counter(incident.labels.get(label, "") for incident in incidents)
        value, count = values.most_common(1)[0]
        if value and count > _COMMON * len(incidents):
            return value if label == "alertname" else f"{label}={value}"
    teams = Counter(incident.team for incident in incidents)
    team, count = teams.most_common(1)[0]
    return team if team and count > _COMMON * len(incidents) else ""


def _row(item: Item, link: str, now: datetime, reader: Reader) -> dict[str, str]:
    notification, incident = item
    return {
        "name": incident_name(incident, reader),
        "where": where(incident.labels, LINE // 4),
        "age": reader.duration(now - (incident.opened_at or now)),
        "news": one_line(news(notification, reader, now), LINE // 2),
        "link": link,
    }
