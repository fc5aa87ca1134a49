"""Reads exporter.yml into one frozen tree, and the catalogue with the lists that it gives."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import msgspec

from exporter.catalogue import Catalogue, CatalogueError, build, read
from process.settings import Duration, Secret, SettingsError, Source, read_secret

_Names = tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200)], ...]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unknown keys are refused: a misspelt one must not be a default in disguise."""


class Events(_Strict, frozen=True):
    """The private endpoint."""

    token: Secret | None = None
    token_file: Path | None = None


class Cors(_Strict, frozen=True):
    """Who else may post from a browser."""

    origins: tuple[Annotated[str, msgspec.Meta(pattern="^https?://[^/ ]+$")], ...] = ()


class Lists(_Strict, frozen=True):
    """The values of the open labels."""

    routes: _Names = ("/",)
    pages: _Names = ("/",)
    tables: _Names = ()
    forms: _Names = ()
    plans: _Names = ()
    class_types: _Names = ()
    caches: _Names = ()


class Config(_Strict, frozen=True):
    """The whole file; every part has a default, so that the exporter runs without one."""

    listen: str = "127.0.0.1:3001"
    events: Events = Events()
    cors: Cors = Cors()
    lists: Lists = Lists()
    vitals_settle_after: Duration = Duration(30)
    max_series: Annotated[int, msgspec.Meta(ge=100)] = 100_000


def load(path: Path) -> tuple[Config, Source, Catalogue]:
    """Read and check the file and the catalogue; SettingsError names file, line and fix."""
    source = Source(path)
    config = source.convert(Config)
    catalogue = shipped_catalogue(config.lists)
    _check_size(catalogue, config, source)
    return config, source, catalogue


def shipped_catalogue(lists: Lists) -> Catalogue:
    """Read the catalogue of this package with the given lists."""
    with as_file(files("exporter").joinpath("catalogue.yml")) as path:
        return read_catalogue(path, lists)


def read_catalogue(path: Path, lists: Lists) -> Catalogue:
    """Read a catalogue; SettingsError names the family or event and the fix."""
    source = Source(path)
    try:
        return build(read(source.data), msgspec.structs.asdict(lists))
    except CatalogueError as error:
        raise SettingsError(f"{path}: {error}") from error


def token(config: Config, source: Source) -> Secret | None:
    """Resolve the bearer token of POST /api/events."""
    return read_secret(source, ".events.token", config.events.token, config.events.token_file)


def _check_size(catalogue: Catalogue, config: Config, source: Source) -> None:
    if catalogue.worst_case <= config.max_series:
        return
    largest = max(catalogue.families, key=lambda family: family.worst_case)
    fix = f"shorten the lists ({largest.name} alone could make {largest.worst_case}), or raise max_series"
    raise source.error(".max_series", f"the lists could make {catalogue.worst_case} lines of /metrics; {fix}")
