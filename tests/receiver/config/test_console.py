"""The section `console`: the examples of its page are taken, and what would let strangers in is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from process.settings import SettingsError
from receiver.config.load import load
from receiver.config.reload import FIXED
from tests.receiver.channels.test_registry import written

EXAMPLES = [
    yaml.safe_load(text)
    for text in re.findall(r"```yaml\n(.*?)```", Path("docs/access.md").read_text("utf-8"), re.DOTALL)
]
COMMENTED = re.search(r"^# console:\n(?:#  .*\n)+", Path("deploy/config/receiver.yml").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("settings", EXAMPLES)
def test_each_example_of_the_page_is_taken(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert load(written(tmp_path, settings))[0].console != load(written(tmp_path, {}))[0].console


def test_the_example_in_the_file_is_taken(tmp_path: Path) -> None:
    assert COMMENTED is not None
    settings = yaml.safe_load(re.sub("^# ?", "", COMMENTED[0], flags=re.MULTILINE))
    assert load(written(tmp_path, settings))[0].console.sign_in.oidc is not None


OIDC = {"issuer": "https://id.example.com", "client_id": "1"}


@pytest.mark.parametrize(
    ("console", "says"),
    [
        ({"sign_in": {"proxy": {"addresses": ["0.0.0.0/0"]}}}, "addresses[0]: everybody could say who they are"),
        ({"sign_in": {"proxy": {"addresses": ["::/0"]}}}, "everybody could say who they are"),
        ({"sign_in": {"proxy": {"addresses": []}}}, "addresses"),
        ({"sign_in": {"proxy": {"addresses": ["proxy"]}}}, "expected e.g. 10.0.0.0/8"),
        ({"sign_in": {"proxy": {"addresses": ["10.0.0.1"], "header": "X User"}}}, "invalid header"),
        ({"sign_in": {"proxy": {"addresses": ["10.0.0.1"], "groups_header": "a:b"}}}, "invalid header"),
        ({"sign_in": {"oidc": {**OIDC, "issuer": "http://id.example.com"}}}, "must be https"),
        ({"sign_in": {"oidc": {**OIDC, "issuer": "id.example.com"}}}, "invalid URL"),
        ({"sign_in": {"oidc": {**OIDC, "scopes": ["email"]}}}, "openid is missing"),
        ({"sign_in": {"oidc": {"issuer": "https://id.example.com"}}}, "client_id"),
        ({"trusted_proxies": ["10.0.0.0/40"]}, "trusted_proxies[0]"),
        ({"session_valid_for": "1s"}, "must be 5m to 366d"),
        ({"roles": {"others": "admin"}}, "others"),
        ({"roles": {"root": {}}}, "root: unknown key"),
    ],
)
def test_what_is_refused(tmp_path: Path, console: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(written(tmp_path, {"console": console}))
    assert says in str(error.value)
    assert "receiver.yml:" in str(error.value)


def test_roles_change_by_a_reload_and_the_ways_to_sign_in_do_not() -> None:
    assert {"console.sign_in", "console.trusted_proxies"} <= set(FIXED)
    assert not {"console", "console.roles"} & set(FIXED)
