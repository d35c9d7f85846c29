"""The lock file fits what the project asks for, on every Python that it supports, and names no place."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.paths import PROJECT

LINES = (PROJECT / "requirements" / "constraints.txt").read_text("utf-8").splitlines()
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = sorted(
    found[1] for one in METADATA["classifiers"] if (found := re.fullmatch(r".* :: Python :: (3\.\d+)", one))
)


def environment(python: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.5",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }


def locked(python: str) -> dict[str, str]:
    """Name -> version of what the lock file pins for a Python."""
    pins = [Requirement(line) for line in LINES if line]
    valid = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment(python))]
    names = [canonicalize_name(pin.name) for pin in valid]
    assert len(names) == len(set(names))
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in valid}


def asked_for() -> list[Requirement]:
    texts = [
        *METADATA["dependencies"],
        *(text for extra in METADATA["optional-dependencies"].values() for text in extra),
    ]
    return [Requirement(text) for text in texts if not text.startswith("score-to-audio[")]


def test_what_is_promised_is_what_continuous_integration_tries() -> None:
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    (tried,) = {tuple(job["strategy"]["matrix"]["python"]) for job in workflow["jobs"].values()}
    assert sorted(tried) == PYTHONS
    assert METADATA["requires-python"] == f">={PYTHONS[0]}"


def test_the_version_to_cite_is_the_version() -> None:
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == METADATA["version"]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_locked_to_a_version_that_will_do(python: str) -> None:
    pins = locked(python)
    for requirement in asked_for():
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), (requirement, version)


def test_the_lock_file_holds_names_and_versions_only() -> None:
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9._-]+==[0-9A-Za-z.!]+( ; [a-zA-Z_0-9 '.=<>!()]+)?", line), line
        assert "+" not in line  # a local build would be found nowhere else


def test_the_makefile_installs_what_is_locked() -> None:
    installs = [line for line in (PROJECT / "Makefile").read_text().splitlines() if "--editable" in line]
    assert installs
    assert all("$(LOCKED)" in line for line in installs)


def test_licences_are_listed_for_everything_locked() -> None:
    listed = (PROJECT / "docs" / "reference" / "licences.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (\S+) \| (.+) \|$", listed, re.MULTILINE))
    assert all(licence.strip() for licence in rows.values())
    elsewhere = set(re.findall(r"[a-z0-9._-]+", listed.rpartition("licence): ")[2].rstrip(".\n")))
    assert {line.partition("==")[0] for line in LINES} <= rows.keys() | elsewhere
    assert {canonicalize_name(one.name) for one in asked_for()} <= rows.keys()
