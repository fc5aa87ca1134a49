"""Writes pages around what they show: the frame, the navigation, the headers that keep scripts of others out."""

import re
from collections.abc import Callable, Container, Mapping
from datetime import datetime

import jinja2
import msgspec
from aiohttp import web
from markupsafe import Markup

from receiver.messages.compose import reader_of
from receiver.messages.i18n import Reader, preferred
from receiver.policy.current import Current
from receiver.policy.routing import Routing
from receiver.web.access.security_headers import add_headers
from receiver.web.access.viewer import ADDRESS, VIEWER, Role, Viewer
from receiver.web.console.static_files import StaticFiles
from receiver.web.console.times import Times

# hx-sse pauses in hidden tabs; see receiver/web/console/stream.py for what the server sends.
_HTMX = {
    "history": False,
    "includeIndicatorCSS": False,
    "noSwap": [204, 304, "5xx"],
    "morphIgnore": ["data-htmx-powered", "open"],  # else each update closes what the reader has opened
    "sse": {"reconnectMaxDelay": 5000},
}
# Controls, separators of lines, marks of direction, and what has no width; Markup is our own and has none.
_INVISIBLE = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200c\\u200e\\u200f"
    "\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f]"
)
_MOST_LEVELS = 8  # of a path


class Viewing(msgspec.Struct, frozen=True):
    """One look at a page: who looks, how that person reads, and when."""

    viewer: Viewer
    reader: Reader
    routing: Routing
    now: datetime
    address: str = ""  # where the request came from, for the audit log
    root: str = ""  # the way from the page to the console's own address, as "../"

    @property
    def may_act(self) -> bool:
        """Say whether buttons are shown."""
        return self.viewer.role is not Role.VIEWER


def viewing(request: web.Request, current: Current, now: datetime, levels: int) -> Viewing:
    """Say who looks; the page is ``levels`` below the console's address."""
    return view_of(request[VIEWER], request, current.routing, now, levels)


def view_of(viewer: Viewer, request: web.Request, routing: Routing, now: datetime, levels: int) -> Viewing:
    """Let somebody look who is known otherwise: by the link of a message."""
    if viewer.person in routing.people:
        reader = reader_of(routing, viewer.person)
    else:
        reader = Reader(preferred(request.headers.get("Accept-Language", "")), name_of=routing.directory.name)
    return Viewing(viewer, reader, routing, now, request.get(ADDRESS, ""), "../" * min(levels, _MOST_LEVELS))


class Layout:
    """The templates of the console."""

    def __init__(
        self, brand: str = "HeyPeter", pictured: Container[str] = (), silenceable: Container[str] = ()
    ) -> None:
        """``pictured`` are the sources whose incidents may have a chart, ``silenceable`` those that can be silenced."""
        self.files = StaticFiles()
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("receiver.web.console"),
            undefined=jinja2.StrictUndefined,
            autoescape=True,
            finalize=_visible,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "brand": brand,
            "pictured": pictured,
            "silenceable": silenceable,
            "files": self.files.names,
            "htmx_config": msgspec.json.encode(_HTMX).decode(),
        }

    def write(self, template: str, look: Viewing, **values: object) -> str:
        """Write a page, or a part of one."""
        return self._templates.get_template(template).render(**_always(look), **values)

    def macro(self, template: str, name: str, look: Viewing) -> Callable[..., Markup]:
        """Give a macro of a template, for what is written many times."""
        macro: Callable[..., Markup] = getattr(self._templates.get_template(template).make_module(_always(look)), name)
        return macro

    def bare(self, template: str, reader: Reader, root: str, values: Mapping[str, object]) -> str:
        """Write a page for somebody whom we do not know."""
        return self._templates.get_template(template).render(say=reader.say, reader=reader, root=root, **values)

    def page(self, template: str, look: Viewing, values: Mapping[str, object], status: int = 200) -> web.Response:
        """Answer with a page."""
        return answer(self.write(template, look, **values), status)

    def problem(self, look: Viewing, key: str, status: int) -> web.Response:
        """Answer with a page that says why there is nothing else."""
        return self.page("problem.html", look, {"text": look.reader.say(key)}, status)


def _always(look: Viewing) -> dict[str, object]:
    """Give what every template may use."""
    return {
        "say": look.reader.say,
        "reader": look.reader,
        "times": Times(look.reader, look.now),
        "viewer": look.viewer,
        "may_act": look.may_act,
        "root": look.root,
        "now_iso": look.now.isoformat(),
        "in_words": look.reader.say("console_in", time="{time}"),
        "units": "|".join(look.reader.say(f"unit_{unit}", number="{n}") for unit in "dhms"),
    }


def _visible(value: object) -> object:
    """Leave out what shows nothing or turns the direction of writing (trojansource.codes), whoever wrote it.

    Lines stay lines, and the joiner of emoji and Indic scripts stays.
    """
    return _INVISIBLE.sub(" ", value) if type(value) is str and not value.isprintable() else value


def answer(text: str, status: int = 200) -> web.Response:
    """Answer with HTML that may run nothing but our own script, and packed if it is long."""
    response = web.Response(text=text, status=status, content_type="text/html")
    add_headers(response)
    if len(text) > 1500:  # noqa: PLR2004  # about one packet
        response.enable_compression()
    return response
