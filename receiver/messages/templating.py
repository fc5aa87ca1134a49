"""Loads the templates of messages: built-in ones, or those of a folder, which may fail and never cost a page.

A template of the folder runs in Jinja's sandbox: it sees the values of the message and nothing else, and what it
writes is bounded. When it fails, the built-in one is used and says so at its end.
"""

import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from receiver.channels.base import Brand

NAMES = ("message.txt", "message.html", "bundle.txt", "bundle.html")
LONGEST = 200_000  # characters that a template may write
_WHY = 200  # characters of an error
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


@functools.cache
def _built_in() -> jinja2.Environment:
    """Compile the shipped templates once, however often receiver.yml is read."""
    return _environment(jinja2.PackageLoader("receiver.messages"), auto_reload=False)


class Failed(NamedTuple):
    """A template of the folder that could not be used; ``line`` is 0 if it is not known."""

    name: str
    path: Path
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.path}{f':{self.line}' if self.line else ''}: {self.why}"

    @classmethod
    def of(cls, name: str, path: Path, error: Exception) -> "Failed":
        """Say where in the template the error came up: Jinja gives frames the template's own lines."""
        frames = [
            frame.lineno or 0 for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
        ]
        line = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else (frames or [0])[-1]
        return cls(name, path, line, " ".join(str(error).split())[:_WHY] or type(error).__name__)


class Templates:
    """Writes messages; ``failed`` is told of a template of the folder that could not be used."""

    def __init__(
        self,
        folder: Path | None = None,
        failed: Callable[[Failed], None] = lambda _failed: None,
        brand: Brand = Brand(),  # noqa: B008  # immutable
    ) -> None:
        self.brand = brand
        self._own = _built_in()
        self._folder = folder
        self._theirs = _environment(jinja2.FileSystemLoader(folder)) if folder else None
        self._failed = failed

    def write(self, name: str, values: dict[str, object]) -> str:
        """Write one part of a message; it fails only if the built-in template does."""
        if self._theirs is None or self._folder is None or name not in NAMES:
            return self._own.get_template(name).render(values, trouble=None)
        trouble = None
        try:
            if (self._folder / name).is_file():
                return self._bounded(self._theirs.get_template(name), values)
        except Exception as error:  # noqa: BLE001  # whatever a template of theirs does, or its disk, the page goes out
            self._failed(Failed.of(name, self._folder / name, error))
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
