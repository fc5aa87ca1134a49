"""The loop that tells people of covers of shifts: who is asked to stand in, and what became of what they had asked for.

It is written with the change (receiver.store.duty), and stays until one of the person's channels has taken it.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from functools import partial

from receiver.channels.base import Channel, Link, Message, Receipt, SendError, Words, attempt
from receiver.incident.model import Kind, Priority
from receiver.messages.compose import reader_of
from receiver.messages.i18n import Reader, one_line
from receiver.messages.templating import Templates
from receiver.oncall.contact_rules import Contact
from receiver.oncall.cover import CoverNews
from receiver.policy.current import Current
from receiver.store.duty import CoverNotice, DutyStore

log = logging.getLogger(__name__)

PERIOD = 5.0  # seconds
_AT_ONCE = 50
_FIRST, _LONGEST = timedelta(seconds=30), timedelta(hours=1)  # between two attempts
_MOST_TRIES = 30  # in a day; time in which we did not run uses up none
_REASON = 500  # characters
_LIKE = Priority.P3  # nobody is woken for it: the ways of a person at this priority and hour

_HEADLINES = {
    CoverNews.ASKED: "cover_news_asked",
    CoverNews.MADE: "cover_news_made",
    CoverNews.ACCEPTED: "cover_news_accepted",
    CoverNews.DECLINED: "cover_news_declined",
    CoverNews.WITHDRAWN: "cover_news_withdrawn",
    CoverNews.CANCELLED: "cover_news_cancelled",
}
_OF_OTHERS = {CoverNews.ACCEPTED: "cover_news_accepted_other", CoverNews.DECLINED: "cover_news_declined_other"}


class CoverNotices:
    """``run_once`` tells what is due, by the ``read`` of the channels that carry text; ``url`` is the console's."""

    def __init__(  # the composition root hands over every collaborator
        self,
        duty: DutyStore,
        current: Current,
        clock: Callable[[], datetime],
        channels: Mapping[str, Channel],
        read: Collection[str],
        url: str,
        templates: Templates,
    ) -> None:
        self._duty, self._current, self._clock, self._channels, self._read = duty, current, clock, channels, read
        self._url, self._templates = f"{url.rstrip('/')}/on-call", templates

    async def run_once(self) -> int:
        """Give how many were told."""
        told = 0
        for notice in await self._duty.cover_notices(self._clock(), _AT_ONCE):
            told += await self._tell(notice)
        return told

    async def _tell(self, notice: CoverNotice) -> bool:
        """Send it by each way; one that takes it is enough."""
        now, permanent, arrived = self._clock(), True, False
        ways = self._ways(notice.person, now)
        for way in ways:
            try:
                await attempt(self._send(notice, way, now), f"notice {notice.id} of a cover by {way.channel}")
                arrived = True
            except SendError as error:
                log.warning("%s was not told of a cover by %s: %s", notice.person, way.channel, error)
                permanent = permanent and error.permanent
        over = notice.tries + 1 >= _MOST_TRIES or notice.cover.end <= now
        if arrived or over or (ways and permanent) or not ways:
            if not arrived:
                log.error("%s has not been told of cover %d: %s", notice.person, notice.cover.id, notice.news.value)
            await self._duty.drop_notice(notice.id)
        else:
            await self._duty.put_off_notice(notice.id, now + min(_FIRST * 2 ** min(notice.tries, 10), _LONGEST))
        return arrived

    async def _send(self, notice: CoverNotice, way: Contact, now: datetime) -> Receipt:
        return await self._channels[way.channel].send(self._message(notice, way, now))

    def _ways(self, person: str, now: datetime) -> tuple[Contact, ...]:
        known = self._current.routing.people.get(person)
        if known is None:
            return ()
        usable = [one for one in known.contacts if one.channel in self._read and one.channel in self._channels]
        now_used = known.ways(_LIKE, now)
        return tuple(one for one in usable if one in now_used) or tuple(usable)

    def _message(self, notice: CoverNotice, way: Contact, now: datetime) -> Message:
        reader, cover = reader_of(self._current.routing, notice.person), notice.cover
        headline = reader.say(_headline(notice), **_named(notice, reader))
        lines = [reader.say("cover_news_when", start=reader.moment(cover.start), end=reader.moment(cover.end))]
        if cover.reason:
            lines.append(reader.say("cover_news_reason", reason=one_line(cover.reason, _REASON)))
        values: dict[str, object] = {
            "language": reader.language,
            "headline": headline,
            "lines": lines,
            "url": self._url,
            "say": reader.say,
            "product": self._templates.brand.name,
        }
        body, name = "\n".join(lines), f"heypeter-cover-{cover.id}-{notice.id}"
        return Message(
            id=name,
            kind=Kind.UPDATE,
            address=way.address,
            lane=f"cover:{cover.id}:{way.address}",
            incident=name,
            priority="",
            severity="info",
            subject=headline,
            headline=headline,
            text=f"{body}\n\n{self._url}",
            write_html=partial(self._templates.write, "cover.html", values),
            fields=(),
            links=(Link(reader.say("cover_news_link"), self._url),),
            sent_at=now,
            words=Words(status=reader.say("cover_news")),
            brand=self._templates.brand,
            lead=f"{headline}\n{body}",
        )


def _headline(notice: CoverNotice) -> str:
    """Of a swap, whoever answers is the one who stands in in one half only."""
    if notice.news is CoverNews.ASKED and notice.cover.out == notice.actor:
        return "cover_news_asked_own"
    if notice.news in _OF_OTHERS and notice.cover.person != notice.actor:
        return _OF_OTHERS[notice.news]
    return _HEADLINES[notice.news]


def _named(notice: CoverNotice, reader: Reader) -> dict[str, object]:
    cover = notice.cover
    everybody = reader.say("cover_news_everybody", schedule=one_line(cover.schedule, _REASON))
    return {
        "by": reader.who(notice.actor),
        "person": reader.who(cover.person),
        "out": reader.who(cover.out) if cover.out else everybody,
    }
