"""Commands that read the database of receiver.yml: what they say when it does not answer."""

from pathlib import Path

import pytest

from receiver.__main__ import main
from tests.receiver.config.test_database import in_postgres

pytestmark = [pytest.mark.postgres]
AWAY = "postgresql://receiver@127.0.0.1:1/heypeter"


@pytest.mark.parametrize(
    "words",
    [["report"], ["postmortem", "1"], ["replay"], ["erase", "anna"], ["token", "list"]],
    ids=lambda words: words[0],
)
def test_a_server_that_does_not_answer_is_named_and_no_file_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    path = in_postgres(tmp_path, url=AWAY, password="s3cretpw")
    assert main([*words, "--config.file", str(path)]) == 1
    said = capsys.readouterr().err
    assert 'connection to server at "127.0.0.1", port 1 failed' in said
    assert "--database" not in said
    assert "s3cretpw" not in said
