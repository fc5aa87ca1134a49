"""Every error of a settings file is found, at its place, in words of YAML."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from exporter.config import load
from process.findings import MOST
from process.settings import Duration, Secret, SettingsError, Source, Strict


class Part(Strict, frozen=True):
    size: Annotated[int, msgspec.Meta(ge=1, le=9)]
    form: Annotated[str, msgspec.Meta(pattern="^/")] = "/"
    kind: Literal["a", "b"] = "a"


class Whole(Strict, frozen=True):
    part: Part
    every: Duration
    parts: dict[str, Part] = {}
    listed: list[Part] = []
    cell: str | list[str] = ""
    either: Part | None = None
    some: Annotated[list[str], msgspec.Meta(min_length=1)] | None = None
    word: Annotated[str, msgspec.Meta(min_length=1, max_length=3)] = "x"
    secret: Secret | None = None
    secret_file: Path | None = None
    on: bool = False
    share: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0


def errors(folder: Path, text: str, kind: type[msgspec.Struct] = Whole) -> list[str]:
    path = folder / "x.yml"
    path.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as caught:
        Source(path).convert(kind)
    return [line.removeprefix(f"{path}:") for line in caught.value.lines]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("{}", ["1: part: missing; add it (expected a mapping", "1: every: missing; add it (expected e.g. 30s"]),
        ("part: {}\nevery: 5", ["1: part.size: missing; add it (expected a whole", "2: every: invalid duration"]),
        ("[]", ["1: part: missing", "1: every: missing"]),
        (
            "part: {size: 1, FORM: /, other: 1}\nevery: 1s",
            [
                "1: part.FORM: unknown key; did you mean 'form'?",
                "1: part.other: unknown key (expected one of size, form, kind)",
            ],
        ),
        ("- a", ["1: the file: is a list (expected a mapping (key: value))"]),
        (
            "part: {size: 0, form: x, kind: c}\nevery: 1s",
            [
                "1: part.size: out of range (expected at least 1)",
                "1: part.form: invalid form (expected what matches '^/')",
                "1: part.kind: invalid value 'c' (expected a or b)",
            ],
        ),
        (
            "part: {size: 10, sise: 1}\nevery: 1s",
            [
                "1: part.sise: unknown key; did you mean 'size'?",
                "1: part.size: out of range (expected at most 9)",
            ],
        ),
        (
            (
                "part: {size: 1}\nevery: 1s\n"
                "parts:\n  a: {size: x}\n  b: {size: 1}\n  c: {}\nlisted:\n  - {size: 1}\n  - {size: []}"
            ),
            [
                "4: parts.a.size: is text (expected a whole number)",
                "6: parts.c.size: missing",
                "9: listed[1].size: is a list (expected a whole number)",
            ],
        ),
        (
            "part: {size: 1}\nevery: 1s\neither: {size: 1.5}\ncell: [1]\nsome: []\nword: ''\n'on': 1\nshare: 1",
            [
                "4: cell[0]: is a whole number (expected text",
                "3: either.size: is a number (expected a whole number)",
                "5: some: empty; name at least one",
                "6: word: empty; write something",
                "7: on: is a whole number (expected true or false)",
                "8: share: out of range (expected less than 1.0)",
            ],
        ),
        (
            "part: [1]\nevery: 1s\nword: long\ncell: 5\nparts: [1]",
            [
                "1: part: is a list (expected a mapping",
                "3: word: invalid length (expected at most 3 characters)",
                "4: cell: is a whole number (expected text",
                "5: parts: is a list (expected a mapping",
            ],
        ),
    ],
)
def test_all_errors_have_a_place_and_a_fix(tmp_path: Path, text: str, lines: list[str]) -> None:
    reported = errors(tmp_path, text)
    assert len(reported) == len(lines), reported
    for start in lines:
        assert any(line.startswith(start) for line in reported), (start, reported)


@pytest.mark.parametrize("value", ["5", "[a]", "{a: b}", "true", "2026-01-01", '"a\\0b"'])
def test_what_cannot_be_a_path_is_an_error_with_its_place(tmp_path: Path, value: str) -> None:
    (line,) = errors(tmp_path, f"part: {{size: 1}}\nevery: 1s\nsecret_file: {value}")
    assert line == "3: secret_file: invalid path (expected text; quote it, if it is a number or a date)"


def test_a_long_value_is_cut_in_its_error(tmp_path: Path) -> None:
    (line,) = errors(tmp_path, f"part: {{size: 1}}\nevery: [{'x' * 9000}]")
    assert len(line) < 200


def test_a_secret_is_not_shown_whatever_it_is(tmp_path: Path) -> None:
    for value in ("[hunter2]", "{hunter2: hunter2}", "12345678"):
        (line,) = errors(tmp_path, f"part: {{size: 1}}\nevery: 1s\nsecret: {value}")
        assert line.startswith("3: secret: invalid secret (")
        assert not {"hunter2", "12345678"} & {*line.replace("'", " ").split()}


def test_the_exporters_check_names_them_all_too(tmp_path: Path) -> None:
    path = tmp_path / "exporter.yml"
    path.write_text("lissen: x\nevents: {token: [1]}\nlimits: {series: many}\nbrowser: {origins: x}\n", "utf-8")
    with pytest.raises(SettingsError) as caught:
        load(path)
    places = [line.removeprefix(f"{path}:").split(": ")[1] for line in caught.value.lines]
    assert sorted(places) == ["browser.origins", "events.token", "limits.series", "lissen"]
    assert "did you mean 'listen'?" in str(caught.value)
    assert not [word for word in ("Expected `", "Object", "enum") if word in str(caught.value)]


def test_of_too_many_errors_the_first_are_shown(tmp_path: Path) -> None:
    lines = errors(tmp_path, "".join(f"k{number}: 1\n" for number in range(5000)))
    assert len(lines) == MOST + 1
    assert lines[0].startswith("1: k0: unknown key")
    assert lines[-1].startswith("and more errors")
