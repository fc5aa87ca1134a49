r"""Matchers match what Alertmanager matches, which amtool shows, and what it refuses is refused."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.policy.matcher import MatcherError, parse
from receiver.policy.re2 import RE2Error, compile_re2

VALUES = [
    *(
        "",
        "a",
        "aa",
        "A",
        "ab",
        "ab\n",
        "a\nb",
        "a.b",
        "axb",
        "a+b",
        "b",
        "abc",
        "1",
        "12",
        "\u0661",
        "é",
        "É",
        "x y",
        "_",
    ),
    *(
        "a-b",
        "[",
        "]",
        "a]",
        "^",
        "$",
        "{2}",
        "a{2}",
        "\\",
        "\t",
        "\x07",
        "\x0b",
        "😀",
        "foobar",
        "FOObar",
        "foo",
        "bar",
    ),
]
# Expressions that both know, by kinds: classes, flags, anchors, quantifiers, quoting, escapes, groups.
MEANT = [
    *(r"\pL", r"\p{Greek}", r"[\pN]+", r"\PL", r"\p{^L}", r"(?s)\pZ"),
    *("(?P<1>a)", "(?P<n>a)(?P<n>b)"),
    "(?)a",
    *("a", "a|b", "a.*", "(a|b)+", "(?:a|b){2}", "a{2}", "a{1,}", "a{0,2}", "a{,2}", "a{x", "a??b?", "a+?", ""),
    *(r"\d+", r"\D", r"\w+", r"\W", r"\s", r"\S+", r"[\d_]", r"[^\d]", r"[\D]", r"[\s\S]*", r"[\W]", r"[^\W]", r"\x41"),
    *(r"\x{41}", r"\x{1F600}", r"\101", r"\07", r"\07|a", r"\a", r"\v", r"\t", r"a\.b", r"a\+b", r"\_", r"\-", r"a\-b"),
    *("[[:alpha:]]+", "[[:^alpha:]]", "[[:digit:]a]", "[[:word:]]+", "[a-c]+", "[]a]+", "[^]a]+", "[a-]+", "[-a]+"),
    *("[[]", "[a[]", "[a&&b]", "[+--]", "[~~]", "[||a]", r"[\]]", r"[\\]", "[.]", "[$^]", "(?i)a", "(?i)foo(?-i)bar"),
    *("(?i:foo)bar", "(?i)a|b", "a|(?i)b", "x|(?i)foo|bar", "((?i)foo)bar", "(?s).*", "(?s:a.b)", "a.b", "(?U)a+"),
    *("(?i)é", "(?P<n>a)b?", "^a$", "a$", "(?m)^a$\nb", "(?m:a$)\nb", r"\Aa\z", r"a\b.*", r"\ba", r".*\B.", r"é\b"),
    *(
        r"\Qa.b\E",
        r"\Q\E",
        "(?i)FOO.*",
        "foo.*|bar",
        "(?im-s)A",
        "a{1}b{0}",
        r"[\x41-\x43]",
        "é|É",
        "(a(b(c)))",
    ),
]
REFUSED = [
    r"\Qa+b",
    "[a--b]",
    "{2}",
    *(
        "(?=a)a",
        "(?!a).",
        "(?<=a)b",
        "(?<!a)b",
        r"(a)\1",
        r"(?P<n>a)(?P=n)",
        "(?>a)",
        "a++",
        "a*+",
        "a?+",
        "a**",
        "a{2}{3}",
    ),
    *(
        "(a)?(?(1)b|c)",
        "(?#x)a",
        r"\Z",
        r"a\Z",
        "(?x)a",
        "(?a)a",
        "(?L)a",
        "(?u)a",
        "a{1001}",
        "(",
        ")",
        "a)",
        "(a",
        "[a",
    ),
    *(
        "[b-a]",
        "*a",
        "+",
        "?",
        r"\9",
        r"\8",
        r"\e",
        r"\y",
        r"\x4",
        r"\x{110000}",
        "[[:foo:]]",
        "(?i",
        "(?",
        "\\",
        "[\\",
    ),
    *(r"\é", "a{2,1}", "(?P<>a)", r"\C"),
]


@pytest.mark.parametrize("expression", REFUSED)
def test_what_cannot_match_as_in_alertmanager_is_refused(expression: str) -> None:
    with pytest.raises(RE2Error):
        compile_re2(expression)
    with pytest.raises(MatcherError):
        parse(f"a=~{json.dumps(expression, ensure_ascii=False)}")


@given(st.text(alphabet=st.sampled_from(r"ab\(?[]{}|*+^$:.-,012dDwQEpPxiU<>=!é")))
def test_any_expression_compiles_or_is_refused_by_name(expression: str) -> None:
    try:
        pattern = compile_re2(expression)
    except RE2Error:
        return
    pattern.fullmatch("a")


def routed(folder: Path, matchers: list[str], labels: dict[str, str]) -> list[int]:
    """The matchers that real Alertmanager finds to match, by number."""
    routes = [{"matchers": [text], "receiver": f"r{n}", "continue": True} for n, text in enumerate(matchers)]
    receivers = [{"name": name} for name in ("none", *(route["receiver"] for route in routes))]
    file = folder / "alertmanager.yml"
    file.write_text(json.dumps({"route": {"receiver": "none", "routes": routes}, "receivers": receivers}), "utf-8")
    given_ = [f'"{name}"={json.dumps(value, ensure_ascii=False)}' for name, value in labels.items()]
    command = [".stack/bin/amtool", "config", "routes", "test", f"--config.file={file}", *given_]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return sorted(int(name.removeprefix("r")) for name in done.stdout.splitlines()[-1].split(",") if name != "none")


def taken(folder: Path, matcher: str) -> bool:
    """Whether real Alertmanager accepts a matcher."""
    file = folder / "alertmanager.yml"
    routes = [{"matchers": [matcher], "receiver": "a"}]
    file.write_text(json.dumps({"route": {"receiver": "a", "routes": routes}, "receivers": [{"name": "a"}]}), "utf-8")
    command = [".stack/bin/amtool", "check-config", str(file)]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


@pytest.mark.stack
def test_expressions_match_what_the_real_alertmanager_matches(tmp_path: Path) -> None:
    matchers = [f"a=~{json.dumps(expression, ensure_ascii=False)}" for expression in MEANT]
    for value in VALUES:
        ours = [n for n, text in enumerate(matchers) if parse(text).matches({"a": value})]
        theirs = routed(tmp_path, matchers, {"a": value})
        assert ours == theirs, (value, [matchers[n] for n in {*ours} ^ {*theirs}])


@pytest.mark.stack
def test_the_real_alertmanager_refuses_them_too(tmp_path: Path) -> None:
    accepted = [text for text in REFUSED if taken(tmp_path, f"a=~{json.dumps(text, ensure_ascii=False)}")]
    assert accepted == [], len(accepted)


LABELS = {
    "my label": "x",
    "a": "1",
    "ä": "ö",
    "a.b": "2",
    "path": 'a"b\\c',
    "team": "back end",
    "w": r"a\.b",
    "n": "a\nb",
}
MATCHERS = [
    *(
        '"my label"="x"',
        '"my label"=x',
        '"my label"!="x"',
        'a="1"',
        "a=1",
        "a = 1",
        ' a ="1" ',
        '"ä"="ö"',
        "ä=ö",
        "a.b=2",
    ),
    *('"a.b"="2"', "team=back end", 'team="back end"', r'path="a\"b\\c"', r'w="a\.b"', r'w="a\\.b"', r'n="a\nb"'),
    *(r'w=~"a..b"', r'"\u00e4"="ö"', '"ä"=~"[öü]"', "missing=", 'missing=""', "missing!=x", '"my\\u0020label"="x"'),
    *(r'w=~"a\\\\.b"', r'w=~"a\\\.b"', "a!~2", '"my label"=~"x|y"', "a=~1|2", "a=~(1|2)"),
]
NO_MATCHERS = [
    *('""="x"', "my label=x", "a", "=b", 'a="b', 'a=b"c', "{a=b}", 'a="b",c="d"', "a=~(", '"a=b', "'a'=b", ""),
    *("a=b,c=d", "a=b, c=d", "{a=b, c=d}", "a=b,", "severity=critical,warning", "a=~x{1,2}"),
]


@pytest.mark.stack
def test_matchers_are_read_as_the_real_alertmanager_reads_them(tmp_path: Path) -> None:
    ours = [n for n, text in enumerate(MATCHERS) if parse(text).matches(LABELS)]
    theirs = routed(tmp_path, MATCHERS, LABELS)
    assert ours == theirs, [MATCHERS[n] for n in {*ours} ^ {*theirs}]
    # It takes several in one text, and a label without a name, which can match nothing.
    several = {'""="x"', "{a=b}", 'a="b",c="d"', "", "a=b,c=d", "a=b, c=d", "{a=b, c=d}", "a=b,"}
    assert {text for text in NO_MATCHERS if taken(tmp_path, text)} == several


@pytest.mark.parametrize("text", NO_MATCHERS)
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(MatcherError):
        parse(text)


@pytest.mark.parametrize("text", ["a=b,c=d", "{a=b}", "severity=critical,warning"])
def test_several_matchers_in_one_text_are_to_be_written_one_by_one(text: str) -> None:
    with pytest.raises(MatcherError, match="each matcher by itself, and a value with a comma in quotes"):
        parse(text)
    assert parse('a="b,c=d"').matches({"a": "b,c=d"})


@pytest.mark.parametrize("text", ['"my label"="x"', '"ä"="ö"', "ä=ö", "a.b=2", "team=back end", '"my label"=~"x|y"'])
def test_labels_of_utf_8_can_be_matched(text: str) -> None:
    assert parse(text).matches(LABELS)
    assert not parse(text).matches({})


@pytest.mark.parametrize(
    "expression",
    ["(a+)+b", "(a|a)*b", "(.*)*x", "(a?){50}a{50}b", ".*a.*a.*a.*a.*b", r"(\w+\s?)+!", "(?:a{1,30}){1,30}b"],
)
def test_no_value_takes_long_to_match(expression: str) -> None:
    """Python's own `re` needs hours for the first at forty characters."""
    begun = time.process_time()
    assert not parse(f"summary=~{json.dumps(expression)}").matches({"summary": "a" * 200_000})
    assert time.process_time() - begun < 2
