"""Cores and memory, also those of a container."""

from __future__ import annotations

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
