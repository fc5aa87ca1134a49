"""Loads the templates of messages: built-in ones, or those of a folder, which may fail and never cost a page.

A template of the folder runs in Jinja's sandbox: it sees the values of the message and nothing else, and what it
writes is bounded. When it fails, the built-in one is used and says so at its end.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from receiver.channels.base import Brand

log = logging.getLogger(__name__)

NAMES = ("message.txt", "message.html", "bundle.txt", "bundle.html")
LONGEST = 200_000  # characters that a template may write
_LOOPS = 1000  # turns of one loop of range(): a loop over alerts is bounded by what it is given


def _environment(loader: jinja2.BaseLoader, *, auto_reload: bool = True) -> jinja2.Environment:
    made = ImmutableSandboxedEnvironment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=auto_reload,
    )
    made.globals["range"] = _range
    return made


def _range(*bounds: int) -> range:
    made = range(*bounds)
    if len(made) > _LOOPS:
        raise SecurityError(f"range() of more than {_LOOPS}")
    return made


class Templates:
    """Writes messages; ``failed`` is told the name of a template of the folder that could not be used."""

    def __init__(
        self,
        folder: Path | None = None,
        failed: Callable[[str], None] = lambda _name: None,
        brand: Brand = Brand(),  # noqa: B008  # immutable
    ) -> None:
        self.brand = brand
        self._own = _environment(jinja2.PackageLoader("receiver.messages"), auto_reload=False)
        self._folder = folder
        self._theirs = _environment(jinja2.FileSystemLoader(folder)) if folder else None
        self._failed = failed

    def write(self, name: str, values: dict[str, object]) -> str:
        """Write one part of a message; it fails only if the built-in template does."""
        if self._theirs is None or self._folder is None or not (self._folder / name).is_file():
            return self._own.get_template(name).render(values, trouble=None)
        try:
            return self._bounded(self._theirs.get_template(name), values)
        except Exception as error:
            log.exception("the template %s of %s failed; the built-in one is used", name, self._folder)
            self._failed(name)
            trouble = {"template": name, "why": type(error).__name__}
            return self._own.get_template(name).render(values, trouble=trouble)

    @staticmethod
    def _bounded(template: jinja2.Template, values: dict[str, object]) -> str:
        parts, length = [], 0
        for part in template.generate(values, trouble=None):
            length += len(part)
            if length > LONGEST:
                raise SecurityError(f"it writes more than {LONGEST} characters")
            parts.append(part)
        text = "".join(parts)
        if not text.strip():
            raise ValueError("it writes nothing")
        return text
