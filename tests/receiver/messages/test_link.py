"""Signed links: they grant what they say, to whom they say, as long as they say."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.messages.link import Grant, LinkError, Refusal, read, sign
from tests.receiver.example_site import START

SECRET = "s" * 32
GRANT = Grant(12, "Linh Tran", int((START + timedelta(days=7)).timestamp()))


def test_a_link_reads_back() -> None:
    assert read(sign(GRANT, SECRET), SECRET, START) == GRANT


def test_a_link_is_fit_for_a_url() -> None:
    assert set(sign(GRANT, SECRET)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_a_link_ends() -> None:
    with pytest.raises(LinkError) as refused:
        read(sign(GRANT, SECRET), SECRET, START + timedelta(days=7, seconds=1))
    assert (refused.value.refusal, refused.value.person) == (Refusal.EXPIRED, "Linh Tran")


def test_another_secret_did_not_make_it() -> None:
    with pytest.raises(LinkError) as refused:
        read(sign(GRANT, "x" * 32), SECRET, START)
    assert (refused.value.refusal, refused.value.person) == (Refusal.FORGED, "")


@given(st.data())
def test_no_changed_character_passes(data: st.DataObject) -> None:
    token = sign(GRANT, SECRET)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCabc019-_.=").filter(lambda c: c != token[at]))
    forged = token[:at] + other + token[at + 1 :]
    try:
        # The last character of each part carries padding bits: another letter may stand for the same bytes.
        assert read(forged, SECRET, START) == GRANT
        assert at in {token.index(".") - 1, len(token) - 1}
    except LinkError:
        pass


@given(st.text(max_size=80))
def test_any_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(LinkError):
        read(text, SECRET, START)
