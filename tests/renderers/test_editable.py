"""Performances as MIDI files in the score's measures."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest

from renderers.editable import TICKS_PER_QUARTER, editable_midi
from score_to_audio.formats.midi import performance_from_midi
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.registry import build, resolve
from score_to_audio.types import Controls, ParsedScore, Performance
from tests.parity.golden_files import REPOSITORY

SCORES = sorted((REPOSITORY / "examples/scores").glob("*.musicxml"))


def performed(path: Path) -> tuple[ParsedScore, Performance]:
    score = read_score(path)
    return score.parsed, build(resolve("renderer", "kth-rules", {}, device="cpu")).render(score, seed=0)


@pytest.mark.parametrize("path", SCORES, ids=lambda path: path.stem)
@pytest.mark.parametrize("later", [0.0, 1.7])
def test_it_plays_as_the_performance_does(path: Path, later: float) -> None:
    score, performance = performed(path)
    controls = performance.controls
    performance = replace(
        performance,
        onset=performance.onset + later,
        offset=performance.offset + later,
        controls=Controls(controls.time + later, controls.number, controls.value),
    )
    heard = performance_from_midi(editable_midi(score, performance), name="editable")
    assert sorted(heard.pitch.tolist()) == sorted(performance.pitch.tolist())
    np.testing.assert_allclose(np.sort(heard.onset), performance.onset, rtol=0, atol=1.5e-3)
    # A tick takes 17 ms where a fermata makes the tempo slow.
    np.testing.assert_allclose(np.sort(heard.offset), np.sort(performance.offset), rtol=0, atol=1e-2)
    np.testing.assert_allclose(heard.controls.time, performance.controls.time, rtol=0, atol=1e-2)
    assert heard.controls.value.tolist() == performance.controls.value.tolist()


def test_notes_lie_at_their_places_in_the_score() -> None:
    score, performance = performed(SCORES[0])
    file = mido.MidiFile(file=io.BytesIO(editable_midi(score, performance)))
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
    late = np.array([tick - quarter * TICKS_PER_QUARTER for quarter, tick in ticks.items()])
    measure = 4 * TICKS_PER_QUARTER  # for the time before the first note
    assert (np.abs(late - measure) <= 1).mean() > 0.95


def test_other_scores_are_refused() -> None:
    _, performance = performed(SCORES[0])
    with pytest.raises(ValueError, match="no note of the performance"):
        editable_midi(read_score(SCORES[0]).parsed, replace(performance, score_ids=None))
