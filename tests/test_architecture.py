"""The shape of the house: imports point one way between rooms, the core is pure, every module says what it is for."""

import ast
import graphlib
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

PROGRAMS = ("exporter.", "process.", "receiver.")
PACKAGES = ("bench", "deploy", "exporter", "grafana", "process", "receiver", "rules")
MODULES = {
    ".".join(path.with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted(Path(package).rglob("*.py"))
}

# Room -> the rooms that it may import. A room is a folder, or a module that stands beside the folders.
MAY_IMPORT: dict[str, set[str]] = {
    "receiver.incident": set(),
    "receiver.oncall": {"receiver.incident"},
    "receiver.policy": {"receiver.incident", "receiver.oncall"},
    "receiver.store": {"receiver.incident", "receiver.oncall"},
    "receiver.channels": {"process", "receiver.clients", "receiver.incident", "receiver.store"},
    "receiver.clients": {"process", "receiver.incident", "receiver.oncall"},
    "receiver.metrics": {"receiver.channels", "receiver.incident", "receiver.oncall", "receiver.store"},
    "receiver.messages": {"process", "receiver.channels", "receiver.incident", "receiver.policy", "receiver.store"},
    "receiver.config": {
        *("process", "receiver.channels", "receiver.clients", "receiver.incident", "receiver.messages"),
        *("receiver.oncall", "receiver.policy"),
    },
    "receiver.evidence": {
        *("receiver.clients", "receiver.incident", "receiver.messages", "receiver.policy", "receiver.store"),
    },
    "receiver.actions": {
        *("receiver.channels", "receiver.clients", "receiver.incident", "receiver.oncall", "receiver.policy"),
        "receiver.store",
    },
    "receiver.workers": {
        *("process", "receiver.actions", "receiver.channels", "receiver.clients", "receiver.evidence"),
        *("receiver.incident", "receiver.messages", "receiver.metrics", "receiver.oncall", "receiver.policy"),
        "receiver.store",
    },
    "receiver.web": {
        *("process", "receiver.actions", "receiver.channels", "receiver.clients", "receiver.config"),
        *("receiver.evidence", "receiver.incident", "receiver.messages", "receiver.metrics", "receiver.oncall"),
        *("receiver.policy", "receiver.reports", "receiver.store"),
    },
    "receiver.reports": {
        *("process", "receiver.clients", "receiver.config", "receiver.incident", "receiver.messages"),
        *("receiver.oncall", "receiver.policy", "receiver.store"),
    },
    "receiver.importing": {"process", "receiver.clients", "receiver.oncall", "receiver.policy"},
    "receiver.init": {"process", "receiver.policy"},
    "exporter.catalogue": set(),
    "exporter.events": {"exporter.catalogue"},
    "exporter.registry": {"exporter.catalogue", "exporter.events"},
    "exporter.exposition": {"exporter.registry"},
    "exporter.self_metrics": {"exporter.events", "exporter.registry"},
    "exporter.persistence": {"exporter.events", "exporter.registry", "exporter.self_metrics"},
    "exporter.accept": {"exporter.events", "exporter.persistence", "exporter.registry", "exporter.self_metrics"},
    "exporter.web": {
        *("process", "exporter.accept", "exporter.events", "exporter.exposition", "exporter.persistence"),
        *("exporter.registry", "exporter.self_metrics"),
    },
    "exporter.replication": {"exporter.events", "exporter.registry", "exporter.self_metrics", "process"},
    "exporter.sentry_tunnel": {"exporter.self_metrics", "exporter.web", "process"},
    "exporter.config": {"exporter.catalogue", "exporter.self_metrics", "exporter.sentry_tunnel", "process"},
    "process": set(),
}
# These put the rooms together: each may import every room of its own program.
COMPOSITION = {
    *("receiver.app", "receiver.__main__", "receiver.cli"),
    *("exporter.app", "exporter.__main__", "exporter.support_bundle"),
}
PURE = {
    "receiver.incident",
    "receiver.oncall",
    "receiver.policy",
    "exporter.catalogue",
    "exporter.events",
    "exporter.registry",
}
# What a pure room may import: nothing here reads a clock, a file, a socket or a random number by itself.
PURE_LIBRARIES = {
    *(
        "base64",
        "bisect",
        "collections",
        "contextlib",
        "dataclasses",
        "datetime",
        "difflib",
        "enum",
        "functools",
        "hashlib",
        "heapq",
    ),
    *("hmac", "ipaddress", "itertools", "math", "msgspec", "operator", "re", "statistics", "types", "typing", "urllib"),
    "unicodedata",
    "icalendar",
    "re2",
    "recurring_ical_events",
    "zoneinfo",  # it reads the zone's own table once, which is the same for all
}
# Imports a module by its name: one that needs a package which may not be installed, or that one command needs.
LOADERS = {"process.optional"}
BANNED_NAMES = {"utils", "common", "helpers", "models", "types", "manager", "managers", "misc"}


@cache
def parsed(path: Path) -> ast.Module:
    """What a module says. Collecting the tests parses none: that would take seconds in each test process."""
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & set(MODULES)) or {node.module}
    if LOADERS & names:  # what it loads by a name, it imports as well
        texts = {str(node.value) for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant)}
        names |= {text for text in texts & set(MODULES) if "." in text}
    return names


def room(module: str) -> str:
    package, _, rest = module.partition(".")
    return package if package == "process" or not rest else f"{package}.{rest.split('.')[0]}"


@cache
def graph() -> dict[str, set[str]]:
    return {name: imports(path) & set(MODULES) for name, path in MODULES.items()}


def test_no_module_imports_itself_by_a_detour() -> None:
    order = list(graphlib.TopologicalSorter(graph()).static_order())  # CycleError names the circle
    assert len(order) == len(MODULES)


def test_the_table_itself_has_no_cycle() -> None:
    list(graphlib.TopologicalSorter(MAY_IMPORT).static_order())


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(PROGRAMS)])
def test_a_module_imports_only_the_rooms_that_its_own_may(name: str) -> None:
    own = room(name)
    if own == "exporter.client":
        allowed: set[str] = set()  # what applications copy stands alone
    elif own in COMPOSITION:
        program = own.split(".")[0]
        allowed = {"process", *(r for r in MAY_IMPORT if r.startswith(f"{program}.")), *COMPOSITION}
        allowed -= {r for r in COMPOSITION if not r.startswith(f"{program}.")}
    else:
        assert own in MAY_IMPORT, f"{own} has no line in MAY_IMPORT"
        allowed = MAY_IMPORT[own]
    others = {i for i in graph()[name] if room(i) not in {own, *allowed}}
    assert not others, f"{name} imports {sorted(others)}"


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in PURE])
def test_a_pure_room_imports_nothing_that_does_anything(name: str) -> None:
    for imported in imports(MODULES[name]) - set(MODULES):
        assert imported.split(".")[0] in PURE_LIBRARIES, f"{name} is pure and imports {imported}"


def test_what_is_loaded_by_a_name_counts_as_imported() -> None:
    assert {f"receiver.cli.{name}" for name in ("check", "import_", "backup")} <= graph()["receiver.__main__"]
    assert "receiver.channels.apprise" in graph()["receiver.channels.registry"]


def test_what_maps_other_tools_reads_nothing_by_itself() -> None:
    """Only the readers of the APIs and of saved answers do."""
    readers = {"answers", "goalert_api", "oncall_api", "opsgenie_api", "pagerduty_api"}
    for name, path in MODULES.items():
        if room(name) == "receiver.importing" and name.split(".")[-1] not in {*readers, "sources", "importing"}:
            libraries = {imported.split(".")[0] for imported in imports(path) - set(MODULES)}
            assert libraries <= {*PURE_LIBRARIES, "yaml"}, f"{name} imports {libraries - PURE_LIBRARIES}"
            named = {i for i in graph()[name] if i.split(".")[-1] in readers}
            assert not named, f"{name} names {named}"


def defines(path: Path, name: str) -> bool:
    targets = [node.targets for node in parsed(path).body if isinstance(node, ast.Assign)]
    return name in [target.id for target in chain(*targets) if isinstance(target, ast.Name)]


def test_only_the_composition_root_names_concrete_stores() -> None:
    for name, imported in graph().items():
        if name.startswith(PROGRAMS) and room(name) not in {*COMPOSITION, "receiver.store"}:
            named = {i for i in imported if i.startswith("receiver.store.sqlite")}
            assert not named, f"{name} names {named}"


def test_a_channel_is_named_only_by_the_registry_and_by_its_own_modules() -> None:
    """`web/slack_actions.py` belongs to the channel `slack`, and may read its settings."""
    channels = {n for n, path in MODULES.items() if room(n) == "receiver.channels" and defines(path, "CHANNEL")}
    assert "receiver.channels.slack" in channels
    for name, imported in graph().items():
        if not name.startswith(PROGRAMS) or room(name) in COMPOSITION or name == "receiver.channels.registry":
            continue
        for channel in imported & channels:
            own = name.split(".")[-1].startswith(channel.split(".")[-1])
            assert own, f"{name} names the channel {channel}"


@pytest.mark.parametrize("path", MODULES.values(), ids=str)
def test_a_module_says_what_it_is_for_and_imports_at_its_head(path: Path) -> None:
    tree = parsed(path)
    assert ast.get_docstring(tree), f"{path}: say in one sentence what this file alone does"
    assert path.stem not in BANNED_NAMES, f"{path}: name it after what it does"
    nodes = chain.from_iterable(
        ast.walk(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert not [n.lineno for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)], f"{path}: import at the head"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_but_tests_imports_tests(name: str) -> None:
    assert not [i for i in imports(MODULES[name]) if i.split(".")[0] == "tests"]


def dynamic_imports(tree: ast.AST) -> list[str]:
    """What imports by a name: ``__import__`` and ``importlib``, but for its resources and metadata."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Name):
            names.append(node.id)
    harmless = ("importlib.resources", "importlib.metadata")
    return [n for n in names if n.split(".")[0] in {"__import__", "importlib"} and not n.startswith(harmless)]


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(PROGRAMS) and name not in LOADERS])
def test_a_module_imports_by_statements_only(name: str) -> None:
    assert not dynamic_imports(parsed(MODULES[name])), f"{name}: only {sorted(LOADERS)} may import by a name"


@pytest.mark.parametrize(
    ("source", "dynamic"),
    [
        ("import importlib", True),
        ("import importlib.util", True),
        ("from importlib import import_module", True),
        ("from importlib.util import find_spec", True),
        ("__import__('x')", True),
        ("from importlib.resources import files", False),
        ("from importlib import resources", False),
        ("import importlib.metadata", False),
    ],
)
def test_an_import_by_a_name_is_recognised(source: str, dynamic: bool) -> None:
    assert bool(dynamic_imports(ast.parse(source))) == dynamic


def test_broad_excepts_are_counted() -> None:
    broad = []
    for path in MODULES.values():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler):
                names = ast.unparse(node.type) if node.type else "everything"
                if names in {"everything", "Exception"}:
                    broad.append(f"{path}:{node.lineno}")
    # a notification inside its channel, a change inside its transaction, a template of somebody else's,
    # a loop that pages do not depend on, an open page beside others, one incident beside others, beside new alerts,
    # and beside the answers to others
    assert len(broad) <= 8, broad
