"""Reads the alerts of Prometheus' rule files, and of PrometheusRule manifests: their names and the labels they set."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from process.yaml_text import TextLoader, load_all, text

_SUFFIXES = {".yml", ".yaml", ".rules"}


class Rule(msgspec.Struct, frozen=True):
    """One alerting rule. ``labels`` are those that it sets to a fixed text, ``templated`` the names of the others."""

    name: str
    labels: dict[str, str]
    templated: tuple[str, ...] = ()
    place: str = ""

    @property
    def known(self) -> dict[str, str]:
        """Give the labels that every alert of the rule has."""
        return {**self.labels, "alertname": self.name}


def rule(name: str, labels: Mapping[str, object], place: str) -> Rule:
    """Make a rule of what a file or the API says."""
    texts = {text(label): text(value) for label, value in labels.items() if not isinstance(value, dict | list)}
    templated = tuple(label for label, value in texts.items() if "{{" in value)
    return Rule(name, {label: value for label, value in texts.items() if label not in templated}, templated, place)


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """List the files of folders, and files that are named themselves."""
    for path in paths:
        if path.is_dir():
            yield from (one for one in sorted(path.rglob("*")) if one.suffix in _SUFFIXES and one.is_file())
        else:
            yield path


def read(path: Path, problems: list[str]) -> Iterator[Rule]:
    """Read one file; what cannot be read is a line of ``problems``."""
    try:
        documents = list(load_all(path.read_text("utf-8"), TextLoader))
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror})")
        return
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problems.append(f"{path}{where}: cannot be read as YAML; its rules are left out")
        return
    for document in documents:
        for one in _rules(document):
            labels = one.get("labels")
            yield rule(text(one["alert"]), labels if isinstance(labels, dict) else {}, str(path))


def _rules(document: object) -> Iterator[dict[str, Any]]:
    """Find the alerting rules; a manifest has its groups in `spec`."""
    data = document if isinstance(document, dict) else {}
    spec = data.get("spec")
    groups = data.get("groups") or (spec.get("groups") if isinstance(spec, dict) else None)
    for group in groups if isinstance(groups, list) else []:
        rules = group.get("rules") if isinstance(group, dict) else None
        for one in rules if isinstance(rules, list) else []:
            if isinstance(one, dict) and isinstance(one.get("alert"), str) and one["alert"]:
                yield one
