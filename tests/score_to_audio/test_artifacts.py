from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from score_to_audio.artifacts import request
from score_to_audio.store import Store
from score_to_audio.types import Provenance

PROVENANCE = Provenance(
    stage="cut",
    model="performance",
    implementation="1",
    checkpoints={},
    input="0" * 64,
    input_name="minuet.mid",
    parameters={"start": 0.5},
    seed=0,
    device_class="cpu",
)


def write(path: Path) -> None:
    path.write_bytes(b"MThd")


def test_an_artifact_is_made_once_and_found_afterwards(tmp_path: Path) -> None:
    store = Store(tmp_path)
    wanted = request(PROVENANCE, "performance.mid")
    assert wanted.find(store) is None
    made = wanted.get_or_make(store, write)
    assert (made.cached, made.artifact.media_type) == (False, "audio/midi")
    found = wanted.find(store)
    assert found is not None
    assert (found.cached, found.artifact) == (True, made.artifact)
    assert wanted.get_or_make(store, write).cached


@pytest.mark.parametrize("change", [{"input_name": "other.mid"}, {"parent": "f" * 64}])
def test_names_and_parents_do_not_change_the_key(change: dict[str, str]) -> None:
    assert request(replace(PROVENANCE, **change), "a.mid").key == request(PROVENANCE, "a.mid").key


@pytest.mark.parametrize(
    "change", [{"input": "1" * 64}, {"seed": 1}, {"implementation": "2"}, {"parameters": {"start": 0.25}}]
)
def test_everything_else_changes_the_key(change: dict[str, object]) -> None:
    assert request(replace(PROVENANCE, **change), "a.mid").key != request(PROVENANCE, "a.mid").key


def test_more_is_part_of_the_key_and_takes_precedence() -> None:
    plain = request(PROVENANCE, "a.mid")
    assert request(PROVENANCE, "a.mid", format=2).key != plain.key
    assert request(PROVENANCE, "a.mid", parameters={}).key != plain.key
    assert request(PROVENANCE, "a.mid", parameters=PROVENANCE.parameters).key == plain.key
