from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from score_to_audio import checkpoints
from score_to_audio.errors import InputError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(tmp_path / "checkpoints"))
    return tmp_path / "checkpoints"


def test_the_table_is_complete() -> None:
    for entry in checkpoints.table().values():
        assert "weights" in entry.files
        assert entry.licence
        assert entry.citation
        assert entry.page.startswith("https://")
        assert set(entry.url) | set(entry.archive) | set(entry.sha256) <= set(entry.files)
        assert bool(entry.archive) == bool(entry.archive_url)
        assert entry.can_be_pulled != bool(entry.ask)
        assert entry.commercial_use == (
            "NC" not in entry.licence.split("(")[0] and "none" not in entry.licence
        )


def test_a_missing_checkpoint_names_the_command_that_gets_it() -> None:
    with pytest.raises(InputError, match="score-to-audio models pull midi-valle"):
        checkpoints.find("midi-valle")
    with pytest.raises(InputError, match="score-to-audio models import dexter FILE"):
        checkpoints.find("dexter")
    with pytest.raises(InputError, match="did you mean 'virtuosonet'"):
        checkpoints.find("virtuosnet")


def test_an_imported_file_is_found_with_its_hash(tmp_path: Path, folder: Path) -> None:
    source = tmp_path / "some name.pt"
    source.write_bytes(b"weights")
    found = checkpoints.import_files("midi-valle", [source])
    assert found.weights == folder / "midi-valle" / "best-valid-loss.pt"
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert checkpoints.find("midi-valle") == found


def test_a_file_anywhere_is_a_checkpoint_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(b"weights")
    assert checkpoints.find(str(path)).weights == path


def test_an_exchanged_file_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "x.pt"
    source.write_bytes(b"weights")
    weights = checkpoints.import_files("midi-valle", [source]).weights
    weights.write_bytes(b"other weights")
    with pytest.raises(InputError, match="has changed"):
        checkpoints.find("midi-valle")
    checkpoints.import_files("midi-valle", [weights])
    assert checkpoints.find("midi-valle").sha256 == hashlib.sha256(b"other weights").hexdigest()


def test_a_touched_file_keeps_its_hash(tmp_path: Path) -> None:
    source = tmp_path / "x.pt"
    source.write_bytes(b"weights")
    found = checkpoints.import_files("midi-valle", [source])
    os.utime(found.weights, (1, 1))
    assert checkpoints.find("midi-valle") == found


def test_archives_are_taken_as_published(tmp_path: Path, folder: Path) -> None:
    archive = tmp_path / "m2m.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("m2m/logs/s2p_bert_class/2024-05-22_02-26-21/checkpoints/epoch_1515.ckpt", b"weights")
        opened.writestr("m2m/../../evil", b"never unpacked")
    assert checkpoints.import_files("m2m", [archive]).weights.read_bytes() == b"weights"
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "epoch_1515.ckpt",
        "pins.json",
    ]


def test_an_archive_without_the_member_is_refused_and_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    archive = tmp_path / "other.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("readme", b"")
    with pytest.raises(InputError, match="has 0 members called"):
        checkpoints.import_files("m2m", [archive])
    assert not folder.exists()


def test_a_damaged_archive_is_refused_and_leaves_no_file(tmp_path: Path, folder: Path) -> None:
    archive = tmp_path / "m2m.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("m2m/logs/s2p_bert_class/2024-05-22_02-26-21/checkpoints/epoch_1515.ckpt", b"weights")
    whole = archive.read_bytes()
    for damaged in (whole.replace(b"weights", b"wEights"), whole[:-30], b"no archive"):
        archive.write_bytes(damaged)
        with pytest.raises(InputError, match="not a readable archive"):
            checkpoints.import_files("m2m", [archive])
        assert not [path for path in folder.rglob("*") if path.is_file()]


S2A = "exp/tts_finetune_joint_transformer_hifigan_atepp_raw_proll"
STATISTICS = "exp/tts_stats_raw_midifbank_proll"


def test_of_two_statistics_in_an_archive_those_of_training_are_taken(tmp_path: Path) -> None:
    archive = tmp_path / "m2a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in (f"{S2A}/train.total_count.best.pth", f"{S2A}/config.yaml"):
            opened.writestr(name, b"x")
        opened.writestr(f"{STATISTICS}/valid/feats_stats.npz", b"valid")
        opened.writestr(f"{STATISTICS}/train/feats_stats.npz", b"train")
    assert checkpoints.import_files("m2a", [archive]).files["statistics"].read_bytes() == b"train"


def test_what_an_archive_lacks_can_be_imported_beside_it(tmp_path: Path) -> None:
    archive, statistics = tmp_path / "m2a.zip", tmp_path / "feats_stats.npz"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in (f"{S2A}/train.total_count.best.pth", f"{S2A}/config.yaml"):
            opened.writestr(name, b"x")
    statistics.write_bytes(b"train")
    with pytest.raises(
        InputError, match=r"lacks feats_stats\.npz: it needs `score-to-audio models pull m2a`"
    ):
        checkpoints.import_files("m2a", [archive])
    assert checkpoints.import_files("m2a", [archive, statistics]).files["statistics"].read_bytes() == b"train"


def test_a_sentence_says_which_file_comes_from_where() -> None:
    assert checkpoints.by_hand("virtuosonet") == (
        "virtuosonet: get checkpoint_best.pt from https://huggingface.co/dasaem/virtuosonet/resolve/main/"
        "checkpoint_best.pt; then `score-to-audio models import virtuosonet FILES`"
    )
    assert "the archive https://zenodo.org/records/15524693/files/m2a.zip" in checkpoints.by_hand("m2a")
    assert "ask the authors" in checkpoints.by_hand("dexter")
    for name in checkpoints.table():
        assert "None" not in checkpoints.by_hand(name)


def test_a_file_of_any_name_is_taken_for_dexter(tmp_path: Path) -> None:
    source = tmp_path / "sent by mail (2).ckpt"
    source.write_bytes(b"weights")
    assert checkpoints.import_files("dexter", [source]).weights.read_bytes() == b"weights"


def test_several_files_are_recognised_by_their_names(tmp_path: Path) -> None:
    for name in ("train.total_count.best.pth", "config.yaml", "feats_stats.npz"):
        (tmp_path / name).write_bytes(name.encode())
    with pytest.raises(InputError, match=r"m2a.* lacks config\.yaml, feats_stats\.npz"):
        checkpoints.import_files("m2a", [tmp_path / "train.total_count.best.pth"])
    found = checkpoints.import_files("m2a", sorted(tmp_path.glob("*.*")))
    assert set(found.files) == {"weights", "config", "statistics"}


def test_a_checkpoint_without_an_address_cannot_be_pulled() -> None:
    with pytest.raises(InputError, match="no direct download is known"):
        checkpoints.pull("dexter")


def test_a_shipped_checkpoint_is_there_without_a_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(tmp_path))
    assert checkpoints.is_available("asap-small")
    found = checkpoints.find("asap-small")
    assert found.weights.is_file()
    assert found.sha256 == checkpoints.pull("asap-small").sha256
    assert not list(tmp_path.iterdir())  # no pins, no copies
    with pytest.raises(InputError, match="shipped with score-to-audio"):
        checkpoints.import_files("asap-small", [found.weights])


def test_the_licence_of_a_shipped_checkpoint_is_said_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints.say_first_use("asap-small")
    checkpoints.say_first_use("asap-small")
    assert [record.message for record in caplog.records] == [
        "weights of asap-small: CC BY-NC-SA 4.0, inherited from the corpus it was trained on, (n)ASAP; no "
        "commercial use (the renderers kth-rules and score have no such condition)"
    ]


def test_a_pulled_checkpoint_has_had_its_licence_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints.say_first_use("midi-valle")
    checkpoints.say_first_use("a file of the user.pt")
    assert not caplog.records
