"""The conformance suite on the plug-ins that need no checkpoint; the tests of the models run it on theirs."""

from __future__ import annotations

import re
import tomllib
from ctypes.util import find_library

import pytest

from score_to_audio.testing import Check, renderer_checks, synthesizer_checks
from tests.paths import PROJECT

CHECKS = {
    "kth-rules": renderer_checks("kth-rules"),
    "sampled-piano": synthesizer_checks("sampled-piano"),
    "fluidsynth": synthesizer_checks("fluidsynth"),
}
CASES = [
    pytest.param(name, check, id=f"{name}-{check.__name__}") for name in CHECKS for check in CHECKS[name]
]


@pytest.mark.parametrize(("name", "check"), CASES)
def test_conformance(name: str, check: Check) -> None:
    if name == "fluidsynth" and not find_library("fluidsynth"):
        pytest.skip("libfluidsynth is not installed: apt install libfluidsynth3")
    check()


def test_every_built_in_plugin_runs_the_suite() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    registered = {name for group in project["entry-points"].values() for name in group}
    tests = "".join(path.read_text("utf-8") for path in (PROJECT / "tests").rglob("test_*.py"))
    assert registered == set(re.findall(r'(?:renderer|synthesizer)_checks\(\s*"([a-z0-9-]+)"', tests))
