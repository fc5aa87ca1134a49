"""grafana/queries/quiet.yml: the queries that may be empty in a healthy school, each with a reason and a proof."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from grafana.lint.board import Document

PATH = Path(__file__).with_name("quiet.yml")
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Quiet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests that may be empty: those of these keys in this dashboard (`*`: in all of them).

    `why` says when they are. `instead` must give data all the same, and reads a metric that they read too: it proves
    that nothing happened, and not that nobody exports anything. Where a school need not have what is shown, nothing
    can prove it: `unless` says what it need not have, and the lint alone knows that the metric exists.
    """

    dashboard: Text
    keys: Annotated[list[Text], msgspec.Meta(min_length=1)]
    why: Text = "it need not be there"
    instead: str = ""
    unless: str = ""

    def __post_init__(self) -> None:
        """Refuse an entry with neither proof nor reason for none, or with both."""
        if bool(self.instead) == bool(self.unless):
            raise ValueError(f"{self.dashboard} {self.keys}: write either instead, or unless")

    def names(self, document: Document, key: str) -> bool:
        """Say whether a request is one of them."""
        return self.dashboard in ("*", document.board.uid) and key in self.keys


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    quiet: list[Quiet]


def read(path: Path = PATH) -> list[Quiet]:
    """Read it; ValueError says what is wrong in it."""
    try:
        return msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Table).quiet
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ValueError(f"{path}: {error}") from error


def concerning(quiet: list[Quiet], known: set[tuple[str, str]]) -> list[Quiet]:
    """Give the entries that name one of these requests, as (uid, key)."""
    return [one for one in quiet if any(key in one.keys and one.dashboard in ("*", uid) for uid, key in known)]


def stale(quiet: list[Quiet], known: set[tuple[str, str]]) -> Iterator[str]:
    """Say which entries name requests, as (uid, key), that no dashboard has."""
    for one in quiet:
        for key in one.keys:
            if not any(key == other and one.dashboard in ("*", uid) for uid, other in known):
                yield f"{PATH.name}: {one.dashboard} has no query {key}: remove it, or correct the key"
