"""Reads a site's table: whose monitoring this is; and puts its names and addresses in the place of another's."""

import re
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

ROOT = Path(__file__).resolve().parents[1]
TABLE = "rules/tables/site.yml"
_Url = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/?#]+[^\s?#]*[^\s?#/]$")]
_Job = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]+$")]
_NAMED = re.compile(r"(?P<before>\b(?P<label>job|team)(?:=~|!~|!=|=|: |\": )\\?\"?)(?P<names>[\w.|-]+)")


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file.

    ``jobs`` and ``teams`` map our names to the site's, where they differ. ``leave_out`` names alerts, recorded series
    and dashboards that the site does not want, beside those that it has no data for.
    """

    name: Annotated[str, msgspec.Meta(pattern=r'^[^\x00-\x1f"\\]{1,60}$')]
    prefix: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9]{0,30}$")]
    domain: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9.-]+$")]
    runbooks: _Url
    dashboards: _Url
    alertmanager: _Url
    traces: _Url
    app: _Job
    jobs: dict[_Job, _Job] = {}
    teams: dict[_Job, _Job] = {}
    leave_out: tuple[str, ...] = ()

    def adapted(self, text: str, ours: "Site") -> str:
        """Return a text of ``ours`` with the names and addresses of this site."""
        uid = f"{ours.prefix}-"
        for old, new in (
            (ours.runbooks, self.runbooks),
            (f"{ours.dashboards}/{uid}", f"{self.dashboards}/{self.prefix}-"),
            (ours.dashboards, self.dashboards),
            (ours.alertmanager, self.alertmanager),
            (ours.traces, self.traces),
            (ours.domain, self.domain),
            (f"/d/{uid}", f"/d/{self.prefix}-"),
            (ours.name, self.name),
            (ours.app, self.app),
        ):
            text = text.replace(old, new)

        def named(match: re.Match[str]) -> str:
            names = self.jobs if match["label"] == "job" else self.teams
            return match["before"] + "|".join(names.get(name, name) for name in match["names"].split("|"))

        text = _NAMED.sub(named, text)
        # Alone, or before what it is the prefix of; heypeter-receiver is the name of a program.
        return re.sub(rf"\b{ours.prefix}(?![a-z-])", self.prefix, text)

    def job(self, ours: str) -> str:
        """Return the site's name of one of our jobs."""
        return self.jobs.get(ours, ours)


def read(path: Path = ROOT / TABLE) -> Site:
    """Read a table; ValueError names the file and its fault."""
    try:
        return msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Site)
    except (msgspec.ValidationError, yaml.YAMLError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error
