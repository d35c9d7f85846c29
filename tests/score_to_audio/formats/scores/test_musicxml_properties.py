"""What holds for every score, on scores that hypothesis makes up."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from score_to_audio.formats.scores.playing_order import place_of, playing_order
from score_to_audio.formats.scores.unfolding import unfold
from score_to_audio.formats.scores.words import meanings, plain_text
from score_to_audio.formats.scores.written import (
    Place,
    Sign,
    WrittenDirection,
    WrittenEnding,
    WrittenMeasure,
    WrittenNote,
    WrittenScore,
    WrittenSlur,
)
from tests.score_to_audio.formats.scores.score_builder import DIVISIONS, backup, document, note, parse, part

LENGTH = 4 * DIVISIONS
PITCHES = st.sampled_from(["C4", "D4", "Eb4", "F#4", "G4", "C5"])


@st.composite
def voices(draw: st.DrawFn, number: int) -> str:
    """One voice that fills a measure, with ties at random."""
    left, content = LENGTH, ""
    while left:
        length = draw(st.integers(1, left))
        ties = " ".join(kind for kind in ("stop", "start") if draw(st.booleans()))
        if draw(st.integers(0, 5)) == 0:
            content += note(draw(PITCHES), grace="", voice=number)
        pitch = draw(st.one_of(PITCHES, st.just("rest")))
        content += note(pitch, length / DIVISIONS, voice=number, ties="" if pitch == "rest" else ties)
        left -= length
    return content


SIGNS = st.sampled_from(
    [
        "",
        "",
        '<barline location="left"><repeat direction="forward"/></barline>',
        '<barline location="right"><repeat direction="backward"/></barline>',
        '<sound dacapo="yes"/>',
        '<sound fine="yes"/>',
    ]
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    count = draw(st.integers(1, 5))
    measures = [
        draw(SIGNS) + draw(voices(1)) + backup(4) + draw(voices(2)) + draw(SIGNS) for _ in range(count)
    ]
    return document(part([note("C4", 4), *measures]))


@settings(deadline=None, max_examples=60)
@given(documents())
def test_notes_are_unique_sorted_and_inside_their_measures(text: str) -> None:
    parsed = parse(text)
    notes = parsed.notes
    assert len(set(notes.id)) == len(notes)
    assert (np.diff(notes.onset) >= 0).all()
    is_main = np.array([grace == "" for grace in notes.grace])
    for first, second in zip(range(len(notes) - 1), range(1, len(notes)), strict=True):
        if notes.onset[first] == notes.onset[second]:
            assert not (is_main[first] and not is_main[second])
            if is_main[first] and is_main[second]:
                assert notes.pitch[first] <= notes.pitch[second]
    starts = np.array([m.onset for m in parsed.measures])[notes.measure]
    ends = np.array([m.end for m in parsed.measures])[notes.measure]
    assert (starts <= notes.onset).all()
    assert (notes.onset[is_main] < ends[is_main]).all()
    assert (notes.onset <= ends).all()
    assert ((notes.duration > 0) == is_main).all()
    assert (notes.onset + notes.duration <= parsed.end).all()


@settings(deadline=None, max_examples=60)
@given(documents())
def test_measures_are_contiguous_and_ids_tell_the_pass(text: str) -> None:
    parsed = parse(text)
    assert parsed.measures[0].onset == 0
    for before, after in zip(parsed.measures, parsed.measures[1:], strict=False):
        assert before.end == after.onset
    written = [m.written for m in parsed.measures]
    for id_, index in zip(parsed.notes.id, parsed.notes.measure.tolist(), strict=True):
        assert int(id_.rpartition("-")[2]) == written[: index + 1].count(written[index])


@settings(deadline=None, max_examples=60)
@given(voices(1), voices(1))
def test_ties_cover_the_time_of_their_noteheads(first: str, second: str) -> None:
    """Merging ties loses no sounding time, and adds none outside of gaps between tied noteheads."""
    tied = parse(document(part([note("C4", 4), first, second]))).notes
    apart = parse(document(part([note("C4", 4), first, second])).replace("<tie ", "<no ")).notes
    assert len(tied) <= len(apart)
    assert set(tied.id) <= set(apart.id)
    spans = [
        {(int(p), round(o, 9), round(o + d, 9)) for p, o, d in zip(n.pitch, n.onset, n.duration, strict=True)}
        for n in (tied, apart)
    ]
    for pitch, begin, end in spans[1]:
        assert any(p == pitch and b <= begin and end <= e for p, b, e in spans[0])
    for pitch, begin, end in spans[0]:
        assert any(p == pitch and b == begin for p, b, _ in spans[1])
        assert any(p == pitch and e == end for p, _, e in spans[1])


ENDINGS = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    st.builds(
        WrittenEnding,
        st.frozensets(st.integers(1, 4), max_size=2),
        st.frozensets(st.integers(1, 4), max_size=1),
    ),
)
REPEATS = {
    "number": st.just("x"),
    "length": st.just(4),
    "repeat_start": st.sampled_from([False, False, False, True]),
    "repeat_end": st.sampled_from([0, 0, 0, 2, 3]),
    "ending": ENDINGS,
    "ending_stops": st.booleans(),
    "is_final": st.sampled_from([False, False, False, True]),
}
SIGNS_OF_ORDER = st.builds(
    Sign,
    kind=st.sampled_from(["segno", "coda", "to-coda", "dal-segno", "da-capo", "fine"]),
    label=st.sampled_from(["", "", "a", "b"]),
    offset=st.sampled_from([0, 4]),
    until=st.sampled_from(["", "fine", "coda"]),
    section=st.sampled_from(["", "", "menuet"]),
)
JUMPS = {
    "signs": st.one_of(st.just([]), st.just([]), st.lists(SIGNS_OF_ORDER, min_size=1, max_size=2)),
    "section": st.sampled_from(["", "", "", "menuet", "trio"]),
    "repeat_after_jump": st.booleans(),
}
REPEATED = st.lists(st.builds(WrittenMeasure, **REPEATS), min_size=1, max_size=12)
JUMPING = st.lists(
    st.builds(WrittenMeasure, **{**REPEATS, **JUMPS, "ending": st.none()}), min_size=1, max_size=10
)
MARKS = st.lists(st.builds(WrittenMeasure, **REPEATS, **JUMPS), min_size=1, max_size=10)


@settings(deadline=None, max_examples=200)
@given(REPEATED)
def test_repeats_and_endings_lose_no_measure(measures: list[WrittenMeasure]) -> None:
    played = playing_order(measures, repeats=True, name="x")
    assert set(played.measures) == set(range(len(measures)))
    assert played.notices == []
    if not any(measure.repeat_end or measure.ending for measure in measures):
        assert played.measures == list(range(len(measures)))


@settings(deadline=None, max_examples=200)
@given(JUMPING)
def test_jumps_lose_only_measures_before_a_coda(measures: list[WrittenMeasure]) -> None:
    played = playing_order(measures, repeats=True, name="x").measures
    places = [(index, sign) for index, measure in enumerate(measures) for sign in measure.signs]
    jumps = [index for index, sign in places if sign.kind in ("da-capo", "dal-segno")]
    codas = [place_of(measures, index, sign) for index, sign in places if sign.kind == "coda"]
    for index in set(range(len(measures))) - set(played):
        assert any(jump < index for jump in jumps)
        assert any(coda > index for coda in codas)


@settings(deadline=None, max_examples=200)
@given(MARKS)
def test_every_order_ends_and_says_what_it_passes_over(measures: list[WrittenMeasure]) -> None:
    played = playing_order(measures, repeats=True, name="x")
    jumps = sum(sign.kind in ("da-capo", "dal-segno") for measure in measures for sign in measure.signs)
    passes = sum(measure.repeat_end + 2 * (measure.ending is not None) + 1 for measure in measures)
    assert len(played.measures) <= (jumps + 1) * passes * len(measures)
    lost = set(range(len(measures))) - set(played.measures)
    assert any("never played" in notice for notice in played.notices) == bool(lost)
    if not jumps:
        assert not lost


@settings(deadline=None)
@given(MARKS)
def test_without_repeats_every_measure_comes_at_most_once(measures: list[WrittenMeasure]) -> None:
    once = playing_order(measures, repeats=False, name="x").measures
    assert once == sorted(set(once))
    if not any(measure.ending for measure in measures):
        assert once == list(range(len(measures)))


@settings(deadline=None)
@given(MARKS, st.data())
def test_what_is_unfolded_is_as_long_as_its_order(
    measures: list[WrittenMeasure], data: st.DataObject
) -> None:
    count = len(measures)
    places = st.builds(Place, st.integers(0, count - 1), st.integers(0, 4))
    spans = [sorted(data.draw(st.tuples(places, places))) for _ in range(4)]
    notes = [WrittenNote(f"n{i}", 0, i, 0, 4, 60, "C4", 1, 1) for i in range(count)]
    ends = [
        sorted(data.draw(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)))) for _ in range(3)
    ]
    score = WrittenScore(
        ticks=1,
        parts=["p"],
        notes=notes,
        measures=measures,
        slurs=[WrittenSlur(start, end) for start, end in ends],
        directions=[WrittenDirection("hairpin", start, end, "crescendo") for start, end in spans],
    )
    order = playing_order(measures, repeats=True, name="x").measures
    parsed = unfold(score, repeats=True, name="x")
    assert [m.written for m in parsed.measures] == order
    assert len(parsed.notes) == len(order)
    assert parsed.end == 4 * len(order)
    assert [int(id_.rpartition("-")[0][1:]) for id_ in parsed.notes.id] == order
    for slur in parsed.slurs:
        assert 0 <= slur.start <= slur.end < len(parsed.notes)
        run = order[slur.start : slur.end + 1]
        assert run == list(range(run[0], run[0] + len(run))), "a slur never reaches over a jump"
    for direction in parsed.directions:
        assert 0 <= direction.onset <= direction.end <= parsed.end
    assert list(parsed.directions) == sorted(parsed.directions, key=lambda d: d.onset)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_any_divisions_give_exact_onsets(divisions: list[int]) -> None:
    measures = "".join(
        f'<measure number="{i}"><attributes><divisions>{division}</divisions></attributes>'
        "<note><pitch><step>C</step><octave>4</octave></pitch><duration>1</duration></note></measure>"
        for i, division in enumerate(divisions)
    )
    # Such short measures are no rounding errors, which would be completed to 4/4.
    parsed = parse(document(f'<part id="P1">{measures}</part>'))
    exact = [sum((Fraction(1, d) for d in divisions[:i]), Fraction(0)) for i in range(len(divisions))]
    assert parsed.notes.onset.tolist() == [float(onset) for onset in exact]


@given(st.text(max_size=80))
def test_any_words_mean_something(text: str) -> None:
    plain = plain_text(text)
    assert "\n" not in plain
    assert meanings(plain)
