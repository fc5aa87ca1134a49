"""A secret is one line of text, wherever it stands; what is none is refused before anybody sends it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from process.settings import Secret, SettingsError, Source, read_secret


def source(tmp_path: Path) -> Source:
    (tmp_path / "receiver.yml").write_text("token_file: token\n")
    return Source(tmp_path / "receiver.yml")


@pytest.mark.parametrize("content", [b"abc", b"abc\n", b"abc\r\n", b"\n abc \n\n", b"\xef\xbb\xbfabc\n"])
def test_blanks_and_empty_lines_around_it_are_not_part_of_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    secret = read_secret(source(tmp_path), ".token", None, tmp_path / "token")
    assert secret is not None
    assert secret.reveal() == "abc"


def a_large_file(file: Path) -> None:
    file.write_bytes(b"x" * 10_000_000)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: file.write_bytes(b"abc\ndef\n"), "2 lines"),
        (lambda file: file.write_bytes(b"abc\rdef"), "2 lines"),
        (lambda file: file.write_bytes(b"abc\n\n\ndef"), "2 lines"),
        (lambda file: file.write_bytes(b"abc\0def"), "control character"),
        (lambda file: file.write_bytes(b"\0abc"), "control character"),
        (lambda file: file.write_bytes(b"abc\x1b[0m"), "control character"),
        (lambda file: file.write_bytes("abc\u2028def".encode()), "2 lines"),
        (lambda file: file.write_bytes("abc".encode("utf-16")), "not UTF-8"),
        (lambda file: file.write_bytes(b"\n \n"), "is empty"),
        (lambda file: file.write_bytes(b"\xef\xbb\xbf"), "is empty"),
        (lambda file: file.write_bytes(b""), "is empty"),
        (lambda file: file.mkdir(), "Is a directory"),
        (os.mkfifo, "is no file"),
        (lambda file: file.symlink_to("/dev/zero"), "is no file"),
        (lambda file: file.symlink_to(file), "Too many levels"),
        (a_large_file, "larger than 64 KiB"),
        (lambda _: None, "No such file"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    make(tmp_path / "token")
    with pytest.raises(SettingsError, match=said) as caught:
        read_secret(source(tmp_path), ".token", None, tmp_path / "token")
    assert "token_file" in str(caught.value)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("value", ["abc\ndef", "abc\rdef", "abc\0def"])
def test_so_is_a_value_that_holds_more_than_a_line(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match=r"lines|control") as caught:
        read_secret(source(tmp_path), ".token", Secret(value), None)
    assert "abc" not in str(caught.value)


def test_several_may_stand_in_lines_where_one_replaces_another(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\ndef\n")
    secret = read_secret(source(tmp_path), ".token", None, tmp_path / "token", several=True)
    assert secret is not None
    assert secret.reveal().split() == ["abc", "def"]
    (tmp_path / "token").write_bytes(b"abc\n\0def\n")
    with pytest.raises(SettingsError, match="control"):
        read_secret(source(tmp_path), ".token", None, tmp_path / "token", several=True)
