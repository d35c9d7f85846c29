"""Performances as MIDI files in the score's measures, and the times of beats."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from score_to_audio.adjustments import Adjustments, adjusted
from score_to_audio.formats.midi import performance_from_midi
from score_to_audio.formats.score_midi import beats, score_midi
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.imports import import_quietly
from score_to_audio.registry import build, resolve
from score_to_audio.types import Controls, ParsedScore, Performance
from tests.paths import EXAMPLE_SCORES

SCORES = sorted(EXAMPLE_SCORES.glob("*.musicxml"))


@cache
def performed(path: Path) -> tuple[ParsedScore, Performance]:
    score = read_score(path)
    played = build(resolve("renderer", "kth-rules", {}, device="cpu")).render(score, seed=0)
    return score.parsed, adjusted(played, score.parsed, Adjustments())


def microseconds(seconds: NDArray[np.float64] | list[float]) -> list[int]:
    return sorted(np.rint(np.asarray(seconds) * 1e6).astype(int).tolist())


def heard_by_mido(content: bytes) -> tuple[list[int], list[int], list[int]]:
    """Microseconds of note-ons, note-offs and controls, as mido plays the file."""
    second, found = 0.0, {"note_on": [], "note_off": [], "control_change": []}  # type: ignore[var-annotated]
    for message in mido.MidiFile(file=io.BytesIO(content)):
        second += message.time
        if message.type in found:
            found[message.type].append(second)
    on, off, control = map(microseconds, found.values())
    return on, off, control


def heard_by_pretty_midi(content: bytes) -> tuple[list[int], list[int], list[int]]:
    (piano,) = import_quietly("pretty_midi").PrettyMIDI(io.BytesIO(content)).instruments
    return (
        microseconds([note.start for note in piano.notes]),
        microseconds([note.end for note in piano.notes]),
        microseconds([event.time for event in piano.control_changes]),
    )


def check_times(content: bytes, performance: Performance) -> None:
    expected = tuple(map(microseconds, (performance.onset, performance.offset, performance.controls.time)))
    assert heard_by_mido(content) == expected
    assert heard_by_pretty_midi(content) == expected


@pytest.mark.parametrize("path", SCORES, ids=lambda path: path.stem)
def test_two_readers_hear_the_performance_to_the_microsecond(path: Path) -> None:
    score, performance = performed(path)
    content = score_midi(score, performance)
    check_times(content, performance)
    heard = performance_from_midi(content, name="tempo map")
    assert heard.score_ids == performance.score_ids
    assert heard.pitch.tolist() == performance.pitch.tolist()
    assert heard.velocity.tolist() == performance.velocity.tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 40.0]))
def test_no_timing_is_out_of_reach(seed: int, later: float) -> None:
    """The first notes of a score in any order, milliseconds to half a minute between two of them."""
    score, performance = performed(SCORES[-1])
    generator = np.random.default_rng(seed)
    onset = later + np.cumsum(generator.exponential(10.0 ** generator.uniform(-3, 1), 40))
    length = generator.exponential(10.0 ** generator.uniform(-3, 1), 40) + 1e-3
    pitches = np.arange(40) + 40  # each key once: readers pair on and off by key
    time = np.sort(generator.uniform(0, onset[-1], 20))
    ids = generator.permutation(np.array(performance.score_ids)[:40])
    controls = Controls(time, np.full(20, 64), np.arange(20))
    played = Performance(onset, onset + length, pitches, np.full(40, 64), controls, tuple(map(str, ids)))
    check_times(score_midi(score, played), played)


def test_notes_lie_at_their_places_in_the_score() -> None:
    score, performance = performed(SCORES[0])
    file = mido.MidiFile(file=io.BytesIO(score_midi(score, performance)))
    tick, starts = 0, []
    for message in file.tracks[1]:
        tick += message.time
        if message.type == "note_on":
            starts.append((tick, message.note))
    onset = dict(zip(score.notes.id, score.notes.onset.tolist(), strict=True))
    written = sorted(
        (onset[note], pitch)
        for note, pitch in zip(performance.score_ids or (), performance.pitch.tolist(), strict=True)
    )
    assert len(written) == len(starts)
    ordered = zip((quarter for quarter, _ in written), sorted(tick for tick, _ in starts), strict=True)
    ticks = dict(reversed(list(ordered)))  # of each onset the first note
    late = np.array([tick - quarter * file.ticks_per_beat for quarter, tick in ticks.items()])
    first = next(message for message in file.tracks[0] if message.type == "time_signature")
    lead = first.numerator * file.ticks_per_beat  # the time before the first note
    assert (np.abs(late - lead) <= 2).mean() > 0.95


def test_a_passage_begins_with_its_first_measure() -> None:
    score, performance = performed(SCORES[0])
    third = score.measures[2]
    part = adjusted(performance, score, Adjustments(measures=f"{third.number}-{score.measures[4].number}"))
    content = score_midi(score, part)
    check_times(content, part)
    file = mido.MidiFile(file=io.BytesIO(content))
    first = next(message.time for message in file.tracks[1] if message.type == "note_on")
    assert first <= 4 * file.ticks_per_beat
    listed = list(beats(score, part))
    assert [number for number, beat, _ in listed if beat == 1] == [one.number for one in score.measures[2:5]]


def test_beats_are_where_their_notes_are_played() -> None:
    score, performance = performed(SCORES[0])
    found = {(number, beat): second for number, beat, second in beats(score, performance)}
    place = dict(zip(score.notes.id, score.notes.onset.tolist(), strict=True))
    played = zip(performance.score_ids or (), performance.onset.tolist(), strict=True)
    measure = score.measures[3]
    first = min(second for note, second in played if place[note] == measure.onset)
    assert found[measure.number, 1] == pytest.approx(first)
    assert list(found.values()) == sorted(found.values())
    assert len(found) == sum(round(one.end - one.onset) for one in score.measures)


def test_other_scores_are_refused() -> None:
    score, performance = performed(SCORES[0])
    with pytest.raises(ValueError, match="no note of the performance"):
        score_midi(score, replace(performance, score_ids=None))
