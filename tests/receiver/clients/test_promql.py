"""What an alert compares: for every alert that we ship, and by precedence, strings, comments and modifiers."""

import re
from pathlib import Path

import promql_parser
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receiver.clients.promql import Comparison, ExpressionError, compared, is_constant, selected_label

RULES = {
    rule["alert"]: rule["expr"]
    for path in sorted(Path("rules").glob("*.yml"))
    for group in yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
MAX = "max_over_time((a > 1)[1h:5m])"
UTF8 = 'sum by ("c.d") ({__name__="a.b"})'
RATIO = "(a) / on (slo, team) (14 * (1 - b))"
LEFT = "(a) / on (job) group_left () (c)"
RIGHT = '(a) / on ("c.d") group_right ("e.f", g) (c)'
COMPARED = {"==", "!=", "<", ">", "<=", ">="}


def plain(text: str) -> str:
    return promql_parser.parse(text).prettify()


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_of_ours_is_read(alert: str) -> None:
    comparison = compared(RULES[alert])
    if comparison is None:
        assert re.match(r"[\s(]*(label_replace\()?(absent|vector)\(", RULES[alert])
        return
    for text in (comparison.left, comparison.guarded):
        promql_parser.parse(text)  # ValueError if it is none


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a > 5", Comparison("a", ">", 5, "a")),
        ("(a > 5)", Comparison("a", ">", 5, "a")),
        ("a / (b > 0) > 0.9", Comparison("a / (b > 0)", ">", 0.9, "a / (b > 0)")),
        ("a - b < 14 * 86400", Comparison("a - b", "<", 1_209_600, "a - b")),
        ("a < (2 ^ 3 - -1) / 3 % 2", Comparison("a", "<", 1, "a")),
        ("a > b > 5", Comparison("a > b", ">", 5, "a > b")),
        ("a > bool 5", Comparison("a", ">", 5, "a")),
        ("a <= -5", Comparison("a", "<=", -5, "a")),
        ("5 < a", Comparison("a", ">", 5, "a")),
        ("a > 5m", Comparison("a", ">", 300, "a")),
        ("a > 5 and on (job) b > 2", Comparison("a", ">", 5, "(a) and on (job) (b > 2)")),
        ("(a > 5 and b > 2) unless c", Comparison("a", ">", 5, "((a) and (b > 2)) unless (c)")),
        ("((a > 5) or b > 7) unless ignoring (x) c", Comparison("a", ">", 5, "(a) unless ignoring (x) (c)", 2)),
        ("a > 5 and on () c", Comparison("a", ">", 5, "(a) and on () (c)")),
        ("a > 5 or b > 7 or c > 9", Comparison("a", ">", 5, "a", 3)),
        ('a{x="1 > 2 and 3"} > 5', Comparison('a{x="1 > 2 and 3"}', ">", 5, 'a{x="1 > 2 and 3"}')),
        ("a{x='\\'> 1 or'} > 5", Comparison('a{x="\'> 1 or"}', ">", 5, 'a{x="\'> 1 or"}')),
        ('a{x=~"b|c", y!="z"} == 0', Comparison('a{x=~"b|c",y!="z"}', "==", 0, 'a{x=~"b|c",y!="z"}')),
        ("# b > 1 and\na # or\n> 5 # > 7", Comparison("a", ">", 5, "a")),
        ("a offset -5m > 5", Comparison("a offset -5m", ">", 5, "a offset -5m")),
        ("a @ end() > 5", Comparison("a @ end()", ">", 5, "a @ end()")),
        ("max_over_time((a > 1)[1h:5m]) > 5", Comparison(*("max_over_time((a > 1)[1h:5m])", ">", 5), MAX)),
        ('sum by ("c.d") ({"a.b"}) > 5', Comparison(*(UTF8, ">", 5, UTF8))),
        ("a > on (slo, team) 14 * (1 - b)", Comparison(*(RATIO, ">", 1, RATIO))),
        ("a < on (job) group_left () c", Comparison(*(LEFT, "<", 1, LEFT))),
        ('a < on ("c.d") group_right ("e.f", g) c', Comparison(*(RIGHT, "<", 1, RIGHT))),
        ("a > scalar(b)", Comparison(*("(a) / (scalar(b))", ">", 1, "(a) / (scalar(b))"))),
        ("order_total > 5", Comparison("order_total", ">", 5, "order_total")),  # no `or` within a name
        ("vector(1)", None),
        ('absent(up{job="node"})', None),
        ("sum(a > 1)", None),
    ],
)
def test_precedence_strings_and_names(expression: str, expected: Comparison | None) -> None:
    comparison = compared(expression)
    assert comparison == expected
    if comparison is not None:
        plain(comparison.left)
        plain(comparison.guarded)


@pytest.mark.parametrize("expression", ["", "a >", "rate(a[5m] anchored) > 1", "(" * 101 + "a" + ")" * 101, "a" * 3001])
def test_what_cannot_be_read_is_an_error_of_its_own(expression: str) -> None:
    with pytest.raises(ExpressionError):
        compared(expression)
    assert not is_constant(expression)


def test_what_a_modifier_fills_in_is_not_left_out_silently() -> None:
    with pytest.raises(ExpressionError, match="fill"):
        compared("a > on (job) fill (0) b")


def test_a_selected_label_is_read_from_the_selector_alone() -> None:
    metric = "heypeter:benchmark:value"
    assert selected_label('heypeter:benchmark:value{unit="a",benchmark="c}\\""}', metric, "benchmark") == 'c}"'
    for other in (
        'other{benchmark="c"}',
        'sum(heypeter:benchmark:value{benchmark="c"})',
        f'{metric}{{benchmark=~"c"}}',
    ):
        assert selected_label(other, metric, "benchmark") is None


def test_what_always_fires_is_constant() -> None:
    assert is_constant("vector( 1 )")
    assert is_constant("(vector(2 - 1))")
    assert not is_constant("vector(time())")
    assert not is_constant("up")


@pytest.mark.parametrize("constant", ["1 / 0", "0 ^ -1", "(0 - 1) ^ 0.5", "10 ^ 400", "NaN", "Inf", "1 % 0", "b"])
def test_what_has_no_finite_value_is_no_limit(constant: str) -> None:
    comparison = compared(f"a > {constant}")
    assert comparison is not None
    assert comparison.left == f"(a) / ({plain(constant)})"


def test_what_has_no_threshold_is_not_tuned() -> None:
    for expression in ("up == 0", "increase(a[5m]) > 0", "a != 1", "up == on (job) b"):
        comparison = compared(expression)
        assert comparison is not None
        assert not comparison.tunable


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
    assert Comparison("a", operator, limit, "a").holds(value, limit) == plainly[operator]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        comparison = compared(text)
    except ExpressionError:
        return
    assert comparison is None or comparison.operator in COMPARED
