"""Scores of a transcription on made-up transcriptions, and one real one (slow)."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_to_audio.comparison.evaluation.transcription import pedal_extended, scores
from score_to_audio.testing import example_performance
from score_to_audio.types import SUSTAIN, Controls, Performance


def scale(controls: Controls | None = None) -> Performance:
    onset = np.arange(8) * 0.5
    pitch = np.array([60, 62, 64, 65, 67, 69, 71, 72])
    return Performance(onset, onset + 0.3, pitch, np.arange(40, 120, 10), controls or Controls.none())


def sustain(*events: tuple[float, int]) -> Controls:
    time, value = zip(*events, strict=True)
    return Controls(np.array(time, float), np.full(len(time), SUSTAIN), np.array(value))


def test_a_performance_matches_itself() -> None:
    found = scores(example_performance(), example_performance())
    assert (found.onset_f1, found.offset_f1) == (1.0, 1.0)
    assert found.velocity_correlation == pytest.approx(1.0)
    assert found.onset_error == 0
    assert found.notes == len(example_performance())


def test_a_missing_and_a_late_note_count() -> None:
    played = scale()
    heard = replace(
        played,
        onset=np.sort(played.onset + np.array([0, 0, 0, 0.07, 0, 0, 0, 0])),
        offset=played.offset + 0.01,
    )
    heard = Performance(*(column[:7] for column in (heard.onset, heard.offset, heard.pitch, heard.velocity)))
    found = scores(played, heard)
    assert found.onset_precision == pytest.approx(6 / 7)
    assert found.onset_recall == pytest.approx(6 / 8)


def test_wrong_lengths_cost_offsets_only() -> None:
    short = replace(scale(), offset=scale().onset + 0.1)
    found = scores(scale(), short)
    assert (found.onset_f1, found.offset_f1) == (1.0, 0.0)


def test_a_pedal_heard_as_a_pedal_is_as_good_as_long_notes() -> None:
    """The transcriber gives keys and pedals apart; the reference may hold either."""
    pedalled = scale(sustain((0.1, 127), (0.45, 0)))
    long = scale()
    long.offset[0] = 0.45
    assert scores(pedalled, long).offset_f1 == 1.0


def test_velocities_count_once_they_are_scaled() -> None:
    softer = replace(scale(), velocity=scale().velocity // 2)
    assert scores(scale(), softer).velocity_f1 == 1.0
    wrong = replace(scale(), velocity=scale().velocity[[7, 0, 5, 2, 6, 1, 4, 3]])
    assert scores(scale(), wrong).velocity_f1 < 0.5


def test_the_pedal_is_compared_in_time() -> None:
    pressed = scale(sustain((1.0, 127), (2.0, 0)))
    late = scale(sustain((1.5, 127), (2.5, 0)))
    assert scores(pressed, pressed).pedal_f1 == 1.0
    assert scores(pressed, late).pedal_f1 == pytest.approx(0.5, abs=0.01)
    assert scores(pressed, scale()).pedal_f1 == 0.0
    assert np.isnan(scores(scale(), scale()).pedal_f1)


def test_constant_velocities_have_no_correlation() -> None:
    flat = replace(scale(), velocity=np.full(8, 64))
    assert np.isnan(scores(scale(), flat).velocity_correlation)


def test_the_pedal_holds_until_it_is_lifted_or_the_key_is_struck_again() -> None:
    performance = Performance(
        np.array([0.0, 0.0, 1.0]),
        np.array([0.2, 0.2, 1.2]),
        np.array([60, 64, 60]),
        np.full(3, 64),
        sustain((0.1, 64), (2.0, 63)),
    )
    assert pedal_extended(performance).tolist() == [1.0, 2.0, 2.0]


def test_a_pedal_that_is_never_lifted_holds_until_the_last_event() -> None:
    performance = Performance(
        np.array([0.0]), np.array([0.2]), np.array([60]), np.array([64]), sustain((0.1, 127), (3.0, 100))
    )
    assert pedal_extended(performance).tolist() == [3.0]


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 127)), min_size=1, max_size=20))
def test_the_pedal_never_shortens_a_note_of_a_free_key(events: list[tuple[float, int]]) -> None:
    performance = scale(sustain(*sorted(events)))
    extended = pedal_extended(performance)
    assert (extended >= performance.offset - 1e-9).all()
    assert (extended <= performance.end + 1e-9).all()


@pytest.mark.slow
def test_the_transcriber_hears_what_the_piano_plays() -> None:
    from adapters.transcription import transcribe
    from score_to_audio.registry import build, resolve

    torchaudio_before = {name for name in sys.modules if name.startswith("torchaudio")}
    played = example_performance(start=0.5)
    sound = build(resolve("synthesizer", "sampled-piano")).synthesize(played, prompt=None, seed=0)
    found = scores(played, transcribe(sound))
    assert found.onset_f1 == 1.0
    assert found.velocity_correlation > 0.9
    assert {name for name in sys.modules if name.startswith("torchaudio")} >= torchaudio_before
    stand_in = sys.modules.get("torchaudio")
    assert stand_in is None or stand_in.__spec__ is not None
