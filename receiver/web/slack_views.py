"""Lays out the form behind "More…": choose an act, and fill in what that act needs. Pure.

docs.slack.dev/reference/views: title 24 characters, 100 blocks, private_metadata 3,000.
"""

from datetime import datetime, timedelta

import msgspec

from receiver.channels.slack_blocks import OPTION, Block, cut, escaped, markdown, plain_text
from receiver.incident.model import Incident, State
from receiver.messages.i18n import Reader
from receiver.messages.render import what_broke
from receiver.messages.standing import status_text
from receiver.policy.coverage import roles
from receiver.policy.routing import Routing

ACT = "act"  # the block and the element that choose what to do
NEEDS = {"handover": "whom", "snooze": "until", "note": "text", "attach": "to"}  # act -> the block it cannot do without
_TITLE = 24
_GROUP = 100  # options of one group
_VALUE = 75  # characters of an option's value
_LEAD = 600
_TEXT = 2000
_LONGEST_URL = 1000


class Meta(msgspec.Struct, frozen=True):
    """What a form is about, and the step of the matrix that was next when it was opened."""

    reference: str = ""
    step: int = 0
    url: str = ""  # where to answer the one who opened it

    def write(self) -> str:
        """Write it into a view."""
        return msgspec.json.encode(self if len(self.url) <= _LONGEST_URL else Meta(self.reference, self.step)).decode()

    @classmethod
    def read(cls, text: str) -> "Meta":
        """Read it; an empty one for anything else."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError:
            return cls()


def act_view(  # everything that a form shows
    incident: Incident, meta: Meta, chosen: str, person: str, routing: Routing, reader: Reader, now: datetime
) -> dict[str, object]:
    """Lay the form out, with the fields of the act that is chosen."""
    say, acts = reader.say, _acts(incident, person, routing, reader, now)
    chosen = chosen if chosen in acts else next(iter(acts))
    lead = f"*{escaped(what_broke(incident, reader))}*\n{escaped(status_text(incident, reader, now))}"
    options = {act: _option(text, act) for act, text in acts.items()}
    choice: Block = {
        "type": "radio_buttons",
        "action_id": ACT,
        "options": list(options.values()),
        "initial_option": options[chosen],
    }
    return {
        "type": "modal",
        "callback_id": "act",
        "private_metadata": meta.write(),
        "title": plain_text(cut(say("slack_form_title", number=incident.id), _TITLE)),
        "submit": plain_text(cut(say("slack_form_send"), _TITLE)),
        "close": plain_text(cut(say("cancel"), _TITLE)),
        "blocks": [
            {"type": "section", "text": markdown(cut(lead, _LEAD))},
            {**_input(ACT, say("slack_form_what"), choice), "dispatch_action": True},
            *_fields(chosen, person, routing, reader, now),
        ],
    }


def said_view(text: str, reader: Reader) -> dict[str, object]:
    """Lay out a form that only says something."""
    return {
        "type": "modal",
        "title": plain_text(cut(reader.say("slack_form_title", number=""), _TITLE)),
        "close": plain_text(cut(reader.say("slack_form_close"), _TITLE)),
        "blocks": [{"type": "section", "text": markdown(cut(escaped(text), _LEAD))}],
    }


def _acts(incident: Incident, person: str, routing: Routing, reader: Reader, now: datetime) -> dict[str, str]:
    """Name what can be done as it stands."""
    say, note = reader.say, {"note": reader.say("console_note")}
    if incident.state is State.RESOLVED:
        return note
    acts = {"handover": say("console_hand_over"), "snooze": say("slack_snooze_until")}
    if incident.state is State.ACKNOWLEDGED:
        taken = {} if incident.acknowledged_by == person else {"takeover": say("console_take_over")}
        acts = {**taken, **acts, "unacknowledge": say("console_give_back")}
    whom = _next_people(incident, routing, reader, now)
    if whom:
        acts["escalate"] = say("console_escalate_now", whom=whom)
    detach = say("console_detach", number=incident.attached_to)
    attach = {"detach": detach} if incident.attached_to else {"attach": say("console_attach")}
    return {**acts, **note, **attach}


def _next_people(incident: Incident, routing: Routing, reader: Reader, now: datetime) -> str:
    steps = incident.plan.steps
    if not steps:
        return ""
    named = steps[min(incident.next_step, len(steps) - 1)].roles
    people = dict.fromkeys(reader.who(person) for role in named for person in routing.holders(role, now))
    return ", ".join(people) or reader.roles(named)


def _fields(act: str, person: str, routing: Routing, reader: Reader, now: datetime) -> list[Block]:
    say = reader.say
    match act:
        case "handover":
            menu: Block = {
                "type": "static_select",
                "action_id": "value",
                "option_groups": _whom(person, routing, reader, now),
            }
            return [_input("whom", say("console_hand_over_to"), menu)]
        case "snooze":
            soon = int((now + timedelta(hours=1)).timestamp())
            moment: Block = {"type": "datetimepicker", "action_id": "value", "initial_date_time": soon}
            return [_input("until", say("slack_until"), moment)]
        case "attach":
            number: Block = {"type": "plain_text_input", "action_id": "value", "max_length": 20}
            return [_input("to", say("console_attach_to"), number)]
        case "note":
            tell: Block = {
                "type": "checkboxes",
                "action_id": "value",
                "options": [_option(say("console_note_tell"), "1")],
            }
            text: Block = {"type": "plain_text_input", "action_id": "value", "multiline": True, "max_length": _TEXT}
            told = {**_input("tell", say("slack_form_tell"), tell), "optional": True}
            return [_input("text", say("console_note"), text), told]
    return []


def _whom(person: str, routing: Routing, reader: Reader, now: datetime) -> list[Block]:
    """List people and teams: who is on call comes first."""
    on_call = [key for role in roles(routing) for key in routing.holders(role, now)]
    people = dict.fromkeys((*on_call, *sorted(routing.people, key=lambda key: reader.who(key).casefold())))
    people.pop(person, None)
    groups = {
        "slack_people": [(reader.who(key), f"person:{key}") for key in people],
        "slack_teams": [(reader.say("console_team", team=team), f"team:{team}") for team in sorted(routing.teams)],
    }
    laid_out: list[Block] = []
    for label, named in groups.items():
        options = [_option(text, value) for text, value in named if len(value) <= _VALUE][:_GROUP]
        if options:
            laid_out.append({"label": plain_text(reader.say(label)), "options": options})
    return laid_out


def _input(block: str, label: str, element: Block) -> Block:
    return {"type": "input", "block_id": block, "label": plain_text(cut(label, OPTION)), "element": element}


def _option(text: str, value: str) -> Block:
    return {"text": plain_text(cut(text, OPTION)), "value": value}
