"""Lays a message out for Slack: Block Kit inside an attachment of the document's colours, within Slack's limits. Pure.

docs.slack.dev/reference/block-kit/blocks. All of it stays below the 13,000 characters where msg_too_long begins.
"""

import re

import msgspec

from receiver.channels.base import Link, Message, standing
from receiver.incident.model import Kind

# Characters and counts. Slack's own: section 3,000, field 2,000, ten fields a section, button 75, its URL 3,000.
HEADLINE, LEAD, FIELD, FIELDS, ALL_FIELDS, SHORT = 1000, 600, 1200, 10, 3600, 40
BUTTON, BUTTONS, URL, ALL_URLS = 70, 14, 1000, 3000
PLAIN = 3000
PICTURE_WORDS = 1000  # Slack's own: 2,000
QUESTION, CONFIRM = 300, 30  # of a confirmation dialog: its text, each of its buttons
OPTION = 70  # characters of an option's text; Slack's own: 75
_COLOURS = {"critical": "danger", "warning": "warning", "info": "good"}
_TAKEN, _OVER = "#439fe0", "good"

Block = dict[str, object]


def card(message: Message, *, interactive: bool = False) -> dict[str, object]:
    """Text and attachment of a message that says what is new."""
    what = message.kind.value if message.kind in {Kind.UPDATE, Kind.REMINDER} else standing(message)
    word = message.words.status or what.capitalize()
    return _laid_out(message, f"{_mention(message)}{_headline(message)}", word, interactive=interactive)


def story(message: Message) -> dict[str, object]:
    """One line of the thread: the card above says the rest."""
    line = message.headline.removesuffix(f": {message.name}") if message.name else message.headline
    return {"text": cut(escaped(line), HEADLINE)}


def root(message: Message, *, interactive: bool = False) -> dict[str, object]:
    """Text and attachment of the thread's first message, as it should look now."""
    return _laid_out(
        message, _headline(message), message.words.state or standing(message).capitalize(), interactive=interactive
    )


def plain(message: Message) -> dict[str, object]:
    """The same without a card, for a Slack that refuses the card."""
    text = cut(escaped(f"{message.headline}\n\n{message.text}"), PLAIN)
    return {"text": f"{_mention(message)}{text}", "attachments": []}


def escaped(text: str) -> str:
    """Slack's three control characters: without this an alert could say <!channel>."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _laid_out(message: Message, text: str, word: str, *, interactive: bool) -> dict[str, object]:
    state = standing(message)
    colour = {"resolved": _OVER, "acknowledged": _TAKEN}.get(state) or _COLOURS.get(message.severity, "warning")
    lead = cut(escaped(message.lead or message.text.partition("\n")[0]), LEAD)
    blocks: list[Block] = [{"type": "header", "text": plain_text(" · ".join(filter(None, (message.priority, word))))}]
    blocks += [{"type": "section", "text": markdown(lead)}] if lead.strip() else []
    blocks += _facts(message.fields[:FIELDS])
    when = int(message.sent_at.timestamp())
    date = f"<!date^{when}^{{date_short_pretty}} {{time}}|{message.sent_at:%Y-%m-%d %H:%M} UTC>"
    number = f" · #{message.number}" if message.number else ""
    blocks += _picture(message)
    footer: Block = {"type": "mrkdwn", "text": f"{escaped(message.brand.name)}{number} · {date}"}
    blocks.append({"type": "context", "elements": [footer]})
    answers = _answers(message, state) if interactive else []
    reference = f"{message.button or message.incident}|{message.id}"  # an update needs another block_id to be seen
    blocks += [{"type": "actions", "block_id": reference, "elements": answers}] if answers else []
    opening = _opening(_named(message) if answers else message.links)
    blocks += [{"type": "actions", "elements": opening[:BUTTONS]}] if opening else []
    fallback = cut(escaped(message.headline), LEAD)
    return {"text": text, "attachments": [{"color": colour, "fallback": fallback, "blocks": blocks}]}


def _named(message: Message) -> tuple[Link, ...]:
    """Beside buttons that answer, the first link leads to the incident."""
    first = [Link(message.words.see or link.label, link.url) for link in message.links[:1]]
    return (*first, *message.links[1:])


def _picture(message: Message) -> list[Block]:
    """Show the chart, if Slack can fetch it: it refuses a card whose picture it cannot."""
    if message.picture is None or not message.picture.public or len(message.picture.url) > URL:
        return []
    words = cut(message.picture.words, PICTURE_WORDS) or message.headline[:PICTURE_WORDS]
    return [{"type": "image", "image_url": message.picture.url, "alt_text": words}]


def without_picture(message: Message) -> Message:
    """Give the same message for a Slack that refuses its picture."""
    return msgspec.structs.replace(message, picture=None)


def _facts(fields: tuple[tuple[str, str], ...]) -> list[Block]:
    """Short facts side by side, long ones below on their own; what does not fit is cut."""
    beside: list[Block] = []
    below: list[Block] = []
    room = ALL_FIELDS
    for name, value in fields:
        text = f"*{cut(escaped(name), LEAD // 4)}*\n{cut(escaped(value), min(FIELD, max(SHORT, room)))}"
        room -= len(text)
        if len(value) < SHORT:
            beside.append(markdown(text))
        else:
            below.append({"type": "section", "text": markdown(text)})
    side_by_side: Block = {"type": "section", "fields": beside}
    return [side_by_side, *below] if beside else below


def _answers(message: Message, state: str) -> list[Block]:
    """Buttons that come back to us; they are pressed on this very incident."""
    if not message.number or state == "resolved":
        return []
    resolve: Block = {
        "type": "button",
        "text": plain_text(cut(message.words.resolve, BUTTON)),
        "action_id": "resolve",
        "value": f"{message.button or message.incident}.{message.firing}.{message.begun}",
    }
    confirm: Block = {"confirm": _confirm(message)} if message.words.still_firing else {}
    take: Block = {
        **resolve,
        "text": plain_text(cut(message.words.acknowledge, BUTTON)),
        "action_id": "acknowledge",
        "value": message.button or message.incident,  # the number alone could be of another database
        "style": "primary",
    }
    more = {**take, "text": plain_text(cut(message.words.more, BUTTON)), "action_id": "more"}
    del more["style"]
    taken = [take] if state == "triggered" else []
    return [*taken, *_snooze(message), {**resolve, **confirm}, more]


def _snooze(message: Message) -> list[Block]:
    """Choose for how long; of what this incident is, the block says."""
    options = [{"text": plain_text(cut(text, OPTION)), "value": str(n)} for n, text in message.words.snoozes]
    menu = {
        "type": "static_select",
        "action_id": "snooze",
        "placeholder": plain_text(cut(message.words.snooze, OPTION)),
    }
    return [{**menu, "options": options}] if options else []


def _confirm(message: Message) -> Block:
    """Build the question that Slack asks before it sends the click."""
    said = message.words
    return {
        "title": plain_text(cut(said.resolve, BUTTON)),
        "text": plain_text(cut(said.still_firing, QUESTION)),
        "confirm": plain_text(cut(said.resolve_anyway, CONFIRM)),
        "deny": plain_text(cut(said.cancel, CONFIRM)),
    }


def reply(text: str, label: str, action: str, value: str) -> dict[str, object]:
    """Build an answer to a press, with one button to press next."""
    button: Block = {
        "type": "button",
        "text": plain_text(cut(label, BUTTON)),
        "action_id": action,
        "value": value,
    }
    section: Block = {"type": "section", "text": markdown(cut(text, LEAD))}
    return {"text": text, "blocks": [section, {"type": "actions", "elements": [button]}]}


def _opening(links: tuple[Link, ...]) -> list[Block]:
    """Buttons that open a page: the first links, as far as there is room; an endless one would take the others'."""
    buttons: list[Block] = []
    room = ALL_URLS
    for at, link in enumerate(links):
        if len(link.url) < min(URL, room):
            buttons.append(_button(link, f"open_{at}"))
            room -= len(link.url)
    return buttons


def _button(link: Link, action: str) -> Block:
    return {"type": "button", "text": plain_text(cut(link.label, BUTTON)), "url": link.url, "action_id": action}


def _mention(message: Message) -> str:
    """Only a page calls somebody, and only in a channel: in their own messages they are called anyway."""
    known = re.fullmatch("[UW][A-Z0-9]{2,20}", message.mention)
    return f"<@{message.mention}> " if known and message.kind is Kind.PAGE and message.address != known[0] else ""


def _headline(message: Message) -> str:
    return cut(escaped(message.headline), HEADLINE)


def markdown(text: str) -> Block:
    """Text in which nothing but Slack's marks is more than text."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}  # verbatim: names and URLs of an alert are no links


def plain_text(text: str) -> Block:
    """Text without marks."""
    return {"type": "plain_text", "text": text}


def cut(text: str, limit: int) -> str:
    """Cut visibly, and never inside an escape: ``&l`` would show as it is."""
    return text if len(text) <= limit else re.sub(r"&[a-z]{0,3}$", "", text[: limit - 2]) + " …"
