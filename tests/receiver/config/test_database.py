"""`database` and `postgres` in receiver.yml: one of both, and no password where it would be shown."""

from pathlib import Path

import pytest

from process.settings import Secret, SettingsError
from receiver.config.database import DatabasePassword
from receiver.config.load import load
from tests.receiver.config.test_sources import written

SECRET = "s3cretpw"
GOOD = "postgresql://receiver@db1,db2:5433/heypeter?target_session_attrs=read-write&sslmode=verify-full"
WITH_PASSWORD = [
    f"postgresql://receiver:{SECRET}@db/heypeter",
    f"postgresql://receiver:x@{SECRET}@db/heypeter",
    f"postgresql://receiver:x/{SECRET}@db/heypeter",
    f"postgresql://receiver@db/heypeter?password={SECRET}",
    f"postgresql://receiver@db/heypeter?%70assword={SECRET}",
    f"postgresql://receiver@db/heypeter?sslpassword={SECRET}",
    f"postgresql://receiver@db/heypeter?oauth_client_secret={SECRET}",
]
NO_URL = [f"host=db password={SECRET}", "postgresql://db", "mysql://db/heypeter", f"postgresql://a:{SECRET}@[::1/db"]


def in_postgres(folder: Path, **settings: object) -> Path:
    path = written(folder, postgres={"url": GOOD} | settings)
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("database: ")), "utf-8")
    return path


def test_several_hosts_and_options_are_taken(tmp_path: Path) -> None:
    config, _ = load(in_postgres(tmp_path))
    assert config.postgres is not None
    assert config.postgres.url == GOOD


@pytest.mark.parametrize("url", WITH_PASSWORD)
def test_a_password_in_the_url_is_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match=r"postgres\.url: holds a password; set password") as refused:
        load(in_postgres(tmp_path, url=url))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("url", NO_URL)
def test_what_is_no_url_is_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match=r"postgres\.url: invalid URL") as refused:
        load(in_postgres(tmp_path, url=url))
    assert SECRET not in str(refused.value)


def test_both_or_none_are_refused(tmp_path: Path) -> None:
    both = written(tmp_path, postgres={"url": GOOD})
    with pytest.raises(SettingsError, match="set either database"):
        load(both)
    with pytest.raises(SettingsError, match="set either database"):
        load(written(tmp_path, database=None))


def test_a_new_password_in_the_file_is_used_without_a_restart_and_known_as_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "password").write_text("first\n", "utf-8")
    config, source = load(in_postgres(tmp_path, password_file="password"))
    assert config.postgres is not None
    secrets = list[Secret]()
    password = DatabasePassword(config.postgres, source, secrets.append)
    assert [password(), password()] == ["first", "first"]
    (tmp_path / "password").write_text("second", "utf-8")
    assert password() == "second"
    (tmp_path / "password").unlink()
    assert password() == "second"
    assert "cannot read" in caplog.text
    assert [secret.reveal() for secret in secrets] == ["first", "second"]
    with pytest.raises(SettingsError, match=r"postgres\.password_file: cannot read"):
        DatabasePassword(config.postgres, source)
