"""The size limit of a store: what is deleted, what is spared, what is said."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from score_to_audio.cli.doctor import checks
from score_to_audio.cli.store import info
from score_to_audio.errors import StoreError
from score_to_audio.store import Store, artifact_key, default_store
from score_to_audio.store.limits import MOST, PARTS, UNIT, VARIABLE, is_check_due, size_limit
from tests.score_to_audio.store.test_store import Maker, put

SIZE = 10_000
LIMIT = 100_000


def keys(count: int) -> list[str]:
    return [artifact_key({"limited": number}) for number in range(count)]


def make(store: Store, key: str) -> None:
    with store.releasing():
        put(store, key, Maker(b"x" * SIZE))


def test_a_store_stays_below_its_limit_and_keeps_what_was_used_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path, limit=LIMIT)
    made = keys(30)
    with caplog.at_level(logging.WARNING):
        for key in made:
            make(store, key)
            with store.releasing():
                assert store.get(made[0])  # in use again and again
            assert store.info().bytes < LIMIT
    kept = [number for number, key in enumerate(made) if store.get(key)]
    assert kept[0] == 0
    assert kept[1:] == list(range(31 - len(kept), 30))
    assert len(kept) > 5
    assert len(caplog.records) == 1  # said once
    assert "reached its limit of 0.0001 GB" in caplog.text
    assert VARIABLE in caplog.text


def test_what_a_job_uses_is_spared(tmp_path: Path) -> None:
    store = Store(tmp_path, limit=LIMIT)
    first, *others = keys(30)
    with store.releasing():
        artifact, _ = put(store, first, Maker(b"x" * SIZE))
        for key in others:
            make(store, key)
        assert store.path(artifact).read_bytes() == b"x" * SIZE
    make(store, artifact_key({"one": "more"}))
    assert store.get(first) is None


def test_a_claim_of_two_blocks_ends_with_the_longer_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (key,) = keys(1)
    with store.releasing():
        put(store, key)
        with store.releasing():
            assert store.get(key)
        assert store.prune(max_size=0).spared == 1
    assert store.prune(max_size=0).count == 1


def test_a_claim_outside_of_blocks_ends_with_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (key,) = keys(1)
    put(store, key)
    with store.releasing():
        assert store.get(key)
    assert store.prune(max_size=0).spared == 1


def test_the_size_is_checked_at_first_and_after_every_part_of_the_limit(tmp_path: Path) -> None:
    limit = PARTS * 10 * UNIT
    due = [is_check_due(tmp_path, UNIT - 1, limit) for _ in range(31)]
    assert [number for number, wanted in enumerate(due) if wanted] == [0, 10, 20, 30]


def test_the_environment_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    default = size_limit(tmp_path / "none" / "yet")
    assert default
    assert 0 < default <= MOST
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path))
    for text, limit in {"5GB": 5_000_000_000, "none": None}.items():
        monkeypatch.setenv(VARIABLE, text)
        assert default_store().limit == limit
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(StoreError, match=f"{VARIABLE}: 'much' is no size: write 500MB or 20GB, or none"):
        default_store()


def test_info_and_doctor_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "5GB")
    info()
    assert f"limit: 5 GB ({VARIABLE})" in capsys.readouterr().out
    info(as_json=True)
    assert json.loads(capsys.readouterr().out)["limit"] == 5_000_000_000
    (check,) = (check for check in checks() if check.name == "store")
    assert f"size limit 5 GB ({VARIABLE})" in check.message
