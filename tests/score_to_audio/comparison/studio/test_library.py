"""The studio's library: what it keeps, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from score_to_audio.comparison.studio.library import STOPPED, Library, open_library
from score_to_audio.errors import InputError
from score_to_audio.settings import PipelineSettings

MINUET = Path(__file__).parents[4] / "examples/scores/petzold_minuet_bwv_anh114.musicxml"


def test_pieces_survive_a_restart(tmp_path: Path) -> None:
    library = Library(tmp_path)
    piece = library.add("C:\\scores\\minuet.musicxml", MINUET.read_bytes())
    done = library.add_interpretation(piece, "rules", PipelineSettings())
    library.update(piece, done.id, state="done")
    waiting = library.add_interpretation(piece, "slow", PipelineSettings(seed=1))
    again = Library(tmp_path).piece(piece.id)
    assert (again.title, again.composer) == ("Minuet in G major", "Christian Petzold")
    assert again.file_name == "minuet.musicxml"
    assert again.interpretation(done.id).state == "done"
    assert again.interpretation(done.id).settings == PipelineSettings()
    assert again.interpretation(waiting.id).state == "cancelled"
    assert again.interpretation(waiting.id).error == STOPPED


def test_the_same_score_is_one_piece_and_equal_settings_are_one_interpretation(tmp_path: Path) -> None:
    library = Library(tmp_path)
    piece = library.add("a.musicxml", MINUET.read_bytes())
    assert library.add("b.musicxml", MINUET.read_bytes()) == piece
    first = library.add_interpretation(piece, "rules", PipelineSettings())
    library.update(piece, first.id, state="failed", error="out of memory")
    again = library.add_interpretation(piece, "rules", PipelineSettings())
    assert (again.id, again.state, again.error) == (first.id, "waiting", "")
    assert len(library.piece(piece.id).interpretations) == 1


@pytest.mark.parametrize("name", ["notes.txt", "", "../../.bashrc", "score.musicxml.exe"])
def test_other_files_are_refused_and_nothing_is_kept(tmp_path: Path, name: str) -> None:
    library = Library(tmp_path / "studio")
    with pytest.raises(InputError, match="not a score"):
        library.add(name, MINUET.read_bytes())
    assert not list(tmp_path.rglob("*"))


def test_a_damaged_score_is_refused_by_its_own_name(tmp_path: Path) -> None:
    library = Library(tmp_path)
    with pytest.raises(InputError, match=r"^broken\.musicxml") as refused:
        library.add("broken.musicxml", MINUET.read_bytes()[:500])
    assert str(tmp_path) not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_name_is_never_a_path(tmp_path: Path) -> None:
    library = Library(tmp_path / "studio")
    piece = library.add("../../../evil/../x.musicxml", MINUET.read_bytes())
    assert library.score(piece) == tmp_path / "studio" / piece.id / "score.musicxml"
    assert {path.name for path in tmp_path.iterdir()} == {"studio"}


def test_damaged_records_are_left_out(tmp_path: Path) -> None:
    library = Library(tmp_path)
    piece = library.add("a.musicxml", MINUET.read_bytes())
    (tmp_path / piece.id / "piece.json").write_text('{"id": "../.."}')
    assert Library(tmp_path).pieces() == []


def test_two_studios_do_not_share_a_folder(tmp_path: Path) -> None:
    with open_library(tmp_path), pytest.raises(InputError, match="another studio"), open_library(tmp_path):
        pass
