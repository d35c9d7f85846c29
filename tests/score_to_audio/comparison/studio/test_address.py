"""Other processes find a running studio, and only a running one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from score_to_audio.comparison.studio.address import address_of, announced


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCORE_TO_AUDIO_STUDIO", str(tmp_path / "studio"))
    return tmp_path


def test_a_running_studio_serves_the_folders_it_was_given(folder: Path) -> None:
    results = folder / "out" / "two ways"
    assert address_of(results) is None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with announced(folder / "studio", address, [folder / "other", folder / "out"]):
            assert address_of(results) == f"{address}outputs/1/two%20ways/"
            assert address_of(folder / "out") == f"{address}outputs/1/"
            assert address_of(folder) is None
        assert address_of(results) is None


def test_the_record_of_a_killed_studio_counts_for_nothing(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with announced(folder / "studio", address, [folder]):
        assert address_of(folder) is None
    (folder / "studio/address.json").write_text("[1]")
    assert address_of(folder) is None
