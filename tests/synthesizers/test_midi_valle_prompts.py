"""Prompts: agreement of sound and notes, and cuts between notes."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.midi_valle import default_prompt, notes_of
from synthesizers.midi_valle.prompts import align, cut_point
from synthesizers.midi_valle.tokens import NoteArray

RATE = 32_000


def played(onsets: np.ndarray, *, seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    """Decaying tones, struck at the onsets."""
    generator = np.random.default_rng(seed)
    sound = np.zeros(int(seconds * RATE), np.float32)
    times = np.arange(RATE // 2) / RATE
    for onset in onsets:
        frequency = 440 * 2 ** (generator.integers(-24, 24) / 12)
        tone = np.sin(2 * np.pi * frequency * times) * np.exp(-4 * times) * np.minimum(1, times / 0.002)
        start = round(onset * RATE)
        sound[start : start + len(tone)] += (generator.uniform(0.1, 0.5) * tone)[: len(sound) - start]
    return sound


def notes_at(onsets: np.ndarray) -> NoteArray:
    count = len(onsets)
    return NoteArray(onsets, onsets + 0.3, np.full(count, 60), np.full(count, 64))


ONSETS = np.array([0.32, 0.61, 0.9, 1.31, 1.42, 1.8, 2.2, 2.31, 2.9])


@pytest.mark.parametrize("lag", [-0.2, -0.05, 0.0, 0.023, 0.089, 0.25])
def test_the_lag_is_found(lag: float) -> None:
    found = align(played(ONSETS + lag), RATE, notes_at(ONSETS))
    assert found.lag == pytest.approx(lag, abs=0.0051)
    assert found.agreement > 0.85


def test_other_music_does_not_agree() -> None:
    others = np.sort(np.random.default_rng(1).uniform(0.3, 3.0, 12))
    assert align(played(ONSETS), RATE, notes_at(others)).agreement < 0.75
    assert align(np.zeros(RATE, np.float32), RATE, notes_at(ONSETS)).agreement == 0.0
    assert align(played(ONSETS), RATE, notes_at(ONSETS[:0])).agreement == 0.0


def test_the_default_prompt_agrees_with_itself() -> None:
    prompt = default_prompt()
    assert prompt.performance is not None
    sound = prompt.audio.samples.mean(axis=0)
    alignment = align(sound, prompt.audio.sample_rate, notes_of(prompt.performance))
    assert alignment.agreement == 1.0
    assert abs(alignment.lag) <= 0.02
    assert prompt.audio.duration == pytest.approx(3.0)


def test_a_short_prompt_is_used_whole() -> None:
    assert cut_point(notes_at(ONSETS), 150, 50, target_length=3.0, max_length=6.0) == 150


def test_a_long_prompt_is_cut_where_nothing_sounds() -> None:
    onsets = np.arange(0.0, 12.0, 0.5)
    notes = NoteArray(onsets, onsets + 0.48, np.full(24, 60), np.full(24, 64))
    point = cut_point(notes, 600, 50, target_length=3.0, max_length=6.0) / 50
    assert 1.5 <= point <= 4.5
    assert not ((notes.onset < point) & (notes.offset > point)).any()
