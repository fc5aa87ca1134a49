"""Reads exporter.yml into one frozen tree, and the catalogue files that it names."""

import functools
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.resources import as_file, files
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from exporter.catalogue.model import Catalogue, CatalogueError, CatalogueSettings, Limits, build, merged
from exporter.catalogue.route_templates import TemplateError, Templates
from exporter.self_metrics import OWN
from exporter.sentry_tunnel.dsn import TunnelSettings
from process.addresses import listen_address
from process.safety import held_for_all, readable_by_all, text_of, too_short
from process.settings import Duration, Secret, SettingsError, Source, Strict, read_secret, require_secret

# Catalogue files in exporter/catalogue: those that exporter.yml may name, and the one that is part of all.
SHIPPED, OWN_FILE = ("application", "school"), "own"
# No control characters and no halves of surrogate pairs: a scrape with one of them is refused as a whole.
_TEXT = "^[^\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]*$"
_ORIGIN = r"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"
_SHORTEST = 0.1  # seconds
_Origin = Annotated[str, msgspec.Meta(pattern=_ORIGIN, examples=["https://app.example.com"])]
_Peer = Annotated[str, msgspec.Meta(pattern=_ORIGIN, examples=["http://10.0.0.2:3001"])]
_Names = tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=_TEXT)], ...]
_Name = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,63}$")]
_Path = Annotated[str, msgspec.Meta(pattern=r"^/[A-Za-z0-9._~/-]+$", examples=["/api/pulse"])]
_Rate = Annotated[float, msgspec.Meta(gt=0)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class Storage(Strict, frozen=True):
    """Where the journal of accepted events and the snapshot of all counts are kept."""

    path: Path | None = None
    """Folder of the journal and the snapshot; required with `events.token`. Without it, a restart sets counts to 0"""
    snapshot_every: Duration = Duration(60)
    """Time between snapshots; earlier when the journal has reached a quarter of `max_journal`"""
    max_journal: Annotated[int, msgspec.Meta(ge=64 * 1024 * 1024)] = 512 * 1024 * 1024
    """Bytes of the journal between snapshots; beyond it, events are answered 503"""


class Events(Strict, frozen=True):
    """The endpoint for servers."""

    token: Secret | None = None
    """Bearer token of `POST /api/events`; without it the endpoint is disabled"""
    token_file: Path | None = None


class Browser(Strict, frozen=True):
    """The endpoints for browsers."""

    listen: str = ""
    """HOST:PORT of the public paths; without it they share the private address, and the proxy must expose only them"""
    path: _Path = "/api/pulse"
    """Path to which browsers post batches"""
    script: _Path = "/rum.js"
    """Path of the browser script"""
    origins: tuple[_Origin, ...] = ()
    """Origins that may post, in addition to the exporter's own, e.g. https://app.example.com"""
    require_origin: bool = True
    """Refuse posts without an Origin header; a browser always sends one"""
    drop_bots: bool = True
    """Do not count crawlers and page testing tools"""
    honour_gpc: bool = True
    """Count nothing for visitors with Global Privacy Control"""
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks of proxies whose X-Forwarded-For is trusted"""
    settle_after: Duration = Duration(30)
    """Count a web vital when it has not changed for this long"""
    max_sample: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    """How many page views one may stand for: at least the largest `data-sample` of your pages"""
    refuse: tuple[str, ...] = ("db_query",)
    """Events that only servers may send, although the catalogue allows browsers to"""


class Limit(Strict, frozen=True):
    """Limits: events a second from one network and from all browsers, series, and remembered ids."""

    client_rate: _Rate = 20
    """Events a second from one network (IPv4 /24, IPv6 /56)"""
    client_burst: _Rate = 300
    """Events that one network may send at once before `client_rate` applies"""
    total_rate: _Rate = 2000
    """Events a second from all browsers"""
    total_burst: _Rate = 10_000
    """Events that all browsers may send at once before `total_rate` applies"""
    series: Annotated[int, msgspec.Meta(ge=100)] = 100_000
    """Lines of /metrics; a catalogue that could exceed them with these lists is refused at the start"""
    family_series: Annotated[int, msgspec.Meta(ge=1)] = 2000
    """Label sets of one family; above this, new ones are counted as `other`"""
    server_ids: Annotated[int, msgspec.Meta(ge=1000, le=50_000_000)] = 500_000
    """Ids of servers' batches, and as many of events, that are remembered for seven days; more are forgotten earlier"""


class Replicas(Strict, frozen=True):
    """Several exporters behind a balancer, which tell each other what none can count alone."""

    peers: Annotated[tuple[_Peer, ...], msgspec.Meta(max_length=16)] = ()
    """URLs of all of them, as each other reaches them, e.g. http://10.0.0.2:3001; its own may be among them"""
    secret: Secret | None = None
    """Known to all of them and to nobody else; it also makes their hashes of users the same"""
    secret_file: Path | None = None
    ca_file: Path | None = None
    """Certificates of the authority that signed theirs, if `peers` are https and it is a private one"""
    every: Duration = Duration(10)
    """Time between two exchanges of distinct counts and gauges; ids are told at once"""
    timeout: Duration = Duration(2)
    """Time for a peer to answer"""


class Config(Strict, frozen=True):
    """The whole file; everything has a default, so the exporter runs without a file."""

    listen: str = "127.0.0.1:3001"
    """HOST:PORT of /metrics and of the endpoint for servers; keep it off the public network"""
    metrics_listen: str = ""
    """HOST:PORT of /metrics, reload and peers, if `listen` is not to have them; each process on a host has its own"""
    reuse_port: bool = False
    """Let several processes share `listen` and `browser.listen` ([exporter-replicas.md](exporter-replicas.md))"""
    storage: Storage = Storage()
    """The journal of accepted events and the snapshot of all counts"""
    events: Events = Events()
    """The endpoint for servers"""
    replicas: Replicas = Replicas()
    """Other exporters of the same installation ([exporter-replicas.md](exporter-replicas.md))"""
    browser: Browser = Browser()
    """The endpoints for browsers"""
    sentry: TunnelSettings = TunnelSettings()
    """The tunnel to Sentry"""
    limits: Limit = Limit()
    """Rates of browsers, numbers of series, and remembered ids"""
    catalogue: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = SHIPPED
    """Files of events and metrics: `application`, `school`, or paths relative to this file ([site.md](site.md))"""
    lists: dict[_Name, _Names] = {}
    """Allowed values of open labels, by the names that the catalogue gives the lists; all else is counted as `other`"""
    discover: dict[_Name, _Count] = {}
    """How many values beyond a list are accepted as they come, with numbers and ids removed"""
    first_increment_hold: Duration = Duration(30)
    """How long a new label set is exposed as 0 before its value; at least two scrape intervals"""


class Own(NamedTuple):
    """What the command line says of one process, where several have the same file; empty: as the file says."""

    listen: str = ""
    metrics_listen: str = ""
    storage: Path | None = None


def load(path: Path, own: Own = Own()) -> tuple[Config, Source, Catalogue]:  # noqa: B008  # immutable
    """Read and check the file and the catalogue; SettingsError names file, line and fix."""
    source = Source(path)
    config = source.convert(Config)
    _check_addresses(config, source)
    config = with_own(config, own)
    for index, network in enumerate(config.browser.trusted_proxies):
        try:
            ip_network(network, strict=False)
        except ValueError as error:
            raise source.error(f".browser.trusted_proxies[{index}]", f"{error} (expected e.g. 10.0.0.0/8)") from error
    if (config.events.token or config.events.token_file) and config.storage.path is None:
        fix = "storage.path is required with a token: events from servers are on disk before they are acknowledged"
        raise source.error(".events", fix)
    _check_shared(config, source)
    catalogue = read_catalogue(config, source)
    _check_lists(catalogue, config, source)
    _check_refused(catalogue, config, source)
    _check_size(catalogue, config, source)
    return config, source, catalogue


def with_own(config: Config, own: Own) -> Config:
    """Replace what the command line says."""
    return msgspec.structs.replace(
        config,
        listen=own.listen or config.listen,
        metrics_listen=own.metrics_listen or config.metrics_listen,
        storage=msgspec.structs.replace(config.storage, path=own.storage or config.storage.path),
    )


def shipped_catalogue(config: Config) -> Catalogue:
    """Read the catalogue of a configuration that comes from no file, with its lists and limits."""
    return read_catalogue(config, None)


def read_catalogue(config: Config, source: Source | None) -> Catalogue:
    """Read and merge the catalogue files; SettingsError names the file, the family or event, and the fix."""
    limits = Limits(config.lists, config.discover, config.limits.family_series)
    own = {name: _own(name, index, source) for index, name in enumerate(config.catalogue) if name not in SHIPPED}
    entries = [own[name].convert(CatalogueSettings) if name in own else _shipped(name) for name in config.catalogue]
    try:
        return build(merged(_shipped(OWN_FILE), entries), limits, OWN)
    except CatalogueError as error:
        raise _placed(str(error), [*own.values()]) or _error(source, ".catalogue", str(error)) from error


def _placed(text: str, own: list[Source]) -> SettingsError | None:
    """Name file and line of the entry that is at fault, if it stands in a file of the site's own."""
    place, _, message = text.partition(": ")
    section, _, rest = place.partition(".")
    name = rest.partition(".")[0]
    for source in reversed(own):
        entries = source.data.get(section) if isinstance(source.data, dict) else None
        if isinstance(entries, dict) and name in entries:
            return source.error(f".{place}", message)
        names = [one.get("name") for one in entries] if isinstance(entries, list) else []
        if name in names:
            return source.error(f".{section}[{names.index(name)}]", f"{name}: {message}")
    return None


def _error(source: Source | None, at: str, message: str) -> SettingsError:
    return SettingsError(f"{at.lstrip('.')}: {message}") if source is None else source.error(at, message)


def _own(name: str, index: int, source: Source | None) -> Source:
    if source is None or not name.endswith((".yml", ".yaml")):
        expected = f"expected {' or '.join(SHIPPED)}, or the path of a file such as ferry.yml"
        message = f"unknown catalogue {name!r} ({expected})"
        raise _error(source, f".catalogue[{index}]", message)
    return Source(source.path.parent / name)


@functools.cache
def _shipped(name: str) -> CatalogueSettings:
    with as_file(files("exporter.catalogue").joinpath(f"{name}.yml")) as path:
        return Source(path).convert(CatalogueSettings)


def token(config: Config, source: Source) -> Secret | None:
    """Resolve the bearer token of POST /api/events."""
    return read_secret(source, ".events.token", config.events.token, config.events.token_file)


def replicas_secret(config: Config, source: Source) -> Secret | None:
    """Resolve what the exporters of an installation have in common; required with peers."""
    replicas = config.replicas
    if not replicas.peers and replicas.secret is None and replicas.secret_file is None:
        return None
    return require_secret(source, ".replicas.secret", replicas.secret, replicas.secret_file)


def unsafe(config: Config, source: Source) -> list[tuple[str, bool]]:
    """List what works and should not be so, each with whether `check` refuses it."""
    events, replicas = config.events, config.replicas
    secrets = (
        (".events.token", events.token, events.token_file),
        (".replicas.secret", replicas.secret, replicas.secret_file),
    )
    return [finding for at, value, file in secrets for finding in _unsafe_secret(source, at, value, file)]


def _unsafe_secret(source: Source, at: str, value: Secret | None, file: Path | None) -> Iterator[tuple[str, bool]]:
    text = text_of(source, at, value, file)
    if text and (short := too_short(text)):
        yield str(source.error(at, short)), True
    readable = readable_by_all(file) if file else None
    if readable is not None:
        yield str(source.error(f"{at}_file", readable[0])), readable[1]
    held = held_for_all(source, at)
    if held is not None:
        yield str(source.error(at, held[0])), held[1]


def restart_needed(old: Config, new: Config) -> str:
    """Return the changed key that a reload cannot apply; empty if there is none."""
    for key in ("listen", "metrics_listen", "reuse_port", "storage"):
        if getattr(old, key) != getattr(new, key):
            return key
    if _plain(old.replicas) != _plain(new.replicas):
        return "replicas"
    for key in ("listen", "path", "script"):
        if getattr(old.browser, key) != getattr(new.browser, key):
            return f"browser.{key}"
    return "sentry.path" if old.sentry.path != new.sentry.path else ""


def _plain(replicas: Replicas) -> tuple[Replicas, str]:
    secret = replicas.secret.reveal() if replicas.secret else ""
    return msgspec.structs.replace(replicas, secret=None), secret


def _check_addresses(config: Config, source: Source) -> None:
    places = {"listen": config.listen, "metrics_listen": config.metrics_listen, "browser.listen": config.browser.listen}
    for at, address in places.items():
        if address or at == "listen":
            try:
                listen_address(address)
            except ValueError as error:
                raise source.error(f".{at}", str(error)) from error


def _check_shared(config: Config, source: Source) -> None:
    """Refuse processes that share a port and have no address of their own: a scrape would meet any of them."""
    if config.reuse_port and not config.metrics_listen:
        message = (
            "set metrics_listen or --web.metrics-address as well: a scrape of the shared port would reach any process"
        )
        raise source.error(".reuse_port", message)
    if config.metrics_listen and config.metrics_listen in {config.listen, config.browser.listen}:
        raise source.error(".metrics_listen", "expected an address of its own, e.g. 127.0.0.1:3011")
    if config.replicas.peers and not (config.replicas.secret or config.replicas.secret_file):
        raise source.error(".replicas", "set secret_file as well: whoever can post to a peer changes what it counts")
    for key in ("every", "timeout"):
        if getattr(config.replicas, key) < _SHORTEST:
            raise source.error(f".replicas.{key}", "expected at least 100ms")


def _check_lists(catalogue: Catalogue, config: Config, source: Source) -> None:
    for part, names in (("lists", config.lists), ("discover", config.discover)):
        for name in names:
            if name not in catalogue.lists:
                near = get_close_matches(name, catalogue.lists, 1)
                known = f"did you mean {near[0]!r}?" if near else f"they use {', '.join(sorted(catalogue.lists))}"
                raise source.error(f".{part}.{name}", f"no label of the catalogue files uses this list; {known}")
    templates = {label.list_ for family in catalogue.families for label in family.labels if label.paths and label.list_}
    for name in sorted(templates & set(config.lists)):
        try:
            Templates(config.lists[name])
        except TemplateError as error:
            raise source.error(f".lists.{name}[{error.index}]", str(error)) from error


def _check_refused(catalogue: Catalogue, config: Config, source: Source) -> None:
    if config.browser.refuse == Browser().refuse:
        return  # the default, which a catalogue without this event need not change
    for index, name in enumerate(config.browser.refuse):
        if name not in catalogue.events:
            raise source.error(f".browser.refuse[{index}]", f"unknown event {name!r}; docs/metrics.md lists them")


def _check_size(catalogue: Catalogue, config: Config, source: Source) -> None:
    if catalogue.worst_case <= config.limits.series:
        return
    largest = max(catalogue.families, key=lambda family: family.worst_case)
    fix = f"shorten the lists ({largest.name} alone allows {largest.worst_case}) or raise limits.series"
    raise source.error(".limits.series", f"the lists allow {catalogue.worst_case} lines of /metrics; {fix}")
