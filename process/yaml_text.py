"""Reads YAML that anybody may have written: bounded in depth and in what its aliases stand for."""

import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

_MOST_DEPTH = 200  # PyYAML's C parser recurses: some 100,000 levels end the process
_MOST_NODES = (
    2_000_000  # with each alias counted as what it stands for: nine lines of nine aliases each are 387 million
)
_REASON_SHOWN = 200  # characters

_UNQUOTED = "; is a bracket left open, or does a text with `: ` or ` #` need quotes?"
_HINTS = {
    "expected ',' or '}'": _UNQUOTED,
    "expected ',' or ']'": _UNQUOTED,
    "mapping values are not allowed": "; does a text with `: ` need quotes, or is the line indented too far?",
    "expected key": "; is a quote left open, or the line not indented like those beside it?",
    "expected <block end>": "; is a quote left open, or the line not indented like those beside it?",  # PyYAML's own
}

# Ten times faster, but not in every build of PyYAML.
_Safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(_Safe):  # type: ignore[misc,valid-type]  # one of two classes
    """YAML 1.1 as PyYAML reads it; a value such as the date 2026-13-01 is an error with its line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Hashable:  # noqa: FBT001, FBT002  # PyYAML's
        """Construct one value."""
        try:
            made: Hashable = super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            raise yaml.constructor.ConstructorError(None, None, str(error)[:_REASON_SHOWN], node.start_mark) from error
        return made


class TextLoader(Loader):
    """YAML as a Go program reads it into fields of type string: `on`, `1:30` and 2026-09-07 are texts as written.

    Only `true`, `false` and null keep their types: ``text`` writes them.
    """


_KEPT = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"}
_BOOLEAN = re.compile(r"(?:true|false)$")
TextLoader.yaml_implicit_resolvers = {
    first: [(tag, _BOOLEAN if tag.endswith(":bool") else pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in _Safe.yaml_implicit_resolvers.items()
}


def text(value: object) -> str:
    """Give a scalar of a ``TextLoader`` as Go has it in a string."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def load(source: str, loader: type[Loader] = Loader) -> tuple[yaml.Node | None, Any]:
    """Give the one document's nodes and its data; YAMLError says what is wrong, and where if that is known."""
    check(source)
    return yaml.compose(source, Loader=loader), yaml.load(source, Loader=loader)  # noqa: S506  # a safe one


def explained(error: yaml.YAMLError, source: str) -> tuple[int | None, str]:
    """Give the line of an error, if it is known, and what is wrong there, with the likely fix."""
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if mark is None:
        return None, problem
    if "cannot start any token" in problem:
        line = source.splitlines()[mark.line][mark.column :]
        if line.startswith("\t"):
            return mark.line + 1, "indented with a tab; use spaces"
        return mark.line + 1, f"a text that begins with {line[:1]!r} needs quotes"
    hint = next((hint for part, hint in _HINTS.items() if part in problem), "")
    return mark.line + 1, problem + hint


def load_all(source: str, loader: type[Loader] = Loader) -> Iterator[Any]:
    """Give the data of each document."""
    check(source)
    return yaml.load_all(source, Loader=loader)  # a safe one


def check(source: str) -> None:
    """Raise YAMLError if it is nested too deeply, or stands for too much."""
    sizes = dict[str, int]()  # anchor -> nodes
    opened = [("", 0)]  # anchor and nodes so far of what is being read, outermost first
    for event in yaml.parse(source, Loader=_Safe):
        if isinstance(event, yaml.AliasEvent):
            # An unknown anchor is refused by the composer; one that is open holds itself.
            _grow(opened, sizes.get(event.anchor or "", 1), event)
            if any(anchor == event.anchor for anchor, _ in opened):
                raise _refused(f"the alias {event.anchor!r} stands for something that holds it", event)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(opened) > _MOST_DEPTH:
                raise _refused(f"nested more than {_MOST_DEPTH} levels deep", event)
            opened.append((event.anchor or "", 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = opened.pop()
            _close(sizes, anchor, size)
            _grow(opened, size, event)
        elif isinstance(event, yaml.ScalarEvent):
            _close(sizes, event.anchor, 1)
            _grow(opened, 1, event)


def _grow(opened: list[tuple[str, int]], size: int, event: yaml.Event) -> None:
    anchor, nodes = opened[-1]
    if nodes + size > _MOST_NODES:
        raise _refused(f"more than {_MOST_NODES} values with all aliases written out", event)
    opened[-1] = anchor, nodes + size


def _close(sizes: dict[str, int], anchor: str | None, size: int) -> None:
    if anchor:
        sizes[anchor] = size


def _refused(problem: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]  # the C parser's own kind of mark
