"""Articulation marks and slurs as sounding lengths."""

from __future__ import annotations

import numpy as np
import pytest

from renderers.articulation import LEGATO_OVERLAP, releases, sounding_fractions, under_slur
from tests.renderers.score_builder import N, parsed


@pytest.mark.parametrize(
    ("marks", "fraction"),
    [
        ("", 1.0),
        ("staccato", 0.5),
        ("staccatissimo", 0.25),
        ("spiccato", 0.5),
        ("tenuto", 1.0),
        ("detached-legato", 0.75),
        ("staccato tenuto", 0.75),
        ("accent", 1.0),
        ("staccato accent", 0.5),
        ("breath-mark", 0.75),
    ],
)
def test_marks_give_the_sounding_part(marks, fraction):
    score = parsed([N("C4", 0, 1, marks)])
    assert sounding_fractions(score.notes, ()).tolist() == [fraction]


def test_dots_under_a_slur_are_portato():
    notes = [N("C4", i, 1, "staccato") for i in range(3)] + [N("C4", 3, 1, "staccato")]
    score = parsed(notes, slurs=[(0, 2)])
    assert sounding_fractions(score.notes, score.slurs).tolist() == [0.75, 0.75, 0.75, 0.5]


def test_a_slur_joins_its_voice_up_to_its_last_note():
    notes = [N("C5", 0), N("D5", 1), N("E5", 2), N("F5", 3), N("C3", 1, voice=2)]
    score = parsed(notes, slurs=[(0, 3)])
    by_name = dict(zip(score.notes.spelling, under_slur(score.notes, score.slurs), strict=True))
    assert by_name == {"C5": True, "D5": True, "E5": False, "F5": False, "C3": False}


def test_a_slur_that_changes_voices():
    notes = [N("C5", 0, voice=1), N("D5", 1, voice=2), N("E5", 2, voice=2)]
    score = parsed(notes, slurs=[(0, 2)])
    assert under_slur(score.notes, score.slurs).tolist() == [True, True, False]


def test_slurred_notes_reach_into_the_next_but_not_into_a_repetition():
    notes = [N("C4", 0), N("D4", 1), N("D4", 2), N("E4", 3)]
    score = parsed(notes, slurs=[(0, 3)])
    release = releases(score.notes, score.slurs, score.notes.onset, score.notes.onset + 1.0)
    assert release == pytest.approx([1 + LEGATO_OVERLAP, 2, 3 + LEGATO_OVERLAP, 4])


def test_a_rest_under_a_slur_stays_silent():
    score = parsed([N("C4", 0), N("D4", 2)], slurs=[(0, 1)])
    release = releases(score.notes, score.slurs, score.notes.onset, score.notes.onset + 1.0)
    assert release == pytest.approx([1, 3])


def test_unslurred_notes_sound_as_written():
    score = parsed([N("C4", 0, 1.5), N("D4", 1.5, 0.5)])
    release = releases(score.notes, (), score.notes.onset, score.notes.onset + score.notes.duration)
    assert release == pytest.approx([1.5, 2.0])


def test_nothing():
    score = parsed()
    assert releases(score.notes, (), np.zeros(0), np.zeros(0)).shape == (0,)
