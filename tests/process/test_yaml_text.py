"""YAML that anybody may have written: what is too deep, too large or not a value is one error with its line."""

from pathlib import Path

import pytest

from process.settings import SettingsError, Source, parse_duration
from process.yaml_text import TextLoader, text

EACH_NINE_TIMES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("written", "error"),
    [
        (f"a0: &a0 [x]\n{EACH_NINE_TIMES}", ":8: invalid YAML: more than"),
        ("a: &a\n  b: [*a]\n", ":2: invalid YAML: the alias 'a' stands for something that holds it"),
        ("a: *b\n", ":1: invalid YAML: found undefined alias"),
        ("[" * 300_000, ":1: invalid YAML: nested more than"),  # ends the process if the parser is let at it
        ("- " * 300_000, ":1: invalid YAML: nested more than"),
        ("a: 1\nb: 2026-13-01\n", ":2: invalid YAML: month must be"),
        (f"a: {'9' * 5000}\n", ":1: invalid YAML: Exceeds the limit"),
        ("a: !!float x\n", ":1: invalid YAML: could not convert"),
        ("? [a, b]\n: c\n", ":1: invalid YAML: found unhashable key"),
        ("a:\n\tb: 1\n", ":2: invalid YAML: indented with a tab; use spaces"),
        ("a: 1\nb: @linh\n", ":2: invalid YAML: a text that begins with '@' needs quotes"),
        ("a: {b: `x`}\n", ":1: invalid YAML: a text that begins with '`' needs quotes"),
        ("a: b: c\n", ":1: invalid YAML: mapping values are not allowed in this context; does a text with `: ` need"),
        ("a: {b: c: d}\n", ":1: invalid YAML: did not find expected ',' or '}'; is a bracket left open, or does"),
        ("a:\n  b: 1\n c: 2\n", ":3: invalid YAML: did not find expected key; is a quote left open, or the line"),
        ("a: 1\x00\n", ": invalid YAML: unacceptable character"),
    ],
)
def test_what_is_no_sane_yaml_is_one_line(tmp_path: Path, written: str, error: str) -> None:
    path = tmp_path / "x.yml"
    path.write_text(written, "utf-8")
    with pytest.raises(SettingsError) as caught:
        Source(path)
    (line,) = caught.value.lines
    assert line.startswith(f"{path}{error}")
    assert len(line.splitlines()) == 1


def test_aliases_and_merges_that_stand_for_a_little_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text("a: &a {b: [1]}\nc: *a\nd: {<<: *a, e: 2}\nf: &b 3\ng: *b\n", "utf-8")
    assert Source(path).data == {"a": {"b": [1]}, "c": {"b": [1]}, "d": {"b": [1], "e": 2}, "f": 3, "g": 3}


def test_a_program_of_go_reads_texts_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text("- [on, no, 1:30, 010, 2026-09-07, 1.50, ~, true, 'true', null]\n", "utf-8")
    data = Source(path, TextLoader).data
    assert isinstance(data, list)
    (values,) = data
    assert [text(value) for value in values] == [
        *("on", "no", "1:30", "010", "2026-09-07", "1.50", "", "true", "true", "")
    ]
    assert values[7] is True


def test_a_duration_that_no_date_can_take_is_refused() -> None:
    assert parse_duration("36500d") == 36500 * 86400.0
    for written in ("36501d", "999999999w", "9" * 5000 + "s"):
        with pytest.raises(ValueError, match="duration"):
            parse_duration(written)
