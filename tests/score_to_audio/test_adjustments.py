"""Adjustments: passage, tempo, expression and key of any performance, and the lead-in."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_to_audio.adjustments import LEAD_IN, Adjustments, adjusted, played_onsets
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import performance_to_midi, read_performance
from score_to_audio.parameters import validated
from score_to_audio.settings import PipelineSettings
from score_to_audio.stages import find_performance, render
from score_to_audio.store import Store
from score_to_audio.types import SUSTAIN, Controls, Measure, ParsedScore, Performance, ScoreNotes

REPEATED = (1, 2, 1, 2, 3, 4)
"""Printed numbers of the measures in playing order, two quarter notes each."""


def score() -> ParsedScore:
    count = 2 * len(REPEATED)
    notes = ScoreNotes(
        id=tuple(f"n{index}" for index in range(count)),
        onset=np.arange(count, dtype=float),
        duration=np.ones(count),
        pitch=np.arange(60, 60 + count),
        spelling=("C4",) * count,
        voice=np.ones(count, int),
        staff=np.ones(count, int),
        part=np.zeros(count, int),
        measure=np.arange(count) // 2,
        grace=("",) * count,
        marks=(frozenset(),) * count,
    )
    measures = tuple(Measure(2.0 * i, 2.0 * i + 2, str(n), n - 1) for i, n in enumerate(REPEATED))
    return ParsedScore("", "", ("Piano",), notes, (), (), measures, (), ())


def performance() -> Performance:
    """Slower and louder from note to note; the pedal goes down with every measure."""
    notes = score().notes
    onset = np.cumsum(0.5 * 1.05 ** np.arange(len(notes))) - 0.5
    controls = Controls(onset[::2], np.full(len(onset[::2]), SUSTAIN), np.full(len(onset[::2]), 100))
    velocity = 40 + 3 * np.arange(len(notes))
    return Performance(onset, onset + 0.4, notes.pitch, velocity, controls, notes.id)


def changed(**wanted: object) -> Performance:
    return adjusted(performance(), score(), validated(Adjustments, wanted))


def periods(played: Performance) -> np.ndarray:
    quarters, seconds = played_onsets(played, score())
    return np.diff(seconds) / np.diff(quarters)


def test_the_first_note_has_a_lead_in_and_a_late_one_stays() -> None:
    assert changed().onset[0] == pytest.approx(LEAD_IN)
    late = replace(performance(), onset=performance().onset + 1, offset=performance().offset + 1)
    np.testing.assert_array_equal(adjusted(late, score(), Adjustments()).onset, late.onset)


def test_tempo_is_the_median_or_a_part_of_what_is_played() -> None:
    assert 60 / np.median(periods(changed(tempo=72))) == pytest.approx(72)
    assert 60 / np.median(periods(changed(tempo="120.5"))) == pytest.approx(120.5)
    np.testing.assert_allclose(periods(changed(tempo="80%")), periods(performance()) / 0.8)


@given(st.floats(0, 2))
def test_expression_scales_tempo_and_dynamics_around_their_means(expression: float) -> None:
    before, after = performance(), changed(expression=expression)
    spread = np.log(periods(after)) - np.log(periods(after)).mean()
    expected = expression * (np.log(periods(before)) - np.log(periods(before)).mean())
    np.testing.assert_allclose(spread, expected, atol=1e-6)
    assert np.ptp(after.onset) == pytest.approx(np.ptp(before.onset))
    mean = before.velocity.mean()
    np.testing.assert_allclose(
        after.velocity, np.clip(mean + expression * (before.velocity - mean), 1, 127), atol=0.51
    )
    pedal = after.controls.time - after.onset[::2]
    np.testing.assert_allclose(pedal, 0, atol=1e-9)


def test_transposed_keys_stay_on_the_piano() -> None:
    np.testing.assert_array_equal(changed(transpose=-5).pitch, performance().pitch - 5)
    with pytest.raises(InputError, match="leave the piano"):
        adjusted(replace(performance(), pitch=performance().pitch + 10), score(), Adjustments(transpose=36))


@pytest.mark.parametrize(
    ("measures", "notes"),
    [
        ("1-2", range(4)),
        ("2", range(2, 4)),
        ("2-4", range(6, 12)),
        ("3-9", range(8, 12)),
        ("1-4", range(4, 12)),
    ],
)
def test_measures_are_the_longest_passage_that_repeats_leave_whole(measures: str, notes: range) -> None:
    passage = changed(measures=measures)
    assert passage.score_ids == tuple(f"n{index}" for index in notes)
    assert passage.onset[0] == pytest.approx(LEAD_IN)
    assert passage.controls.value[0] == 100
    assert passage.end <= LEAD_IN + np.ptp(performance().onset[notes]) + 1


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"measures": "7-9"}, "numbers them 1 to 4"),
        ({"measures": "a"}, "measures"),
        ({"tempo": "fast"}, "tempo"),
        ({"tempo": "0"}, "tempo"),
        ({"expression": 3}, "expression"),
    ],
)
def test_what_cannot_be_done_is_said(wanted: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        changed(**wanted)


def test_a_performance_that_names_no_notes_is_only_scaled_and_transposed() -> None:
    nameless = replace(performance(), score_ids=None)
    assert len(adjusted(nameless, score(), Adjustments(tempo="50%", transpose=1))) == len(nameless)
    for wanted in (Adjustments(tempo="72"), Adjustments(expression=0.5), Adjustments(measures="1")):
        with pytest.raises(InputError):
            adjusted(nameless, score(), wanted)


def test_the_store_keeps_what_the_renderer_played(tmp_path: Path) -> None:
    path = Path("examples/scores/chopin_prelude_op28_no7.musicxml").absolute()
    store = Store(tmp_path)
    digests = set()
    for options in ({}, {"expression": 1.0}, {"tempo": "90%"}, {"transpose": 2, "measures": "1-4"}):
        pipeline = PipelineSettings(**options).resolve()
        settings = {"score_options": pipeline.score_options, "adjustments": pipeline.adjustments}
        made = render(path, pipeline.renderer, store, **settings)  # type: ignore[arg-type]
        found = find_performance(path, pipeline.renderer, store, **settings)  # type: ignore[arg-type]
        assert found
        assert found.artifact == made.artifact
        digests.add(hashlib.sha256(store.path(made.artifact).read_bytes()).hexdigest())
        played = read_performance(store.path(made.artifact))
        assert performance_to_midi(played) == store.path(made.artifact).read_bytes()
        assert played.onset[0] == pytest.approx(LEAD_IN, abs=1e-3)
    assert len(digests) == 3
    assert len(list(tmp_path.rglob("performance.mid"))) == 4
