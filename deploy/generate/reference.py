"""The pages that list every key of receiver.yml and exporter.yml, from the structs that read them.

A key is described by the string below its field, a section by the docstring of its struct.
"""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, UnsetType

from exporter.config import Config as ExporterConfig
from process.settings import Duration, Secret
from receiver.channels.registry import CHANNELS, declaration
from receiver.config.channels import Channels
from receiver.config.generic import Expression
from receiver.config.load import Config as ReceiverConfig
from receiver.oncall.localtime import LocalDateTime, LocalTime, WeekTime

ROOT = Path(__file__).resolve().parents[2]
HEAD = """\
# Every key of {name}

Generated from the structs that read the file, by `python -m deploy.generate`. The commented example is
[deploy/config/{name}](../deploy/config/{name}). To check a file of yours: `{program} check --config.file {name}`.

- A key without a default is required. Unknown keys are errors.
- A duration is written as in Prometheus: `250ms`, `30s`, `15m`, `1h30m`, `7d`. A path is relative to the file.
- A secret can be read from the environment, written as `${{NAME}}`, or from the file that its twin `*_file` names.
"""
FILES: dict[str, type[msgspec.Struct]] = {"receiver": ReceiverConfig, "exporter": ExporterConfig}
_WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    Secret: "secret",
    Expression: "JMESPath",
    LocalDateTime: "date, or date and time",
    LocalTime: "time of day",
    WeekTime: "day and time",
}
_UNITS = (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


class Section(NamedTuple):
    """A mapping of the file: where it is, and the struct that reads it."""

    at: str
    kind: type[msgspec.Struct]


def texts() -> dict[Path, str]:
    """Give the text of both pages; ValueError names a key without a description."""
    return {ROOT / f"docs/reference-{name}.md": page(f"{name}.yml", kind) for name, kind in FILES.items()}


def page(name: str, kind: type[msgspec.Struct]) -> str:
    """Give the page of one file."""
    known = {one.kind: one.at for one in sections(kind)}
    parts = [HEAD.format(name=name, program=f"heypeter-{name.removesuffix('.yml')}")]
    for struct, at in known.items():
        title = f"`{at}`" if at else "Top level"
        intro = " ".join((inspect.getdoc(struct) or "").split()).replace("``", "`")
        parts.append(f"## {title}\n\n{intro}\n\n{_table(struct, known)}\n")
    return "\n".join(parts)


def sections(kind: type[msgspec.Struct]) -> Iterator[Section]:
    """List the mappings of a file in the order of its keys, each struct once; those inside follow their own."""
    seen, waiting = set[type[msgspec.Struct]](), [Section("", kind)]
    while waiting:
        section = waiting.pop(0)
        if section.kind in seen:
            continue
        seen.add(section.kind)
        yield section
        waiting[:0] = list(_inside(section))


def _inside(section: Section) -> Iterator[Section]:
    prefix = f"{section.at}." if section.at else ""
    for field in msgspec.structs.fields(section.kind):
        at = f"{prefix}{field.encode_name}"
        if field.type is Channels:
            yield from (Section(f"{at}.{name}", declaration(name).settings) for name in CHANNELS)
        for struct, below in _structs(field.type):
            yield Section(f"{at}{below}", struct)


def _structs(kind: Any) -> Iterator[tuple[type[msgspec.Struct], str]]:  # noqa: ANN401  # a type
    """Find the structs in a type, each with what its path has after the key."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind, ""
    below = {dict: ".NAME", list: "[]", tuple: "[]"}.get(get_origin(kind) or kind, "")
    for one in get_args(kind):
        yield from ((struct, f"{below}{rest}") for struct, rest in _structs(one))


def _table(struct: type[msgspec.Struct], known: dict[type[msgspec.Struct], str]) -> str:
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    if not fields:
        return "It has no keys."
    said, rows = descriptions(struct), ["| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    for name, field in fields.items():
        if name.endswith("_file") and fields.get(name.removesuffix("_file")) is not None:
            continue  # stands beside its secret
        twin = f"{name}_file"
        keys = f"`{field.encode_name}`" + (f" or `{twin}`" if twin in fields else "")
        if not said.get(name):
            raise ValueError(f"{struct.__module__}.{struct.__qualname__}.{name} has no description below it")
        cells = (keys, _type(field.type, known), _default(field), said[name])
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def descriptions(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Give the text below each field, those of the bases as well."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base is not msgspec.Struct and issubclass(base, msgspec.Struct):
            (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            found |= _below(parsed.body if isinstance(parsed, ast.ClassDef) else [])
    return found


def _below(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                yield name, " ".join(said.split()).removesuffix(".")


def _type(kind: Any, known: dict[type[msgspec.Struct], str]) -> str:  # noqa: ANN401  # a type
    """Say what may be written there."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type(inner[0], known) + "".join(_bounds(one) for one in kind.__metadata__)
    if origin in {Union, types.UnionType}:
        return " or ".join(_type(one, known) for one in inner if one not in {types.NoneType, UnsetType})
    if origin is Literal:
        return _one_of(inner)
    if origin is dict:
        return f"mapping of {_type(inner[0], known)} to {_type(inner[1], known)}"
    if origin in {list, tuple}:
        return f"list of {_type(inner[0], known)}"
    return _plain(kind, known)


def _plain(kind: type, known: dict[type[msgspec.Struct], str]) -> str:
    if kind in known:
        return f"[{known[kind]}](#{anchor(known[kind])})"
    if kind is Channels:
        return ", ".join(f"[{name}](#{anchor(f'channels.{name}')})" for name in CHANNELS)
    if issubclass(kind, Enum):
        return _one_of(tuple(member.value for member in kind))
    return "duration" if issubclass(kind, Duration) else _WORDS[kind]


def anchor(at: str) -> str:
    """Give the anchor of a section's heading, as GitHub makes it."""
    return "".join(letter for letter in at.lower() if letter.isalnum() or letter in "_-")


def _one_of(values: tuple[object, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _bounds(meta: object) -> str:
    if not isinstance(meta, msgspec.Meta):
        return ""
    low, high = meta.ge, meta.le
    said = [f"{low} to {high}"] if low is not None and high is not None else []
    said += [f"at least {low}"] if low is not None and high is None else []
    said += [f"above {meta.gt}"] if meta.gt is not None else []
    said += [f"below {meta.lt}"] if meta.lt is not None else []
    return f" ({', '.join(said)})" if said else ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    """Say what applies without the key; "" for a mapping whose own keys have defaults."""
    value = field.default if field.default_factory is NODEFAULT else field.default_factory()
    if value is NODEFAULT:
        return "required"
    if isinstance(value, msgspec.Struct | Channels):
        return ""
    if value is None or value is UNSET or value in ("", [], {}, ()):
        return "unset" if value is None or value is UNSET else "empty"
    return f"`{_written(field.type, value)}`"


def _written(kind: Any, value: Any) -> str:  # noqa: ANN401  # any default
    if isinstance(value, Duration):
        return next((f"{value / seconds:g}{unit}" for unit, seconds in _UNITS if value % seconds == 0), f"{value:g}s")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(kind, one) for one in value)}]"
    if isinstance(value, LocalTime):
        return f"{value // 60:02}:{value % 60:02}"
    return str(value)
