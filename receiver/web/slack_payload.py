"""What Slack sends of a press, a form and a command, as far as we read it.

docs.slack.dev/reference/interaction-payloads, and docs.slack.dev/interactivity/implementing-slash-commands.
"""

import msgspec

LONGEST = 3000  # characters of what a person writes


class User(msgspec.Struct, frozen=True):
    """Who it is: ``username`` in some payloads, ``name`` in others."""

    id: str
    name: str = ""
    username: str = ""


class Option(msgspec.Struct, frozen=True):
    """One of a menu."""

    value: str = ""


class Field(msgspec.Struct, frozen=True):
    """What stands in one element; also the press itself, of which it was."""

    action_id: str = ""
    block_id: str = ""
    action_ts: str = ""
    value: str | None = None
    selected_option: Option | None = None
    selected_options: tuple[Option, ...] = ()
    selected_date_time: int | None = None

    @property
    def text(self) -> str:
        """Give what was chosen or written."""
        if self.selected_option is not None:
            return self.selected_option.value
        if self.selected_date_time is not None:
            return f"@{self.selected_date_time}"
        return " ".join(one.value for one in self.selected_options) or (self.value or "")[:LONGEST]


class State(msgspec.Struct, frozen=True):
    """All that stands in a form: block, element, value."""

    values: dict[str, dict[str, Field]] = {}  # msgspec copies a mutable default


class View(msgspec.Struct, frozen=True):
    """A form that is open."""

    id: str = ""
    hash: str = ""
    callback_id: str = ""
    private_metadata: str = ""
    state: State = State()

    def fields(self) -> dict[str, str]:
        """Give what stands in each block; there is one element a block."""
        return {block: next(iter(held.values())).text for block, held in self.state.values.items() if held}


class Interaction(msgspec.Struct, frozen=True):
    """A press, a choice, or a form that was sent."""

    type: str
    user: User
    actions: tuple[Field, ...] = ()
    trigger_id: str = ""
    response_url: str = ""
    view: View | None = None


class SlashCommand(msgspec.Struct, frozen=True):
    """One line that somebody wrote after a command."""

    command: str = ""
    text: str = ""
    user_id: str = ""
    user_name: str = ""
    trigger_id: str = ""
    response_url: str = ""


INTERACTION = msgspec.json.Decoder(Interaction)
