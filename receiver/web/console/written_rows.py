"""Keeps the rows of the list as HTML: one is written again when its incident, the configuration or the day changes."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from datetime import datetime
from functools import partial

import msgspec
from markupsafe import Markup, escape

from receiver.incident.model import Incident
from receiver.policy.routing import Routing
from receiver.web.console.layout import Layout, Viewing
from receiver.web.console.now_page import Row, row_of

_MOST = 2000  # rows, of about a kilobyte
_AGE, _END = " data-age>", "</time>"  # around what each second changes; no text of others has an unescaped ">"


class _Written(msgspec.Struct, frozen=True):
    """A row without its age, and what it was written from."""

    incident: Incident
    routing: Routing  # names, and who is paged next
    today: str  # times of another day are written with it
    opened_at: datetime
    before: str
    after: str


class WrittenRows:
    """The rows that were written last, for everybody who may do the same and reads alike."""

    def __init__(self, layout: Layout, most: int = _MOST) -> None:
        self._layout, self._most = layout, most
        self._rows: OrderedDict[Hashable, _Written] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def seen_by(self, look: Viewing) -> Callable[[Incident], Markup]:
        """Give what gives the row of an incident as it is now."""
        return partial(self._row, look, self._layout.macro("rows.html", "row", look))

    def _row(self, look: Viewing, macro: Callable[[Row], Markup], incident: Incident) -> Markup:
        if incident.opened_at is None:
            return _write(incident, look, macro)
        reader = look.reader
        key = incident.id, look.root, look.may_act, reader.language, reader.zone
        today, known = reader.local(look.now, "%Y-%m-%d"), self._rows.get(key)
        if known is None or known.incident is not incident or known.routing is not look.routing or known.today != today:
            before, _, rest = _write(incident, look, macro).partition(_AGE)
            after = rest.partition(_END)[2]
            known = _Written(incident, look.routing, today, incident.opened_at, str(before), str(after))
            self._rows[key] = known
        self._rows.move_to_end(key)
        if len(self._rows) > self._most:
            self._rows.popitem(last=False)
        age = escape(reader.duration(look.now - known.opened_at))
        return Markup(f"{known.before}{_AGE}{age}{_END}{known.after}")  # noqa: S704  # escaped

    def keep_only(self, incidents: Collection[Incident]) -> None:
        """Forget the rows of incidents that have changed or are over, and let go of these."""
        current = {incident.id: incident for incident in incidents}
        for key, written in list(self._rows.items()):
            if current.get(written.incident.id) is not written.incident:
                del self._rows[key]

    def forget(self) -> None:
        """Give back the memory."""
        self._rows.clear()


def _write(incident: Incident, look: Viewing, macro: Callable[[Row], Markup]) -> Markup:
    return macro(row_of(incident, look.routing, look.reader, look.now))
