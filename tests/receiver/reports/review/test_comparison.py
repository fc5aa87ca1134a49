"""The splitter of expressions: against a real parser for every alert that we ship, and by the rules of precedence."""

from pathlib import Path

import promql_parser
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receiver.reports.review.comparison import Comparison, number, split

RULES = {
    rule["alert"]: rule["expr"]
    for path in sorted(Path("rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
LOGIC, COMPARED = {"and", "or", "unless"}, {"==", "!=", "<", ">", "<=", ">="}


def first(expression: promql_parser.Expr) -> promql_parser.Expr:
    """The first comparison as the parser's tree has it: down the left arms of `or`, `and` and `unless`."""
    while True:
        if isinstance(expression, promql_parser.ParenExpr):
            expression = expression.expr
        elif isinstance(expression, promql_parser.BinaryExpr) and str(expression.op) in LOGIC:
            expression = expression.lhs
        else:
            return expression


def plain(text: str) -> str:
    return promql_parser.parse(text).prettify()


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_of_ours_is_split_as_a_parser_splits_it(alert: str) -> None:
    tree, found = first(promql_parser.parse(RULES[alert])), split(RULES[alert])
    if not isinstance(tree, promql_parser.BinaryExpr) or str(tree.op) not in COMPARED:
        assert found is None
        return
    assert found is not None
    assert found.operator == str(tree.op)
    promql_parser.parse(found.guarded())  # ValueError if it is none
    if found.limit == number(tree.rhs.prettify()):
        assert plain(found.left) == plain(tree.lhs.prettify())
    else:  # compared with other series: the left side became a share of the right one
        assert (found.limit, plain(tree.rhs.prettify()) in plain(found.left)) in {(1.0, True), (None, False)}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a > 5", Comparison("a", ">", 5)),
        ("(a > 5)", Comparison("a", ">", 5)),
        ("a / (b > 0) > 0.9", Comparison("a / (b > 0)", ">", 0.9)),
        ("a - b < 14 * 86400", Comparison("a - b", "<", 1_209_600)),
        ("a > b > 5", Comparison("a > b", ">", 5)),
        ("a > bool 5", Comparison("a", ">", 5)),
        ("a <= -5", Comparison("a", "<=", -5)),
        ("a > 5 and on (job) b > 2", Comparison("a", ">", 5, " and on (job) b > 2")),
        ("(a > 5 and b > 2) unless c", Comparison("a", ">", 5, " and b > 2 unless c")),
        ("a > 5 or b > 7", Comparison("a", ">", 5, arms=2)),
        ('a{x="1 > 2 and 3"} > 5', Comparison('a{x="1 > 2 and 3"}', ">", 5)),
        ('a{x=~"b|c", y!="z"} == 0', Comparison('a{x=~"b|c", y!="z"}', "==", 0)),
        ("a > on (slo, team) 14 * (1 - b)", Comparison("(a) / on (slo, team) (14 * (1 - b))", ">", 1)),
        ("a < on (job) group_left () c", Comparison("(a) / on (job) group_left () (c)", "<", 1)),
        ("order_total > 5", Comparison("order_total", ">", 5)),  # no `or` within a name
        ("vector(1)", None),
        ('absent(up{job="node"})', None),
    ],
)
def test_precedence_strings_and_names(expression: str, expected: Comparison | None) -> None:
    assert split(expression) == expected


def test_what_has_no_threshold_is_not_tuned() -> None:
    for expression in ("up == 0", "increase(a[5m]) > 0", "a != 1", "up == on (job) b"):
        compared = split(expression)
        assert compared is not None
        assert not compared.tunable


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(sorted(COMPARED)),
)
def test_comparing_is_comparing(value: float, limit: float, operator: str) -> None:
    plainly = {
        "==": value == limit, "!=": value != limit, "<": value < limit,
        ">": value > limit, "<=": value <= limit, ">=": value >= limit,
    }  # fmt: skip
    assert Comparison("a", operator, limit).holds(value, limit) == plainly[operator]


@given(st.text(max_size=60))
def test_any_text_is_split_or_not_and_breaks_nothing(text: str) -> None:
    found = split(text)
    assert found is None or found.operator in COMPARED
