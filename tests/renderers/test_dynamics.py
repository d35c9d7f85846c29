"""Written dynamics: levels, hairpins, impulses, accents, velocities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.dynamics import (
    LEVELS,
    accents,
    impulse,
    level_curve,
    level_curves,
    note_levels,
    velocities,
)
from tests.renderers.score_builder import N, dynamic, hairpin, parsed
from tests.renderers.score_builder import impulse as impulse_mark

MF = LEVELS["mf"]


def _curve(*marks):
    return level_curve(sorted(marks, key=lambda mark: mark.onset), MF)


def test_velocities_are_the_table_of_notation_software():
    table = {"ppp": 16, "pp": 33, "p": 49, "mp": 64, "mf": 80, "f": 96, "ff": 112, "fff": 126}
    ours = velocities(np.array([LEVELS[mark] for mark in table]))
    assert np.abs(ours - list(table.values())).max() < 1.8
    narrow = velocities(np.array([LEVELS["ppp"], LEVELS["fff"]]), softest=40, loudest=100)
    assert narrow.tolist() == [40, 100]


def test_a_mark_holds_until_the_next():
    curve = _curve(dynamic(4, "p"), dynamic(8, "ff"))
    assert curve.at([0, 3.9, 4, 7.9, 8, 100]).tolist() == [MF, MF, 2, 2, 6, 6]


def test_a_hairpin_leads_to_the_next_mark():
    curve = _curve(dynamic(0, "p"), hairpin(4, 8), dynamic(8, "f"))
    assert curve.at([4, 6, 8]) == pytest.approx([2, 3.5, 5])


def test_a_mark_shortly_after_a_hairpin_is_its_goal():
    curve = _curve(dynamic(0, "p"), hairpin(4, 7), dynamic(8, "f"))
    assert curve.at([5.5, 7, 7.5]) == pytest.approx([3.5, 5, 5])


def test_a_hairpin_without_a_goal_makes_one_step():
    assert _curve(dynamic(0, "p"), hairpin(4, 8)).at([4, 8, 20]) == pytest.approx([2, 3, 3])
    assert _curve(dynamic(0, "p"), hairpin(4, 8, "diminuendo")).at([8, 20]) == pytest.approx([1, 1])


def test_subito_piano_after_a_crescendo():
    curve = _curve(dynamic(0, "mf"), hairpin(4, 8), dynamic(8, "p"))
    assert curve.at([7.999, 8]) == pytest.approx([5, 2], abs=1e-3)


def test_messa_di_voce_returns_to_its_level():
    curve = _curve(dynamic(0, "p"), hairpin(0, 2), hairpin(2, 4, "diminuendo"))
    assert curve.at([0, 2, 4]) == pytest.approx([2, 3, 2])


def test_hairpins_without_goals_drift_two_steps_at_most():
    curve = _curve(dynamic(0, "p"), *(hairpin(i, i + 1) for i in range(1, 9)))
    assert curve.at(20) == pytest.approx(4)


def test_a_mark_within_a_hairpin_ends_it():
    curve = _curve(dynamic(0, "p"), hairpin(0, 16), dynamic(8, "f"))
    assert curve.at([4, 8, 12]) == pytest.approx([3.5, 5, 5])


def test_fp_is_loud_for_one_onset():
    notes = [N("C4", 0), N("C4", 1), N("D4", 2)]
    score = parsed(notes, [dynamic(0, "mf"), impulse_mark(1, "fp")])
    assert note_levels(score).tolist() == [MF, LEVELS["f"], LEVELS["p"]]


@pytest.mark.parametrize(
    ("text", "levels"), [("sfz", 1.2), ("sf", 1.2), ("fz", 1.0), ("sffz", 2.0), ("rf", 1.0), ("rfz", 1.0)]
)
def test_impulses_add_to_the_level_around_them(text, levels):
    assert impulse(text) == levels
    score = parsed([N("C4", 0), N("C4", 1)], [dynamic(0, "p"), impulse_mark(0, text)])
    assert note_levels(score).tolist() == [2 + levels, 2]


def test_the_attack_of_fp_and_its_kin():
    assert impulse("fp") == LEVELS["f"] - LEVELS["p"]
    assert impulse("ffp") == LEVELS["ff"] - LEVELS["p"]
    assert impulse("sfp") == LEVELS["f"] - LEVELS["p"]
    assert impulse("sfzp") == LEVELS["f"] - LEVELS["p"]


def test_accents_are_graded_and_do_not_add_up_with_sforzato():
    notes = [N("C4", 0), N("D4", 1, marks="accent"), N("E4", 2, marks="strong-accent"), N("F4", 3)]
    assert accents(parsed(notes)).tolist() == [0, 0.6, 0.8, 0]
    both = parsed([N("D4", 0, marks="accent")], [impulse_mark(0, "sfz")])
    assert accents(both).tolist() == [1.2]


def test_an_impulse_hits_its_own_staff():
    notes = [N("C5", 0), N("C3", 0, staff=2, voice=5)]
    assert accents(parsed(notes, [impulse_mark(0, "sf", staff=2)])).tolist() == [1.2, 0]
    assert accents(parsed(notes, [impulse_mark(0, "sf")])).tolist() == [1.2, 1.2]


def test_a_mark_between_the_staves_holds_for_both():
    notes = [N("C5", 0), N("C3", 0, staff=2, voice=5)]
    curves = level_curves(parsed(notes, [dynamic(0, "pp", staff=1)]))
    assert [curves[0, staff].at(0) for staff in (1, 2)] == [1, 1]


def test_staves_with_marks_of_their_own_keep_them():
    notes = [N("C5", 0), N("C3", 0, staff=2, voice=5)]
    curves = level_curves(parsed(notes, [dynamic(0, "f", staff=1), dynamic(0, "p", staff=2)]))
    assert [curves[0, staff].at(0) for staff in (1, 2)] == [5, 2]


def test_parts_keep_their_dynamics_apart():
    notes = [N("C5", 0), N("C3", 0, part=1)]
    curves = level_curves(parsed(notes, [dynamic(0, "ff")]))
    assert [curves[part, 1].at(0) for part in (0, 1)] == [6, MF]


_marks = st.one_of(
    st.builds(dynamic, st.floats(0, 50), st.sampled_from(sorted(LEVELS))),
    st.builds(impulse_mark, st.floats(0, 50), st.sampled_from(["fp", "sfp", "sfz"])),
    st.builds(
        lambda onset, length, text: hairpin(onset, onset + length, text),
        st.floats(0, 50),
        st.floats(-1, 20),
        st.sampled_from(["crescendo", "diminuendo"]),
    ),
)


@given(st.lists(_marks, max_size=20))
def test_levels_stay_between_the_written_extremes(marks):
    curve = level_curves(parsed([N("C4", 0)], marks))[0, 1]
    levels = curve.at(np.linspace(0, 80, 200))
    assert np.isfinite(levels).all()
    assert levels.min() >= min(LEVELS.values())
    assert levels.max() <= max(LEVELS.values())


@given(
    st.sampled_from(["ppp", "p", "mf", "fff"]),
    st.one_of(st.none(), st.sampled_from(sorted(LEVELS))),
    st.floats(0.1, 20),
    st.sampled_from(["crescendo", "diminuendo"]),
)
def test_hairpins_are_monotone(start, goal, length, text):
    marks = [dynamic(0, start), hairpin(1, 1 + length, text)]
    marks += [] if goal is None else [dynamic(1 + length, goal)]
    levels = _curve(*marks).at(np.linspace(0, 1 + length - 1e-3, 100))
    change = np.diff(levels) if text == "crescendo" else -np.diff(levels)
    assert (change >= -1e-9).all()
