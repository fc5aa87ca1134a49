"""The Dockerfile and the compose file are well-formed, pinned and confined, and their configurations are valid."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.generate.__main__ import main as generate
from deploy.generate.build_lock import entry
from deploy.generate.containers import replaced
from tests.deploy.installed import ROOT

COMPOSE = ROOT / "deploy/compose"
TOOLS = Path(sysconfig.get_path("scripts"))
STACK = ROOT / ".stack/bin"
DIGEST = "sha256:" + 64 * "a"
OWN = {"exporter", "receiver", "receiver-postgres"}


def images() -> dict[str, str]:
    lines = (COMPOSE / "images.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def compose(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(TOOLS / "docker-compose"),
        f"--project-directory={COMPOSE}",
        f"--file={COMPOSE / 'compose.yml'}",
        *words,
    ]
    inherited = {name: value for name, value in os.environ.items() if not name.endswith(("_IMAGE", "_DIGEST"))}
    return subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, check=False)


def pinned() -> dict[str, str]:
    return {name: value or DIGEST for name, value in images().items()}


@pytest.fixture(scope="module")
def resolved() -> dict[str, Any]:
    done = compose("--profile=full", "--profile=postgres", "config", "--format=json", **pinned())
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def test_the_generated_files_are_up_to_date() -> None:
    assert generate(["--check"]) == 0


def test_a_source_without_what_is_replaced_is_named() -> None:
    with pytest.raises(ValueError, match=r"receiver\.yml has no 'missing'"):
        replaced("receiver.yml", "text", {"missing": ""})
    with pytest.raises(ValueError, match="does not have wheel"):
        entry("setuptools==1 \\\n    --hash=sha256:0\n", "wheel")


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    command = [str(TOOLS / "hadolint"), "--no-color", str(ROOT / "deploy/image/Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    text = (ROOT / "deploy/image/Dockerfile").read_text("utf-8")
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    ignore = (ROOT / "deploy/image/Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignore, name
    assert {line[1:] for line in ignore if line.startswith("!")} == set(copied)


def test_the_image_has_the_packages_of_every_extra() -> None:
    """But for uvloop, which is a choice of its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    extras = {name: wanted for name, wanted in extras.items() if name not in ("dev", "uvloop")}
    assert "postgres" in extras
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    names = [re.split(r"[<>=]", one)[0] for wanted in extras.values() for one in wanted]
    packages = {re.sub(r"\[(\w+)\]", r"-\1", name) for name in names}  # psycopg[binary] is psycopg-binary
    assert packages <= locked
    assert "--requirement requirements.lock" in (ROOT / "deploy/image/Dockerfile").read_text("utf-8")


def test_both_programs_run_as_a_user_with_a_number_and_are_watched() -> None:
    text = (ROOT / "deploy/image/Dockerfile").read_text("utf-8")
    _, runtime, exporter, receiver = re.split(r"^FROM .+ AS (?:runtime|exporter|receiver)$", text, flags=re.MULTILINE)
    assert re.search(r"^USER [1-9]\d{3,}:[1-9]\d{3,}$", runtime, re.MULTILINE)
    for stage, name, port in ((exporter, "exporter", 3001), (receiver, "receiver", 9095)):
        assert f'CMD ["heypeter-{name}", ' in stage
        assert f"http://127.0.0.1:{port}/-/healthy" in stage.partition("HEALTHCHECK")[2]


@pytest.mark.parametrize("profile", ["core", "full", "postgres", "grafana"])
def test_compose_takes_each_profile(profile: str) -> None:
    done = compose(f"--profile={profile}", "config", "--quiet", **pinned())
    assert (done.returncode, done.stderr) == (0, "")


def test_receivers_on_postgresql_stand_in_for_the_one_with_a_file(resolved: dict[str, Any]) -> None:
    services = {
        profile: json.loads(compose(f"--profile={profile}", "config", "--format=json", **pinned()).stdout)["services"]
        for profile in ("full", "postgres")
    }
    assert set(services["postgres"]) - set(services["full"]) == {"receiver-postgres", "prometheus-postgres", "database"}
    assert set(services["full"]) - set(services["postgres"]) == {"receiver", "prometheus"}
    for name in ("receiver", "prometheus"):  # as the configurations name them
        assert services["postgres"][f"{name}-postgres"]["networks"]["default"]["aliases"] == [name]
    ours = services["postgres"]["receiver-postgres"]
    assert ours["deploy"]["replicas"] == 2
    assert [volume["target"] for volume in ours["volumes"]] == ["/etc/heypeter/receiver.yml"]
    assert all(not one["required"] for one in resolved["alertmanager"]["depends_on"].values())


def test_compose_refuses_an_image_without_a_digest() -> None:
    for name in images():
        if name.endswith("_DIGEST"):
            done = compose("--profile=postgres", "config", "--quiet", **{**pinned(), name: ""})
            assert done.returncode != 0, name
            assert name in done.stderr


def test_compose_refuses_a_misspelt_key(tmp_path: Path) -> None:
    text = (COMPOSE / "compose.yml").read_text("utf-8").replace("stop_grace_period", "stop_grace_perod")
    (tmp_path / "compose.yml").write_text(text, "utf-8")
    command = [str(TOOLS / "docker-compose"), f"--file={tmp_path / 'compose.yml'}", "config", "--quiet"]
    done = subprocess.run(command, env={**os.environ, **pinned()}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "stop_grace_perod" in done.stderr


def test_every_image_stands_in_one_file(resolved: dict[str, Any]) -> None:
    named = {f"{images()[name]}@{DIGEST}" for name in images() if name.endswith("_IMAGE")}
    used = {service["image"] for name, service in resolved.items() if name not in OWN}
    used |= {service["build"]["args"]["PYTHON"] for name, service in resolved.items() if name in OWN}
    assert used == named
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*@sha256:a{64}", image) for image in used)


def test_every_service_is_confined_bounded_and_reached_from_this_host_only(resolved: dict[str, Any]) -> None:
    assert len(resolved) == 13
    for name, service in resolved.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) > 0, name
        assert service["user"].split(":")[0] != "0", name
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", ())), name
        assert "privileged" not in service, name
        assert "secrets" not in service or "10001" in [service["user"].partition(":")[2], *service.get("group_add", ())]
        watched = name in OWN or "healthcheck" in service  # our images have one of their own
        assert watched or name == "nginx-exporter", name


def test_every_secret_that_a_configuration_names_is_handed_over(resolved: dict[str, Any]) -> None:
    files = {name: name for name in ("exporter", "receiver", "alertmanager")} | {
        "receiver-postgres": "receiver-postgresql"
    }
    for name, file in files.items():
        lines = (COMPOSE / f"config/{file}.yml").read_text("utf-8").splitlines()
        active = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
        assert set(re.findall(r"/run/secrets/([\w-]+)", active)) == {one["source"] for one in resolved[name]["secrets"]}


@pytest.mark.parametrize("name", ["exporter", "receiver", "receiver-postgresql"])
def test_the_configurations_are_valid(name: str) -> None:
    program = name.partition("-")[0]
    command = [sys.executable, "-m", program, "check", f"--config.file={COMPOSE / f'config/{name}.yml'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.stack
@pytest.mark.parametrize(
    ("tool", "name"),
    [("promtool", "prometheus"), ("promtool", "prometheus-postgresql"), ("amtool", "alertmanager")],
)
def test_the_configurations_of_others_are_valid(tmp_path: Path, tool: str, name: str) -> None:
    text = (COMPOSE / f"config/{name}.yml").read_text("utf-8").replace("/etc/prometheus/rules", str(ROOT / "rules"))
    (tmp_path / "file.yml").write_text(text, "utf-8")
    words = ["check", "config"] if tool == "promtool" else ["check-config"]
    done = subprocess.run(
        [str(STACK / tool), *words, str(tmp_path / "file.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_targets_are_services_of_the_compose_file(resolved: dict[str, Any]) -> None:
    config = yaml.safe_load((COMPOSE / "config/prometheus.yml").read_text("utf-8"))
    targets = [t for job in config["scrape_configs"] for one in job["static_configs"] for t in one["targets"]]
    hosts = {target.partition(":")[0] for target in targets if not target.startswith("https://")}
    assert hosts <= set(resolved)
    assert "localhost" not in hosts
    several = yaml.safe_load((COMPOSE / "config/prometheus-postgresql.yml").read_text("utf-8"))
    found = {job["job_name"]: job["dns_sd_configs"] for job in several["scrape_configs"] if "dns_sd_configs" in job}
    assert [(job, one["names"], one["port"]) for job, (one,) in found.items()] == [("receiver", ["receiver"], 9095)]


def script(folder: Path, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(COMPOSE / name, folder)
    command = [str(folder / name)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def docker(folder: Path, answer: str) -> str:
    """Put a program in the place of docker that answers with a digest and notes what it was asked; gives PATH."""
    (folder / "bin").mkdir()
    program = folder / "bin/docker"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\necho {answer}\n', "utf-8")
    program.chmod(0o755)
    return f"{folder / 'bin'}:{os.environ['PATH']}"


def test_pin_writes_the_digest_of_each_tag(tmp_path: Path) -> None:
    shutil.copy(COMPOSE / "images.env", tmp_path)
    done = script(tmp_path, "pin.sh", PATH=docker(tmp_path, DIGEST))
    assert done.returncode == 0, done.stderr
    text = (COMPOSE / "images.env").read_text("utf-8")
    assert (tmp_path / "images.env").read_text("utf-8") == re.sub(r"_DIGEST=\S*", f"_DIGEST={DIGEST}", text)
    asked = (tmp_path / "asked").read_text("utf-8")
    assert all(value in asked for name, value in images().items() if name.endswith("_IMAGE"))


def test_pin_keeps_the_file_when_the_registry_gives_no_digest(tmp_path: Path) -> None:
    shutil.copy(COMPOSE / "images.env", tmp_path)
    done = script(tmp_path, "pin.sh", PATH=docker(tmp_path, "unauthorized"))
    assert done.returncode == 1
    assert (tmp_path / "images.env").read_text("utf-8") == (COMPOSE / "images.env").read_text("utf-8")


def test_secrets_are_made_once_in_a_private_folder(tmp_path: Path, resolved: dict[str, Any]) -> None:
    done = script(tmp_path, "make-secrets.sh")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text("utf-8") for path in folder.iterdir()}
    assert set(made) == {one["source"] for service in resolved.values() for one in service.get("secrets", ())}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {(stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) for path in folder.iterdir()}
    assert modes == ({(0o640, 10001)} if os.geteuid() == 0 else {(0o644, os.getegid())})
    assert {name for name, value in made.items() if f"fill in {folder / name}" in done.stdout} == {
        name for name, value in made.items() if not value
    }
    assert script(tmp_path, "make-secrets.sh").returncode == 0
    assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == made
