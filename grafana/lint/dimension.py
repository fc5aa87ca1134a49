"""What kind of number an expression gives, by the names of its metrics; and which of Grafana's units show that kind."""

import re

from grafana_foundation_sdk.models import units
from promql_parser import AggregateExpr, BinaryExpr, Call, Expr, MatchOp, VectorSelector

from grafana.lint.meaning import constant
from rules.lint.expression import COMPARISONS, SETS, bare, children, name_of, operator, scalar
from rules.lint.world import World

KNOWN = frozenset(v for k, v in vars(units).items() if isinstance(v, str) and not k.startswith("_"))
# What stands behind the colon is shown as it is: packages/grafana-data/src/valueFormats/valueFormats.ts
CUSTOM = ("prefix:", "suffix:", "currency:", "si:", "count:", "time:", "bool:")
_PLAIN = ("short", "none", "locale", "sishort")
# The kinds, each with its units, the likeliest first.
UNITS: dict[str, tuple[str, ...]] = {
    "seconds": ("s", "dtdurations", "dtdhms", "clocks"),
    "milliseconds": ("ms", "dtdurationms", "clockms"),
    "date": tuple(sorted(one for one in KNOWN if one.startswith("dateTime"))),
    "bytes": ("bytes", "decbytes"),
    "bytes a second": ("binBps", "Bps"),
    "share": ("percentunit",),
    "percentage": ("percent",),
    "number": _PLAIN,
    "events a second": ("reqps", "ops", "cps", "rps", "wps", "eps", "mps", "iops", "pps", "rowsps", "recps"),
    "state": (*_PLAIN, "bool", "bool_yes_no", "bool_on_off"),
}
_ENDINGS = (
    (r"_timestamp_seconds", "timestamp"),
    (r"_expiry", "timestamp"),
    (r"_seconds_total", "seconds"),
    (r"_seconds(_sum)?", "seconds"),
    (r"_bytes(_total|_sum)?", "bytes"),
    (r"_ratio", "share"),
    (r"_(total|count|bucket)", "number"),
    (r"_up|probe_success|up", "state"),
)
_RATE = {"number": "events a second", "bytes": "bytes a second", "seconds": "share"}
_SAME = {"sum", "min", "max", "avg", "topk", "bottomk", "quantile"}
_PASS = {
    "increase",
    "delta",
    "abs",
    "round",
    "floor",
    "ceil",
    "clamp_min",
    "clamp_max",
    "sort",
    "sort_desc",
    "label_replace",
    "predict_linear",
}
_DEEP = 8


def kind(node: Expr, world: World, depth: int = 0) -> str:
    """Say what kind of number it is, a key of UNITS or `timestamp`; empty where the names do not tell."""
    node = bare(node)
    if isinstance(node, VectorSelector):
        return _of_selector(node, world, depth)
    if isinstance(node, BinaryExpr):
        return _of_binary(node, world, depth)
    inner = [part for part in children(node) if not scalar(part)]
    name = operator(node)
    if isinstance(node, AggregateExpr):
        inside = kind(node.expr, world, depth)
        return "number" if name == "count" or (name, inside) == ("sum", "state") else inside if name in _SAME else ""
    if isinstance(node, Call) and inner:
        return _of_call(name, kind(inner[0], world, depth), inner[0])
    return kind(inner[0], world, depth) if inner else ""


def _of_call(name: str, inside: str, inner: Expr) -> str:
    if name in ("rate", "irate"):
        return _RATE.get(inside, "")
    if name == "histogram_quantile":
        buckets = [part for part in _metrics(inner) if part.endswith("_bucket")]
        return _named(buckets[0].removesuffix("_bucket")) if buckets else ""
    if (name, inside) == ("avg_over_time", "state"):
        return "share"  # of the time
    return inside if name in _PASS or (name.endswith("_over_time") and name != "count_over_time") else ""


def _metrics(node: Expr) -> list[str]:
    inner = [name for part in children(node) for name in _metrics(part)]
    return [name_of(node), *inner] if isinstance(node, VectorSelector) else inner


def _of_selector(node: VectorSelector, world: World, depth: int) -> str:
    units = {m.value for m in node.matchers.matchers if m.name == "unit" and m.op == MatchOp.Equal}
    recorded = world.recorded(node)
    told = units or {rule.labels["unit"] for rule in recorded if "unit" in rule.labels}
    if told:
        return (
            {"seconds": "seconds", "ratio": "share", "count": "number"}.get(next(iter(told)), "")
            if len(told) == 1
            else ""
        )
    kinds = {kind(rule.tree, world, depth + 1) for rule in recorded} if depth < _DEEP else set()
    if re.search(r":ratio(_|\d|$)", name_of(node)):
        return "share"
    return kinds.pop() if len(kinds) == 1 else "" if kinds else _named(name_of(node))


def _named(name: str) -> str:
    return next((dimension for ending, dimension in _ENDINGS if re.search(rf"(^|(?<=.)){ending}$", name)), "")


def _of_binary(node: BinaryExpr, world: World, depth: int) -> str:
    name = operator(node)
    if name in COMPARISONS and node.modifier and node.modifier.return_bool:
        return "state"
    left, right = kind(node.lhs, world, depth), kind(node.rhs, world, depth)
    if name in COMPARISONS or name in SETS:
        return right if scalar(node.lhs) else left
    return _calculated(name, left, right, node)


def _calculated(name: str, left: str, right: str, node: BinaryExpr) -> str:
    if name in "+-":
        return _sum(left, right, node)
    if name == "*":
        return _scaled(left or right, constant(node.lhs) if constant(node.rhs) is None else constant(node.rhs))
    if name == "/" and left and left == right:
        return "" if left == "share" else "share"  # how many times one share is the other is no share
    if name == "/" and constant(node.rhs) is not None:
        return ""
    return "seconds" if name == "/" and (left, right) in (("share", "events a second"), ("seconds", "number")) else ""


def _sum(left: str, right: str, node: BinaryExpr) -> str:
    pair = {left, right}
    if "timestamp" in pair and (operator(bare(node.lhs)) == "time" or operator(bare(node.rhs)) == "time"):
        return "seconds"
    if scalar(node.lhs) or scalar(node.rhs):
        return right if scalar(node.lhs) else left
    return left if left == right else ""


def _scaled(kind: str, factor: float | None) -> str:
    scaled = {("share", 100.0): "percentage", ("seconds", 1000.0): "milliseconds", ("timestamp", 1000.0): "date"}
    return scaled.get((kind, factor or 0.0), "")
