"""The Go client: the table of how requests end, and the promises of the other clients. It is compiled as users do."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exporter.client.exporter_double import TOKEN, ExporterDouble, serve
from tests.exporter.client.test_requests import CASES, PATIENCE, check, reach, visit

GO = shutil.which("go")
CLIENT = Path("exporter/client/heypeter.go")
pytestmark = pytest.mark.skipif(GO is None, reason="no Go")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    (folder / "heypeter").mkdir()
    (folder / "go.mod").write_text("module example.com/app\n\ngo 1.23\n", "utf-8")
    shutil.copy(CLIENT, folder / "heypeter/heypeter.go")
    shutil.copy("tests/exporter/client/program.go.txt", folder / "main.go")
    env = {**os.environ, "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    for words in (["vet", "./..."], ["build", "-o", "program", "."]):
        done = subprocess.run([str(GO), *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "program"


@pytest.fixture
def double() -> Iterator[ExporterDouble]:
    with serve(ExporterDouble()) as double:
        yield double


def environment(double: ExporterDouble, **more: str) -> dict[str, str]:
    return {"PATH": "", "HEYPETER_URL": double.url, "HEYPETER_TOKEN": TOKEN, **more}


def run(program: Path, double: ExporterDouble, *words: str, **more: str) -> list[str]:
    env = environment(double, **more)
    done = subprocess.run([program, *words], env=env, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout.splitlines()


def stats(line: str) -> dict[str, int]:
    counts: dict[str, int] = json.loads(line)
    return {name.lower(): count for name, count in counts.items() if count}


def test_the_file_is_formatted_and_needs_only_the_standard_library() -> None:
    done = subprocess.run(
        [str(Path(str(GO)).parent / "gofmt"), "-l", CLIENT], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    imports = CLIENT.read_text("utf-8").partition("import (")[2].partition(")")[0]
    assert "." not in imports


async def test_each_request_is_counted_as_the_table_says(program: Path, double: ExporterDouble) -> None:
    env = environment(double, CASES=json.dumps(CASES))
    quiet = asyncio.subprocess.DEVNULL  # net/http prints the handlers' panics
    process = await asyncio.create_subprocess_exec(
        program, "serve", env=env, stdout=asyncio.subprocess.PIPE, stderr=quiet
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            port = int(await process.stdout.readline())
            for index in range(len(CASES)):
                await visit(port, index)
            await reach(port, "/stop/0")
    finally:
        process.kill()
        await process.wait()
    check(double)


def test_events_arrive_in_order_in_full_batches(program: Path, double: ExporterDouble) -> None:
    (line,) = run(program, double, "track", "450")
    assert stats(line) == {"sent": 450, "batches": len(double.calls)}
    assert double.notes == list(range(1, 451))
    assert max(len(call.body["events"]) for call in double.calls) == 200
    assert "gzip" in {call.headers.get("content-encoding") for call in double.calls}


@pytest.mark.parametrize("misfortune", ["lose", "half", "503 0", "429 0", "502"])
def test_a_batch_is_sent_again_and_counted_once(program: Path, double: ExporterDouble, misfortune: str) -> None:
    double.script = [misfortune]
    (line,) = run(program, double, "track", "3")
    assert stats(line) == {"sent": 3, "batches": 2, "retried": 1}
    assert double.notes == [1, 2, 3]
    assert len({call.batch_id for call in double.calls}) == 1
    assert {call.headers["idempotency-key"] for call in double.calls} == {double.calls[0].batch_id}


def test_a_batch_that_is_too_large_is_halved(program: Path, double: ExporterDouble) -> None:
    double.limit = 2
    (line,) = run(program, double, "track", "5")
    assert stats(line)["sent"] == 5
    assert double.notes == [1, 2, 3, 4, 5]


def test_the_example_of_the_page_compiles(program: Path) -> None:
    (example,) = re.findall(r"```go\n(.*?)```", Path("docs/clients.md").read_text("utf-8"), re.DOTALL)
    folder = program.parent / "page"
    folder.mkdir()
    (folder / "main.go").write_text(example, "utf-8")
    env = {**os.environ, "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        [str(GO), "vet", "./page"], cwd=program.parent, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_fate_of_each_event_is_known(program: Path, double: ExporterDouble) -> None:
    double.reject = "audit_entry"
    counted, rejected, line = run(program, double, "deliver")
    assert counted.split() == ["counted"]
    assert rejected.split()[0] == "rejected"
    assert stats(line) == {"sent": 1, "rejected": 1, "batches": 1}
    assert [event["id"] for event in double.counted] == ["a"]


@pytest.mark.parametrize(("status", "state"), [("401", "undelivered"), ("404", "undelivered"), ("400", "rejected")])
def test_a_fault_of_the_setup_is_not_one_of_the_events(
    program: Path, double: ExporterDouble, status: str, state: str
) -> None:
    double.script = [status]
    first, *_ = run(program, double, "deliver")
    assert first.split()[0] == state


def test_a_full_or_closed_queue_drops_telemetry_and_refuses_business_events(
    program: Path, double: ExporterDouble
) -> None:
    *said, error, line = run(program, double, "full")
    assert said == ["true", "true", "false", "false", "false", "false", "false"]
    assert "not queued" in error
    assert stats(line) == {"sent": 2, "dropped": 5, "batches": 1}


def test_a_query_is_counted_with_its_failure(program: Path, double: ExporterDouble) -> None:
    error, _ = run(program, double, "query")
    assert error == "context canceled"
    (event,) = double.counted
    assert (event["data"]["operation"], event["data"]["outcome"]) == ("select", "failure")
    assert 0 <= event["data"]["duration"] < PATIENCE


def test_what_a_time_limit_of_the_application_ends_was_not_left_by_the_client(
    program: Path, double: ExporterDouble
) -> None:
    run(program, double, "limited")
    counted = [(event["data"]["route"][:7], event["data"]["status"]) for event in double.counted]
    assert counted == [("/silent", 504), ("/silent", 499), ("/told", 503), ("/told/l", 499)]
    assert max(len(event["data"]["route"]) for event in double.counted) == 2000


def test_the_token_is_read_from_a_file_and_an_address_with_a_password_is_refused(
    program: Path, double: ExporterDouble, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n", "utf-8")
    run(program, double, "track", "1", HEYPETER_TOKEN="", HEYPETER_TOKEN_FILE=str(tmp_path / "token"))
    assert double.notes == [1]
    with pytest.raises(subprocess.CalledProcessError) as error:
        run(program, double, "track", "1", HEYPETER_URL="http://me:s3cret@127.0.0.1:3001")
    assert "without a password" in error.value.stderr
    assert "s3cret" not in error.value.stderr
