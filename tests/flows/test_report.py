"""What tables say about files, and what artifacts are called; without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.report import shown_file
from flows.tasks import artifact_key


def test_files_are_links_where_a_studio_serves_them_and_paths_elsewhere() -> None:
    file = Path("/out/scores/a b.wav")
    assert shown_file(file, Path("/out"), "wav", None) == "/out/scores/a b.wav"
    address = "http://127.0.0.1:8765/outputs/0/"
    assert shown_file(file, Path("/out"), "wav", address) == f"[wav]({address}scores/a%20b.wav)"


@pytest.mark.parametrize(
    ("name", "key"), [("render op. 28/No 4", "render-op-28-no-4"), ("Études", "tudes"), ("曲", "progress")]
)
def test_keys_of_artifacts_are_what_prefect_takes(name: str, key: str) -> None:
    assert artifact_key(name) == key
