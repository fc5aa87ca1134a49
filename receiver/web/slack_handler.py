"""Does what people press and fill in in Slack, by HTTP or Socket Mode alike, and says what they cannot see otherwise.

docs.slack.dev/interactivity/handling-user-interaction: Slack waits three seconds. What takes longer goes on after the
answer, and the one who pressed hears that it does, and then what became of it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import TypeVar

from receiver.actions.answer import Action, ActionResult, Actions, ActionSource, Reference, Request, Seen
from receiver.channels.base import SendError
from receiver.channels.slack_api import SlackApi
from receiver.channels.slack_blocks import escaped, reply
from receiver.incident.model import Incident, Opening, Origin, State
from receiver.incident.undo import UNDO_FOR, resolve_of
from receiver.messages.compose import reader_of
from receiver.messages.i18n import Reader
from receiver.messages.standing import status_text
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError
from receiver.store.unreadable import UnreadableError
from receiver.web.console.acts import ACTS, Press
from receiver.web.slack_commands import ACCEPT, SlackCommands
from receiver.web.slack_payload import Field, Interaction, SlashCommand, View
from receiver.web.slack_people import SlackPeople, Who, slack_ids
from receiver.web.slack_replies import SlackReplies
from receiver.web.slack_views import ACT, NEEDS, Meta, act_view, said_view

SOON = 2.0  # seconds that an answer to Slack may take at most
_OPENED_IN = 2.5  # seconds until a form must be there: its trigger lives for three
SNOOZE, MORE = "snooze", "more"
_FORM = {MORE, ACT}
_PRESSED = {*Action, SNOOZE, ACCEPT, *_FORM}
# What was wanted and cannot be done, and what is said of it.
_REFUSED = {
    ActionResult.OUTDATED: "slack_older",
    ActionResult.TOO_LATE: "slack_too_late",
    ActionResult.ENDED: "slack_ended",
    ActionResult.OVER: "slack_resolved",
    ActionResult.OUT_OF_BOUNDS: "console_said_out_of_bounds",
    ActionResult.NOBODY: "console_said_nobody",
    ActionResult.NOT_ATTACHABLE: "console_said_not_attachable",
}

T = TypeVar("T")
Answer = dict[str, object]


class SlackHandler:
    """One for both ways in. Each request may come twice: acts mean the same a second time, or carry a form's key."""

    def __init__(  # what a request is handled with
        self,
        actions: Actions,
        store: Store,
        current: Current,
        people: SlackPeople,
        replies: SlackReplies,
        commands: SlackCommands,
        api: SlackApi | None = None,
        soon: float = SOON,
    ) -> None:
        self._soon = soon
        self._actions, self._store, self._current = actions, store, current
        self._people, self._replies, self._commands, self._api = people, replies, commands, api

    def refused(self) -> None:
        """Count what was not from Slack, or cannot be read."""
        self._actions.count(ActionSource.SLACK, ActionResult.REFUSED)

    async def interaction(self, payload: Interaction) -> Answer:
        """Give what Slack is answered, which is nothing but for a form; StoreError if nobody could be told of it."""
        if payload.type == "view_submission" and payload.view is not None:
            return await self._submitted(payload, payload.view)
        press = next((one for one in payload.actions if one.action_id in _PRESSED), None)
        if payload.type != "block_actions" or press is None:
            self._actions.count(ActionSource.SLACK, ActionResult.IGNORED)  # a link was opened, or it is not ours
        elif press.action_id in _FORM:
            self._replies.keep(self._form(payload, press))
        else:
            await self._in_time(self._press(payload, press), payload.user.id, payload.response_url)
        return {}

    async def command(self, command: SlashCommand) -> Answer:
        """Give what is shown to whoever wrote it; what takes too long is told them later."""
        said: list[Answer] = []
        is_late = False

        async def answer() -> None:
            content = await self._commands.answer(command)
            said.append(content)
            if is_late:
                self._replies.tell(command.response_url, content)

        await self._in_time(answer(), command.user_id, command.response_url)
        is_late = True
        return said[0] if said else {}

    async def _in_time(self, work: Coroutine[None, None, None], user: str, url: str) -> None:
        """Wait as long as Slack does; whoever waits longer is told, and so is whom the store fails."""
        reader = reader_of(self._current.routing, slack_ids(self._current).get(user, ""))

        async def guarded() -> None:
            try:
                await work
            except StoreError as error:
                if not self._replies.tell(url, {"text": reader.say(_store_failed(error))}):
                    raise

        task = self._replies.keep(guarded())
        done, _ = await asyncio.wait({task}, timeout=self._soon)
        if done:
            task.result()
        else:
            self._replies.tell(url, {"text": reader.say("slack_slow")})

    # Presses

    async def _press(self, payload: Interaction, press: Field) -> None:
        who = await self._people.who(payload.user.id, payload.user.name or payload.user.username)
        reader = reader_of(self._current.routing, who.key)
        if press.action_id == ACCEPT:
            content = await self._commands.accept(press.text, who, reader)
        elif press.action_id == SNOOZE:
            content = await self._snooze(press, who, reader)
        else:
            content = await self._answer(Action(press.action_id), press.text, who, reader)
        self._replies.tell(payload.response_url, content)

    async def _answer(self, action: Action, value: str, who: Who, reader: Reader) -> Answer:
        reference = await self._reference(value)
        if reference is None:
            return self._unknown(reader)
        result, incident = await self._actions.apply(
            ActionSource.SLACK, reference.number, action, who.key, _seen(reference)
        )
        if incident is None:
            return _refusal(result, incident, reader, self._actions.clock())
        told = _told(result, action, incident, reader, self._actions.clock())
        button = await self._actions.reference(incident)
        return {"text": told} if told else _next(result, button, incident, reader)

    async def _snooze(self, press: Field, who: Who, reader: Reader) -> Answer:
        reference = await self._reference(press.block_id.partition("|")[0])
        if reference is None:
            return self._unknown(reader)
        if not who.known:
            return {"text": reader.say("slack_unmapped")}
        fields, form = {"until": press.text}, f"{reference.number}.{press.action_ts}" if press.action_ts else ""
        result, incident = await self._act(SNOOZE, reference, who, fields, form)
        if incident is None or result is not ActionResult.TAKEN:
            return _refusal(result, incident, reader, self._actions.clock())
        until = reader.time(incident.snoozed_until or self._actions.clock(), self._actions.clock())
        return {"text": reader.say("console_snoozed", who=escaped(reader.who(who.key)), until=until)}

    async def _act(
        self, act: str, reference: Reference, who: Who, fields: dict[str, str], form: str
    ) -> tuple[ActionResult, Incident | None]:
        press = Press(who.key, Origin.SLACK, self._actions.clock(), _seen(reference).opening)
        request = Request(form=form)
        return await self._actions.act(ActionSource.SLACK, reference.number, ACTS[act](press, fields), request)

    def _unknown(self, reader: Reader) -> Answer:
        self._actions.count(ActionSource.SLACK, ActionResult.UNKNOWN)
        return {"text": reader.say("slack_unknown")}

    async def _reference(self, value: str) -> Reference | None:
        """Read what a button is of; one of an old version says only a number, and so answers to nothing."""
        if value.isascii() and value.isdigit():
            return Reference(int(value), opened=0) if len(value) < 18 else None  # noqa: PLR2004  # fits SQLite
        return await self._actions.find(value)

    # The form

    async def _form(self, payload: Interaction, press: Field) -> None:
        """Open it, or show the fields of another act in it."""
        deadline = asyncio.get_running_loop().time() + _OPENED_IN
        reader = reader_of(self._current.routing, slack_ids(self._current).get(payload.user.id, ""))
        try:
            async with asyncio.timeout_at(deadline):
                text = await self._show_form(payload, press, deadline)
        except UnreadableError:
            text = reader.say("refused_unreadable")
        except (SendError, StoreError, TimeoutError):
            text = reader.say("slack_no_form")
        self._replies.tell(payload.response_url, {"text": text} if text else {})

    async def _show_form(self, payload: Interaction, press: Field, deadline: float) -> str:
        """Say why there is none; "" if there is one."""
        view = payload.view
        meta = Meta.read(view.private_metadata) if view is not None else Meta(press.text, url=payload.response_url)
        who = await self._people.who(payload.user.id, payload.user.name or payload.user.username)
        reader = reader_of(self._current.routing, who.key)
        reference = await self._reference(meta.reference)
        stored = await self._store.incident(reference.number) if reference is not None else None
        if stored is None:
            return str(self._unknown(reader)["text"])
        if not who.known:
            return reader.say("slack_unmapped")
        if self._api is None:
            return reader.say("slack_no_form")
        incident, routing, now = stored[0], self._current.routing, self._actions.clock()
        if view is None:
            meta = Meta(meta.reference, incident.next_step, meta.url)
        shown = act_view(incident, meta, press.text if view is not None else "", who.key, routing, reader, now)
        if view is None:
            await self._api.call("views.open", {"trigger_id": payload.trigger_id, "view": shown}, deadline)
        else:
            await self._api.call("views.update", {"view_id": view.id, "hash": view.hash, "view": shown}, deadline)
        return ""

    async def _submitted(self, payload: Interaction, view: View) -> Answer:
        """Answer a form: what is wrong stands below its field; what takes too long is shown in its place."""
        reader = reader_of(self._current.routing, slack_ids(self._current).get(payload.user.id, ""))
        task = self._replies.keep(self._submit(payload, view))
        done, _ = await asyncio.wait({task}, timeout=self._soon)
        if not done:
            return {"response_action": "update", "view": said_view(reader.say("slack_slow"), reader)}
        try:
            return task.result()
        except StoreError as error:
            return _errors(ACT, reader.say(_store_failed(error)))

    async def _submit(self, payload: Interaction, view: View) -> Answer:
        meta, fields = Meta.read(view.private_metadata), view.fields()
        who = await self._people.who(payload.user.id, payload.user.name or payload.user.username)
        reader = reader_of(self._current.routing, who.key)
        reference, act = await self._reference(meta.reference), fields.get(ACT, "")
        if reference is None or act not in ACTS:
            return _errors(ACT, str(self._unknown(reader)["text"]))
        if not who.known:
            return _errors(ACT, reader.say("slack_unmapped"))
        need = NEEDS.get(act, "")
        where = need if need in view.state.values else ACT
        if need and not fields.get(need, "").strip():
            return _errors(where, reader.say("slack_missing"))
        result, incident = await self._act(act, reference, who, {**fields, "step": str(meta.step)}, f"{view.id}.{act}")
        if act == "escalate" and result is ActionResult.ALREADY:
            return _errors(ACT, reader.say("slack_escalated"))
        refusal = _refusal(result, incident, reader, self._actions.clock(), shown_as=str)
        return _errors(where, str(refusal["text"])) if refusal else {}


def _store_failed(error: StoreError) -> str:
    return "refused_unreadable" if isinstance(error, UnreadableError) else "slack_store"


def _errors(block: str, text: str) -> Answer:
    return {"response_action": "errors", "errors": {block: text}}


def _seen(reference: Reference) -> Seen:
    """Say what the one who pressed has seen; a button of an older version tells no more than when it opened."""
    fired = reference.opened if reference.episode is None else reference.episode
    opening = Opening(reference.opened, fired)
    return Seen(opening, reference.firing or 0, reference.begun, reference.resolved_at)


def _refusal(
    result: ActionResult,
    incident: Incident | None,
    reader: Reader,
    now: datetime,
    shown_as: Callable[[str], str] = escaped,
) -> Answer:
    """Say why it was not done; nothing if it was. What a form says is shown as it is, and so not escaped."""
    if incident is None:
        return {"text": reader.say("refused_stuck" if result is ActionResult.STUCK else "slack_unknown")}
    if result not in _REFUSED:
        return {}
    status = shown_as(status_text(incident, reader, now))
    return {"text": reader.say(_REFUSED[result], number=incident.id, status=status)}


def _told(result: ActionResult, action: Action, incident: Incident, reader: Reader, now: datetime) -> str:
    """What the one who pressed cannot see in the channel."""
    refusal, number = _refusal(result, incident, reader, now), incident.id
    if refusal or result is not ActionResult.ALREADY:
        return str(refusal.get("text", ""))
    if incident.state is State.RESOLVED:
        return reader.say("slack_resolved", number=number)
    if action is not Action.ACKNOWLEDGE:
        return ""
    return reader.say("slack_joined", who=escaped(reader.who(incident.acknowledged_by)), number=number)


def _next(result: ActionResult, button: str, incident: Incident, reader: Reader) -> Answer:
    """What may be pressed next: to resolve what fires by now, and to undo a resolve."""
    if result is ActionResult.UNCONFIRMED:
        text = reader.say("resolve_firing", count=incident.firing_count)
        value = f"{button}.{incident.firing_count}.{incident.begun}"
        return reply(text, reader.say("resolve_anyway"), Action.RESOLVE.value, value)
    if result is ActionResult.TAKEN and incident.undo is not None:
        text = reader.say("slack_undo", number=incident.id, seconds=int(UNDO_FOR.total_seconds()))
        return reply(text, reader.say("undo"), Action.UNDO.value, f"{button}@{resolve_of(incident)}")
    return {}
