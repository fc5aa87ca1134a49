"""Draws a chart as SVG: attributes only, no style, no script, nothing loaded, all text escaped. Pure.

Our pages allow no inline style (design: Content-Security-Policy), mail programs no script, and resvg needs neither.
"""

import unicodedata
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from xml.sax.saxutils import quoteattr

import msgspec

from receiver.evidence.axis import Scale, decimals, scale, times
from receiver.evidence.chart import Chart, Deployment, Line, in_words, number
from receiver.messages.i18n import Reader, one_line

WIDE, NARROW = 640, 360  # pixels: of a picture beside others and in a mail, and of one on a phone
WIDTHS = (WIDE, NARROW)
PLOT = 210  # pixels: the height of the plot
_LEFT, _RIGHT, _TOP = 58, 30, 66  # pixels around the plot
_AXIS, _ROW, _BOTTOM = 40, 18, 10  # below the plot: times and their zone; a line's name; the edge
_TEXT, _SMALL, _TITLE = 12, 11, 16  # font sizes
_VALUES = 5  # ticks at most
_FOR_A_TIME = 78  # pixels from one tick of the time axis to the next
_APART = 12.0  # pixels between the letters at the ends of two lines
_LETTERS = "ABCDE"
_NARROW_ONES, _WIDE_ONES = frozenset(" .,:;|!'()[]{}/\\ijlrtf\"*-I"), frozenset("mwMW@%")


class Theme(StrEnum):
    """The colours that suit what is around the picture."""

    LIGHT = "light"
    DARK = "dark"


class _Colours(msgspec.Struct, frozen=True):
    paper: str
    ink: str
    soft: str
    grid: str
    limit: str
    deployed: str
    lines: tuple[str, ...]


# Each at least 4.5:1 on its paper, as text must be (w3.org/TR/WCAG22, 1.4.3).
_COLOURS = {
    Theme.LIGHT: _Colours(
        paper="#ffffff",
        ink="#1b1f24",
        soft="#57606a",
        grid="#d8dee4",
        limit="#cf222e",
        deployed="#8250df",
        lines=("#0550ae", "#9a6700", "#1a7f37", "#bf3989", "#57606a"),
    ),
    Theme.DARK: _Colours(
        paper="#0d1117",
        ink="#e6edf3",
        soft="#9198a1",
        grid="#30363d",
        limit="#ff7b72",
        deployed="#d2a8ff",
        lines=("#79c0ff", "#e3b341", "#56d364", "#ff9bce", "#9198a1"),
    ),
}


def svg(drawn: Chart, reader: Reader, theme: Theme = Theme.LIGHT, width: int = WIDE) -> str:
    """Write the picture, with times in the reader's zone."""
    return _Writer(drawn, reader, _COLOURS[theme], width).picture()


def height(drawn: Chart) -> int:
    """Give its height in pixels."""
    return _TOP + PLOT + _AXIS + len(drawn.lines) * _ROW + _BOTTOM


class _Writer:
    def __init__(self, drawn: Chart, reader: Reader, colours: _Colours, width: int) -> None:
        self._drawn, self._reader, self._colours, self._wide = drawn, reader, colours, width
        self._height = height(drawn)
        values = [value for line in drawn.lines for piece in line.pieces for _, value in piece]
        self._scale = scale((*values, *([] if drawn.limit is None else [drawn.limit])), _VALUES)
        self._begin = drawn.start.timestamp()
        self._length = max(drawn.end.timestamp() - self._begin, 1.0)

    def picture(self) -> str:
        said = one_line(in_words(self._drawn, self._reader), 600)
        size = f'width="{self._wide}" height="{self._height}" viewBox="0 0 {self._wide} {self._height}"'
        named = f'role="img" aria-label={quoteattr(said)} font-family="Roboto, system-ui, sans-serif"'
        parts = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {named}>',
            f'<rect width="{self._wide}" height="{self._height}" fill="{self._colours.paper}"/>',
            *self._head(),
            *self._beyond(),
            *self._values(),
            *self._times(),
            *self._marks(),
            *self._lines(),
            *self._names(),
            "</svg>",
        )
        return "".join(parts)

    def _x(self, at: float) -> float:
        return _LEFT + (self._wide - _LEFT - _RIGHT) * (at - self._begin) / self._length

    def _y(self, value: float) -> float:
        return _TOP + PLOT * (self._scale.high - value) / (self._scale.high - self._scale.low)

    def _head(self) -> Iterator[str]:
        drawn, room = self._drawn, self._wide - 24
        yield self._text(12, 22, _fit(drawn.title, room, _TITLE), size=_TITLE, fill=self._colours.ink)
        limit = "" if drawn.limit is None else f" {drawn.operator} {number(drawn.limit, self._reader)}"
        shown = _fit(drawn.expression, room - _width(limit, _SMALL), _SMALL)
        yield self._text(12, 39, f"{shown}{limit}", size=_SMALL)

    def _beyond(self) -> Iterator[str]:
        """Shade where it fires."""
        drawn = self._drawn
        if drawn.limit is None:
            return
        y = self._y(drawn.limit)
        if drawn.above is not None:
            top, bottom = (_TOP, y) if drawn.above else (y, float(_TOP + PLOT))
            yield (
                f'<rect x="{_LEFT}" y="{top:.1f}" width="{self._wide - _LEFT - _RIGHT}" height="{bottom - top:.1f}" '
                f'fill="{self._colours.limit}" fill-opacity="0.08"/>'
            )

    def _values(self) -> Iterator[str]:
        for value in self._scale.ticks:
            y = self._y(value)
            yield self._line(_LEFT, y, self._wide - _RIGHT, y, self._colours.grid)
            yield self._text(_LEFT - 8, y + 4, _tick(value, self._scale, self._reader), anchor="end")

    def _times(self) -> Iterator[str]:
        drawn, reader, bottom = self._drawn, self._reader, _TOP + PLOT
        for at, midnight in times(drawn.start, drawn.end, reader.zone, self._wide // _FOR_A_TIME):
            x = self._x(at.timestamp())
            yield self._line(x, bottom, x, bottom + 4, self._colours.soft)
            shown = reader.local(at, reader.say("chart_day")) if midnight else reader.local(at, "%H:%M")
            yield self._text(x, bottom + 17, shown, anchor="middle", fill=self._colours.ink if midnight else "")
        first, last = (reader.local(at, "%Y-%m-%d") for at in (drawn.start, drawn.end))
        days = last if first == last else reader.say("chart_days", first=first, last=last)
        yield self._text(self._wide - _RIGHT, bottom + 34, f"{days}, {reader.zone}", anchor="end")

    def _marks(self) -> Iterator[str]:
        """Draw when it opened and ended, and what was deployed; words that would lie on others are left out."""
        drawn, say = self._drawn, self._reader.say
        taken: list[tuple[float, float]] = []
        for at, key in ((drawn.opened_at, "chart_opened"), (drawn.resolved_at, "chart_resolved")):
            if at is not None and drawn.start <= at <= drawn.end:
                yield from self._mark(at, say(key, time=self._reader.local(at, "%H:%M")), self._colours.ink, "", taken)
        for one in reversed(drawn.deployments):
            yield from self._mark(one.at, self._deployed(one), self._colours.deployed, "2 3", taken)

    def _deployed(self, one: Deployment) -> str:
        return self._reader.say("chart_deployed", time=self._reader.local(one.at, "%H:%M"))

    def _mark(
        self, at: datetime, word: str, colour: str, dashes: str, taken: list[tuple[float, float]]
    ) -> Iterator[str]:
        x, width = self._x(at.timestamp()), _width(word, _SMALL)
        yield self._line(x, _TOP - 4, x, _TOP + PLOT, colour, dashes=dashes)
        yield f'<path d="M{x - 4:.1f} {_TOP - 10}h8l-4 7z" fill="{colour}"/>'
        for middle in (x, x - width / 2 - 5, x + width / 2 + 5):
            begin, end = middle - width / 2, middle + width / 2
            free = all(end + 4 <= other or begin - 4 >= until for other, until in taken)
            if free and begin >= 0 and end <= self._wide:
                taken.append((begin, end))
                yield self._text(middle, _TOP - 13, word, anchor="middle", fill=colour)
                return

    def _lines(self) -> Iterator[str]:
        for at, line in reversed(list(enumerate(self._drawn.lines))):
            yield from self._series(line, self._colours.lines[at], 2.2 if line.fires or at == 0 else 1.4)
        if self._drawn.limit is not None:
            y = self._y(self._drawn.limit)
            yield self._line(_LEFT, y, self._wide - _RIGHT, y, self._colours.limit, width=1.6, dashes="7 4")
            yield from self._limit_words(y)

    def _limit_words(self, y: float) -> Iterator[str]:
        """Name the threshold on the side where it does not fire, or where there is room."""
        drawn = self._drawn
        word = f"{drawn.operator} {number(drawn.limit or 0.0, self._reader)}"
        below = y + 14 if drawn.above or drawn.above is None else y - 5
        inside = min(max(below, _TOP + 12), _TOP + PLOT - 4)
        width = _width(word, _SMALL) + 6
        yield (
            f'<rect x="{_LEFT + 3}" y="{inside - 10:.1f}" width="{width:.1f}" height="13" '
            f'fill="{self._colours.paper}" fill-opacity="0.8"/>'
        )
        yield self._text(_LEFT + 6, inside, word, fill=self._colours.limit)

    def _series(self, line: Line, colour: str, width: float) -> Iterator[str]:
        path: list[str] = []
        for piece in line.pieces:
            points = [f"{self._x(at):.1f} {self._y(value):.1f}" for at, value in piece]
            path.append("M" + "L".join(points if len(points) > 1 else points * 2))  # one point: a dot, by its cap
        yield (
            f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="{width}" '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )

    def _names(self) -> Iterator[str]:
        """Put a letter at the end of each line, for those who cannot tell the colours apart, and its name below."""
        lines = self._drawn.lines
        places = _spread([self._y(line.last[1]) for line in lines])
        for at, (line, y) in enumerate(zip(lines, places, strict=True)):
            colour, row, left = self._colours.lines[at], _TOP + PLOT + _AXIS + (at + 1) * _ROW - 4, 12
            if len(lines) > 1:
                yield self._text(self._wide - _RIGHT + 8, y + 4, _LETTERS[at], fill=colour, size=_TEXT)
                yield self._text(left, row, _LETTERS[at], fill=colour, size=_TEXT)
                left += 16
            value, name = number(line.last[1], self._reader), line.name or self._reader.say("chart_value")
            room = self._wide - _RIGHT - left - _width(value, _TEXT) - 20
            yield self._text(left, row, _fit(name, room, _TEXT), fill=self._colours.ink, size=_TEXT)
            yield self._text(self._wide - _RIGHT, row, value, fill=self._colours.ink, size=_TEXT, anchor="end")

    def _line(  # two points, and how they are joined
        self, x: float, y: float, to_x: float, to_y: float, colour: str, *, width: float = 1.0, dashes: str = ""
    ) -> str:
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        return (
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{dashed}/>'
        )

    def _text(  # a place, words, and how they look
        self, x: float, y: float, words: str, *, size: int = _SMALL, anchor: str = "start", fill: str = ""
    ) -> str:
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{fill or self._colours.soft}">{_escaped(words)}</text>'
        )


def _tick(value: float, axis: Scale, reader: Reader) -> str:
    """Write a tick so that it differs from its neighbours."""
    step = axis.ticks[1] - axis.ticks[0] if len(axis.ticks) > 1 else abs(value) or 1.0
    size = max(abs(axis.high), abs(axis.low))
    for least, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= least:
            unit = 1000.0 if letter == "k" else least
            shown = f"{value / unit:.{decimals(step / unit)}f}"
            return "0" if value == 0 else shown.replace(".", reader.say("decimal_mark")) + letter
    if step < 1e-4:  # noqa: PLR2004  # where digits no longer help
        return "0" if value == 0 else f"{value:.1e}".replace(".", reader.say("decimal_mark"))
    return f"{value + 0.0:.{decimals(step)}f}".replace(".", reader.say("decimal_mark"))


def _spread(places: list[float]) -> list[float]:
    """Move letters apart that would lie on each other."""
    order = sorted(range(len(places)), key=lambda at: places[at])
    moved = list(places)
    for before, at in pairwise(order):
        moved[at] = max(moved[at], moved[before] + _APART)
    over = max(0.0, moved[order[-1]] - (_TOP + PLOT))
    return [place - over for place in moved] if over else moved


def _width(text: str, size: int) -> float:
    """Estimate how wide a text is: nobody here can measure it, and a little too much does no harm."""
    return size * sum(map(_advance, text))


def _advance(character: str) -> float:
    """Give the width of a character in ems, about as Roboto has it."""
    if character in _NARROW_ONES:
        return 0.36
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    return 0.9 if character in _WIDE_ONES else 0.68 if character.isupper() else 0.57


def _fit(text: str, room: float, size: int) -> str:
    if _width(text, size) <= room:
        return text
    taken, kept = _width("…", size), 0
    for character in text:
        taken += _width(character, size)
        if taken > room:
            break
        kept += 1
    return text[:kept].rstrip() + "…"


def _escaped(text: str) -> str:
    return quoteattr(text, {'"': "&quot;"})[1:-1]
