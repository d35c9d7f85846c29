"""Cores and memory, also those of a container."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from score_to_audio import machine


def test_a_container_has_what_its_group_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "none")
    cores, memory = machine.cores(), machine.available_memory()
    assert cores >= 1
    assert memory > 0
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    for name, content in {"cpu.max": "max 100000", "memory.max": "max", "memory.current": "5"}.items():
        (tmp_path / name).write_text(f"{content}\n")
    assert machine.cores() == cores
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1005\n")
    assert (machine.cores(), machine.available_memory()) == (1, 1000)


COUNT_FAULTS = """
import sys, resource, numpy
from score_to_audio.machine import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(20):
    numpy.ones(64 << 20, numpy.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept() -> None:
    """20 arrays of 64 MiB one after the other: the system provides pages for the first one alone."""

    def faults(how: str) -> int:
        command = [sys.executable, "-c", COUNT_FAULTS, how]
        return int(subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout)

    assert faults("return") - faults("keep") > 500  # at least 32 per array, with pages of 2 MiB
