"""Lays out the folder of a site: its own files, ours with its names, and what is generated from its tables."""

import shutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from deploy.site import boards, rule_files
from deploy.site.rule_files import There
from grafana import board, links
from grafana.build import BOARDS, table
from grafana.panel import Board
from grafana.tables import Numbers
from rules import expected_rules, exported, generate, site
from rules.exported import Generation
from rules.lint import series
from rules.lint.source import Rule, Source, read
from rules.lint.world import RECORDED
from rules.site import ROOT, Site
from rules.writing import SITE

_REQUIRED = (
    *(f"rules/tables/{name}.yml" for name in ("benchmarks", "slo", "expected")),
    *(f"deploy/config/{name}.yml" for name in ("exporter", "receiver", "prometheus", "alertmanager")),
)
_GENERATED = tuple(generate.GENERATED)


@dataclass(frozen=True)
class Made:
    """What is known of a site while its folder is filled."""

    own: Path
    out: Path
    theirs: Site

    def adapted(self, text: str) -> str:
        """Return one of our texts with the site's names."""
        return self.theirs.adapted(text, SITE)


def make(own: Path, out: Path) -> dict[str, str]:
    """Write the folder; returns what of ours is left out, and why. ValueError names a file and its fault."""
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty")
    made = Made(own, out, site.read(own / site.TABLE))
    _copy(made)
    left_out, alerts = _rules(made)
    left_out |= _dashboards(made, alerts)
    _runbooks(made, alerts)
    _provisioning(made)
    for path, text in links.texts(out).items():
        path.write_text(text, "utf-8")
    return left_out


def _copy(made: Made) -> None:
    """Take over the site's own files, and what our programs export for the jobs that it has."""
    for name in _REQUIRED:
        if not (made.own / name).is_file():
            raise ValueError(f"{made.own / name}: missing; a site has one of its own (docs/site.md)")
    for folder in ("deploy/config", "rules/tables", "rules/tests", "docs/runbooks"):
        if (made.own / folder).is_dir():
            shutil.copytree(made.own / folder, made.out / folder)
        (made.out / folder).mkdir(parents=True, exist_ok=True)
    for path in (made.own / "rules").glob("*.yml"):
        shutil.copy(path, made.out / "rules" / path.name)
    thresholds = made.out / "rules/tables/thresholds.yml"
    if not thresholds.exists():
        thresholds.write_text(made.adapted((ROOT / "rules/tables/thresholds.yml").read_text("utf-8")), "utf-8")
    _exported(made)


def _exported(made: Made) -> None:
    """Write what the scraped generations of programs export, by the site's names of the jobs that it has."""
    jobs, folder = _jobs(made), made.out / "rules/tables/exporters"
    folder.mkdir(exist_ok=True)
    for one in exported.read():
        theirs = {made.theirs.job(job): what for job, what in one.jobs.items()}
        there = Generation(one.generation, {job: what for job, what in theirs.items() if job in jobs})
        path = folder / f"{one.generation}.yml"
        if not path.exists():
            path.write_text(exported.written(there), "utf-8")


def _thresholds(made: Made, alerts: frozenset[str]) -> None:
    """Keep the thresholds of alerts that there are."""
    path = made.out / "rules/tables/thresholds.yml"
    written = yaml.safe_load(path.read_text("utf-8"))
    kept = [one for one in written["thresholds"] if one["alert"] in alerts]
    path.write_text(yaml.safe_dump({"thresholds": kept}, sort_keys=False), "utf-8")


def _jobs(made: Made) -> frozenset[str]:
    config = yaml.safe_load((made.out / "deploy/config/prometheus.yml").read_text("utf-8"))
    return frozenset(job["job_name"] for job in config["scrape_configs"]) | {*expected_rules.read(made.out).without}


def _rules(made: Made) -> tuple[dict[str, str], frozenset[str]]:
    """Write rule files and tests; returns what is left out, and the alerts that there are."""
    folder = made.out / "rules"
    theirs = {path.name for path in folder.glob("*.yml")}
    ours = [path for path in sorted((ROOT / "rules").glob("*.yml")) if path.name not in {*theirs, *_GENERATED}]
    for path in ours:
        (folder / path.name).write_text(made.adapted(path.read_text("utf-8")), "utf-8")
    _generate(made, defaultdict(lambda: {"dashboard": "none", "panel": 0}))
    sources = {path.name: read(path) for path in sorted(folder.glob("*.yml"))}
    of_file = {name: source.rules for name, source in sources.items()}
    mine = [rule for path in ours for rule in of_file[path.name]]
    others = [rule for name, rules in of_file.items() if name not in {path.name for path in ours} for rule in rules]
    unsure = frozenset(name for source in sources.values() for name in _unsure(source))
    there = There(
        series=frozenset(series.known(made.out)),
        jobs=_jobs(made),
        leave_out=frozenset(made.theirs.leave_out),
        unsure=unsure,
        read=_drawn(made).union(*map(rule_files.names_read, others)),
    )
    left_out = rule_files.fitted(mine, there, frozenset(rule.name for rule in others if not rule.alerts))
    for path in ours:
        text = rule_files.without((folder / path.name).read_text("utf-8"), of_file[path.name], left_out)
        (folder / path.name).write_text(text, "utf-8") if text else (folder / path.name).unlink()
    kept = [rule for rule in mine if rule.name not in left_out]
    _tests(made, kept, there)
    return left_out, frozenset(rule.name for rule in [*kept, *others] if rule.alerts)


def _drawn(made: Made) -> frozenset[str]:
    """Give the recorded series that dashboards of the site, our pages or the receiver read."""
    wanted = [one for one in BOARDS if one.uid.removeprefix(f"{SITE.prefix}-") not in made.theirs.leave_out]
    texts = [query.expr for one in wanted for panel in one.panels() for query in panel.queries]
    files = [*made.own.glob("grafana/boards/*.yml"), *ROOT.glob("receiver/**/*.py"), *ROOT.glob("docs/**/*.md")]
    texts += [path.read_text("utf-8") for path in files]
    return frozenset(name for text in texts for name in RECORDED.findall(made.adapted(text)))


def _unsure(source: Source) -> set[str]:
    allowed = {one.owner for one in source.allowances if one.check == "unknown-metric"}
    return {rule.name for rule in source.rules if rule.line in allowed}


def _tests(made: Made, kept: list[Rule], there: There) -> None:
    """Write our tests of the rules that stay; those of generated rules are the site's own."""
    groups: dict[str, set[str]] = defaultdict(set)
    for rule in kept:
        groups[Path(rule.file).name].add(rule.group)
    there_is = rule_files.Kept(
        groups,
        frozenset(rule.name for rule in kept if rule.alerts),
        there.series
        | {rule.name for rule in kept if not rule.alerts}
        | {name for rule in kept if rule.name in there.unsure for name in rule_files.names_read(rule)},
        made.theirs.jobs,
    )
    for path in sorted((ROOT / "rules/tests").glob("*.yml")):
        test = rule_files.tests(rule_files.loaded(made.adapted(path.read_text("utf-8"))), there_is)
        target = made.out / "rules/tests" / path.name
        if test["tests"] and not target.exists():
            target.write_text(rule_files.dumped(test), "utf-8")


def _generate(made: Made, panels: Mapping[str, Mapping[str, object]]) -> None:
    for path, text in generate.texts(made.out / "rules", panels).items():
        path.write_text(made.adapted(text), "utf-8")


def _dashboards(made: Made, alerts: frozenset[str]) -> dict[str, str]:
    """Write dashboards, and the generated rules with links to them; returns the panels that are left out, and why."""
    numbers = Numbers.read(made.out)
    rules = [rule for path in (made.out / "rules").glob("*.yml") for rule in read(path).rules]
    known = frozenset(series.known(made.out)) | {rule.name for rule in rules if not rule.alerts}
    unfit = partial(boards.unfit, numbers=numbers, jobs=_jobs(made), series=known, adapt=made.adapted)
    shipped = boards.expecting(BOARDS, expected_rules.read(made.out))
    wanted = [one for one in shipped if one.uid.removeprefix(f"{SITE.prefix}-") not in made.theirs.leave_out]
    theirs = [boards.read(path) for path in sorted((made.own / "grafana/boards").glob("*.yml"))]
    names = {one.uid for one in theirs}
    ours = list(boards.fitted([one for one in wanted if one.uid not in names], unfit, alerts))
    every = (*ours, *boards.fitted(theirs, lambda _: "", alerts))
    _check_shown(every, alerts)
    (made.out / "grafana/dashboards").mkdir(parents=True)
    panels = table(every).replace(f"dashboard: {SITE.prefix}-", f"dashboard: {made.theirs.prefix}-")
    (made.out / "grafana/panels.yml").write_text(panels, "utf-8")
    _thresholds(made, alerts)
    _generate(made, yaml.safe_load(table(every)))
    numbers = Numbers.read(made.out)
    for one in every:
        name = one.uid.removeprefix(f"{SITE.prefix}-")
        text = _renamed(made, board.written(one, numbers), every)
        (made.out / f"grafana/dashboards/{name}.json").write_text(text, "utf-8")
    return {
        made.adapted(f"{one.title}: {panel.title}"): why
        for one in wanted
        for panel in one.panels()
        if (why := unfit(panel))
    }


def _provisioning(made: Made) -> None:
    """Write what Grafana reads at its start, with the site's names, where the site has no such file of its own."""
    for path in sorted((ROOT / "grafana/provisioning").glob("*/*.yml")):
        name = path.relative_to(ROOT).with_stem(path.stem.replace(SITE.prefix, made.theirs.prefix))
        own, target = made.own / name, made.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text("utf-8").replace(f"{SITE.prefix}-prometheus", f"{made.theirs.prefix}-prometheus")
        target.write_text(own.read_text("utf-8") if own.is_file() else made.adapted(text), "utf-8")


def _renamed(made: Made, text: str, every: tuple[Board, ...]) -> str:
    for one in every:
        text = text.replace(f'"{one.uid}"', f'"{made.theirs.prefix}-{one.uid.removeprefix(f"{SITE.prefix}-")}"')
    text = text.replace(f'"{SITE.prefix}"', f'"{made.theirs.prefix}"')  # the tag
    return made.adapted(text)


def _check_shown(every: tuple[Board, ...], alerts: frozenset[str]) -> None:
    shown = {alert for one in every for panel in one.panels() for alert in panel.explains}
    lost = sorted(alerts - shown)
    if lost:
        fix = "let a panel of grafana/boards explain it, or name it under leave_out"
        raise ValueError(f"no panel shows {', '.join(lost)}: {fix}")


def _runbooks(made: Made, alerts: frozenset[str]) -> None:
    """Write our runbooks of the alerts that there are, where the site has none of its own."""
    for page in sorted((ROOT / "docs/runbooks").glob("*.md")):
        target = made.out / "docs/runbooks" / page.name
        if not target.exists() and (page.stem in alerts or page.stem == "README"):
            target.write_text(made.adapted(page.read_text("utf-8")), "utf-8")
    lost = sorted(name for name in alerts if not (made.out / f"docs/runbooks/{name}.md").exists())
    if lost:
        raise ValueError(f"{made.own / 'docs/runbooks'}: no page for {', '.join(lost)}")
