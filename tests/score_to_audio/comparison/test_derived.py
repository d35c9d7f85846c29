"""What a comparison derives from the files that it is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from score_to_audio.comparison import derived
from score_to_audio.errors import InputError
from score_to_audio.formats.audio import read_audio, stream_of, write_audio
from score_to_audio.formats.midi import read_performance, write_performance
from score_to_audio.formats.scores.reader import ScoreOptions
from score_to_audio.store import Store
from score_to_audio.types import SUSTAIN, Controls, Performance, Waveform

OPTIONS = ScoreOptions()


def scale(count: int = 8, *, ids: tuple[str, ...] | None = None) -> Performance:
    onset = 0.5 * np.arange(count)
    controls = Controls(np.array([0.2, 1.2, 2.7]), np.full(3, SUSTAIN), np.array([127, 0, 90]))
    return Performance(onset, onset + 0.7, 60 + np.arange(count), np.full(count, 64), controls, ids)


def test_a_cut_holds_what_is_struck_in_it_and_the_pedal_as_it_stands() -> None:
    cut = derived.cut_notes(scale(ids=tuple("abcdefgh")), 1.0, 3.0)
    assert cut.score_ids == tuple("cdef")
    np.testing.assert_allclose(cut.onset, [0.0, 0.5, 1.0, 1.5])
    np.testing.assert_allclose(cut.offset, [0.7, 1.2, 1.7, 2.0])  # the last one ends with the cut
    np.testing.assert_allclose(cut.controls.time, [0.0, 0.2, 1.7])
    assert cut.controls.value.tolist() == [127, 0, 90]
    with pytest.raises(InputError, match="no note is struck between 50"):
        derived.cut_notes(scale(), 50, 60)


def test_cuts_are_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    write_performance(scale(), tmp_path / "a.mid")
    whole = derived.input_file(tmp_path / "a.mid", "performance")
    cut = derived.cut_performance(whole, 1.0, 3.0, store)
    assert derived.cut_performance(whole, 1.0, 3.0, store).path == cut.path
    assert derived.cut_performance(whole, 1.0, 2.0, store).path != cut.path
    assert [step["stage"] for step in cut.history] == ["given", "cut"]
    assert store.info().count == 2


def test_match_files_become_midi_files_that_name_the_notes(tmp_path: Path) -> None:
    from tests.score_to_audio.formats.test_matches import MATCH

    (tmp_path / "a.match").write_text(MATCH)
    converted = derived.as_midi(
        derived.input_file(tmp_path / "a.match", "performance"), Store(tmp_path / "store")
    )
    assert converted.path.suffix == ".mid"
    assert read_performance(converted.path).score_ids == ("n1", "n2", "")


def test_recordings_are_cut(tmp_path: Path) -> None:
    ramp = np.linspace(-0.5, 0.5, 8000, dtype=np.float32)[None]
    write_audio(stream_of(Waveform(ramp, 8000)), tmp_path / "a.flac", format="flac")
    recording = derived.input_file(tmp_path / "a.flac", "recording")
    cut = derived.cut_recording(recording, 0.25, 0.5, Store(tmp_path / "store"))
    np.testing.assert_allclose(read_audio(cut.path).samples, ramp[:, 2000:4000], atol=1e-6)
    with pytest.raises(InputError, match=r"holds no sound from 2\.00 s on"):
        derived.cut_recording(recording, 2.0, 3.0, Store(tmp_path / "store"))


def test_a_recording_with_an_unusual_rate_is_still_compressed(tmp_path: Path) -> None:
    tone = np.sin(np.arange(9000) / 10).astype(np.float32)[None] * 0.3
    write_audio(stream_of(Waveform(tone, 9000)), tmp_path / "a.wav", format="wav")
    store = Store(tmp_path / "store")
    compressed = derived.compressed(derived.input_file(tmp_path / "a.wav", "recording"), store)
    assert read_audio(compressed.path).duration == pytest.approx(1.0, abs=0.1)
    assert derived.compressed(compressed, store).path.suffix == ".mp3"


def test_performances_are_aligned_with_their_score(place: Path) -> None:
    score = derived.cached_score(place / "scores" / "score-001.musicxml", OPTIONS)
    notes = score.parsed.notes
    played = Performance(
        onset=notes.onset * 0.6 + 0.3,
        offset=notes.onset * 0.6 + 0.7,
        pitch=notes.pitch,
        velocity=np.full(len(notes), 70),
    )
    write_performance(played, place / "played.mid")
    given = derived.input_file(place / "played.mid", "performance")
    found = derived.aligned(given, score, Store(place / "store"))
    assert read_performance(found.path).score_ids == notes.id
    assert derived.aligned(found, score, Store(place / "store")) == found


def test_the_same_bytes_read_in_another_way_are_another_score(place: Path) -> None:
    path = place / "scores" / "score-001.musicxml"
    score = derived.cached_score(path, OPTIONS)
    assert derived.cached_score(path, ScoreOptions()) is score
    other = derived.cached_score(path, ScoreOptions(repeats=False))
    assert other != score
    assert other.sha256 == score.sha256


def test_a_rendering_is_cut_to_the_passage_that_a_performance_plays(place: Path) -> None:
    store = Store(place / "store")
    score = derived.cached_score(place / "scores" / "score-001.musicxml", OPTIONS)
    ids = score.parsed.notes.id
    slow = Performance(
        np.arange(4) * 2.0, np.arange(4) * 2.0 + 1, score.parsed.notes.pitch, np.full(4, 60), score_ids=ids
    )
    write_performance(slow, place / "slow.mid")
    assert derived.passage(derived.cut_notes(slow, 2.0, 6.0), score) == (1.0, 2.0)
    cut = derived.cut_to_passage(
        derived.input_file(place / "slow.mid", "performance"), 1.0, 2.0, score, store
    )
    found = read_performance(cut.path)
    assert found.score_ids == ids[1:3]
    np.testing.assert_allclose(found.onset, [0.0, 2.0], atol=1e-3)
