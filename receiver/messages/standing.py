"""Says in a sentence how an incident stands, for replies and refusals."""

from datetime import datetime

from receiver.incident.alerts import ALERTS
from receiver.incident.model import Incident, State
from receiver.messages.i18n import Reader
from receiver.messages.render import respond_by


def status_text(incident: Incident, reader: Reader, now: datetime) -> str:
    """Say how an incident stands."""
    match incident.state:
        case State.ACKNOWLEDGED:
            until, since = incident.clocks.acknowledged_until, incident.acknowledged_at or now
            values = {"who": reader.who(incident.acknowledged_by), "since": reader.time(since, now)}
            if until is None:
                return reader.say("answer_acknowledged", **values)
            return reader.say("answer_acknowledged_until", **values, until=reader.time(until, now))
        case State.RESOLVED:
            at = reader.moment(incident.resolved_at or now)
            if incident.resolved_by == ALERTS:
                return reader.say("answer_resolved", at=at)
            values = {"who": reader.who(incident.resolved_by), "at": at}
            if incident.firing:
                return reader.say("answer_resolved_firing", **values, count=incident.firing_count)
            return reader.say("answer_resolved_by", **values)
    due = reader.time(respond_by(incident), now)
    return reader.say("answer_triggered", since=reader.moment(incident.opened_at or now), due=due)
