"""The playing order: repeats, voltas, jumps, and what is unfolded along with the notes."""

from __future__ import annotations

import pytest

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.playing_order import playing_order
from score_to_audio.formats.scores.written import WrittenEnding, WrittenMeasure
from score_to_audio.types import Direction, Slur
from tests.score_to_audio.formats.scores.score_builder import (
    attributes,
    direction,
    document,
    ending,
    measure,
    note,
    parse,
    part,
    repeat,
    score_of,
    words,
)


def order(*measures: str, **options: object) -> list[int]:
    """Written measures, counted from 1, in playing order; each measure gets one note besides its signs."""
    parsed = score_of(*[f"{signs}{note('C4', 4)}" for signs in measures], **options)
    return [m.written + 1 for m in parsed.measures]


FORWARD, BACKWARD = repeat("forward"), repeat("backward")


def test_no_signs() -> None:
    assert order("", "", "") == [1, 2, 3]


def test_a_repeat_without_a_start_goes_back_to_the_beginning() -> None:
    assert order("", BACKWARD, "") == [1, 2, 1, 2, 3]


def test_a_repeat_between_signs() -> None:
    assert order("", FORWARD, BACKWARD, "") == [1, 2, 3, 2, 3, 4]


def test_a_second_repeat_without_a_start_goes_back_to_the_end_of_the_first() -> None:
    assert order(BACKWARD, "", BACKWARD, "") == [1, 1, 2, 3, 2, 3, 4]


def test_a_measure_repeated_by_itself() -> None:
    assert order("", FORWARD + BACKWARD, "") == [1, 2, 2, 3]


def test_a_repeat_of_three_passes() -> None:
    assert order(repeat("backward", 'times="3"'), "") == [1, 1, 1, 2]


def test_first_and_second_ending() -> None:
    first = ending("1", "start") + ending("1", "stop", back=True)
    second = ending("2", "start") + ending("2", "stop")
    assert order("", first, second, "") == [1, 2, 1, 3, 4]


def test_endings_of_several_measures() -> None:
    assert order(
        FORWARD,
        ending("1", "start"),
        ending("1", "stop", back=True),
        ending("2", "start"),
        ending("2", "discontinue"),
        "",
    ) == [1, 2, 3, 1, 4, 5, 6]


def test_the_second_ending_may_end_with_a_repeat_sign_too() -> None:
    first = ending("1", "start") + ending("1", "stop", back=True)
    second = ending("2", "start") + ending("2", "stop", back=True)
    assert order("", first, second, "") == [1, 2, 1, 3, 4]


@pytest.mark.parametrize("numbers", ["1, 2", "1,2", "1.2.", "1-2", "1.-2."])
def test_an_ending_for_two_passes(numbers: str) -> None:
    first = ending(numbers, "start") + ending(numbers, "stop", back=True)
    third = ending("3", "start") + ending("3", "stop")
    assert order("", first, third) == [1, 2, 1, 2, 1, 3]


def test_three_endings() -> None:
    first = ending("1", "start") + ending("1", "stop", back=True)
    second = ending("2", "start") + ending("2", "stop", back=True)
    third = ending("3", "start") + ending("3", "stop")
    assert order("", first, second, third, "") == [1, 2, 1, 3, 1, 4, 5]


def test_a_first_ending_alone() -> None:
    first = ending("1", "start") + ending("1", "stop", back=True)
    assert order("", first, "", BACKWARD, "") == [1, 2, 1, 3, 4, 3, 4, 5]


def test_a_second_ending_alone_is_played() -> None:
    """As in scores from which somebody took a repeat out."""
    second = ending("2", "start") + ending("2", "stop")
    assert order("", second, "") == [1, 2, 3]
    assert order("", second, "", repeats=False) == [1, 2, 3]


def test_signs_on_the_other_side_of_a_bar_line() -> None:
    """Some programs write what begins with a measure at the end of the one before, and the reverse."""
    late_start = '<barline location="right"><repeat direction="forward"/></barline>'
    early_end = '<barline location="left"><repeat direction="backward"/></barline>'
    late_ending = '<barline location="right"><ending number="2" type="start"/></barline>'
    sign = note("C4", 4)
    parsed = score_of(
        sign + late_start,
        ending("1", "start") + sign + ending("1", "stop", back=True) + late_ending,
        sign + ending("2", "stop"),
        sign,
    )
    assert [m.written + 1 for m in parsed.measures] == [1, 2, 3, 4]
    parsed = score_of(sign + late_start, sign, early_end + sign)
    assert [m.written + 1 for m in parsed.measures] == [1, 2, 2, 3]


def test_two_repeats_with_endings_follow_each_other() -> None:
    first = ending("1", "start") + ending("1", "stop", back=True)
    second = ending("2", "start") + ending("2", "stop")
    assert order("", first, second, FORWARD, first, second) == [1, 2, 1, 3, 4, 5, 4, 6]


def test_da_capo_al_fine_without_repeats() -> None:
    """Menuet, trio, menuet: the issue's case of da capo (ASAP: Beethoven op. 10 no. 3, third movement)."""
    fine = words("Fine", 'fine="yes"')
    da_capo = words("D.C. al Fine", 'dacapo="yes"')
    assert order(BACKWARD, BACKWARD + fine, FORWARD + BACKWARD + da_capo) == [1, 1, 2, 2, 3, 3, 1, 2]


def test_da_capo_takes_the_last_ending() -> None:
    first = ending("1", "start") + ending("1", "stop", back=True)
    second = ending("2", "start") + ending("2", "stop") + words("", 'fine="yes"')
    assert order("", first, second, words("", 'dacapo="yes"')) == [1, 2, 1, 3, 4, 1, 3]


def test_repeats_after_a_jump_are_taken_where_the_score_says_so() -> None:
    again = repeat("backward", 'after-jump="yes"')
    assert order(again + words("", 'fine="yes"'), words("", 'dacapo="yes"')) == [1, 1, 2, 1, 1]


def test_jumps_by_words_alone() -> None:
    assert order("", words("Fine"), words("D.C. al Fine")) == [1, 2, 3, 1, 2]


def test_dal_segno_al_coda() -> None:
    assert order(
        "",
        direction("<segno/>", sound='segno="segno"'),
        direction("<words>To Coda</words>", sound='tocoda="coda"'),
        words("D.S. al Coda", 'dalsegno="segno"'),
        direction("<coda/>", sound='coda="coda"'),
    ) == [1, 2, 3, 4, 2, 3, 5]


def test_dal_segno_by_signs_and_words_alone() -> None:
    signs = direction("<segno/>"), words("To Coda"), words("D.S. al Coda"), direction("<coda/>")
    assert order("", *signs) == [1, 2, 3, 4, 2, 3, 5]


def test_signs_with_labels_lead_to_their_own_place() -> None:
    assert order(
        words("", 'segno="a"'), words("", 'segno="b"'), words("", 'dalsegno="b"'), words("", 'dalsegno="a"')
    ) == [1, 2, 3, 2, 3, 4, 1, 2, 3, 4]


def test_a_jump_is_taken_once() -> None:
    assert order("", words("", 'dacapo="yes"'), "") == [1, 2, 1, 2, 3]


def test_a_jump_without_a_target_is_passed_over() -> None:
    assert order(words("", 'dalsegno="x"'), words("", 'tocoda="x"'), "") == [1, 2, 3]


def test_a_coda_before_its_jump_does_not_loop() -> None:
    coda_first = words("", 'coda="coda"'), words("", 'tocoda="coda"'), words("", 'dacapo="yes"')
    assert order(*coda_first) == [1, 2, 3, 1, 2, 3]


def test_without_repeats_every_measure_comes_once_with_the_last_endings() -> None:
    first = ending("1", "start") + ending("1", "stop", back=True)
    second = ending("2", "start") + ending("2", "stop")
    assert order("", first, second, words("", 'dacapo="yes"'), repeats=False) == [1, 3, 4]


def test_endless_repeats_are_refused() -> None:
    with pytest.raises(InputError, match=r"more than 20,000 measures .* repeats=False"):
        order(repeat("backward", 'times="1000000000"'))


def test_passing_over_endings_without_end_is_refused() -> None:
    """A million passes over endings that are never played."""
    measures = [WrittenMeasure(repeat_start=True)]
    measures += [WrittenMeasure(ending=WrittenEnding(frozenset({99}))) for _ in range(5000)]
    measures += [WrittenMeasure(repeat_end=10**6)]
    with pytest.raises(InputError):
        playing_order(measures, repeats=True, name="x")


# ------------------------------------------------------------------------- endings, rule by rule

FIRST = ending("1", "start") + ending("1", "stop", back=True)
SECOND = ending("2", "start") + ending("2", "stop")


def opened(number: str, *, back: bool = False) -> str:
    """An ending that nothing stops."""
    return ending(number, "start") + (BACKWARD if back else "")


def test_an_open_ending_stops_before_a_forward_repeat() -> None:
    assert order("", FIRST, opened("2"), "", FORWARD, BACKWARD) == [1, 2, 1, 3, 4, 5, 6, 5, 6]


def test_an_open_ending_stops_before_the_next_ending() -> None:
    assert order("", opened("1"), "", opened("2"), "") == [1, 2, 3, 1, 4, 5]


def test_an_open_ending_stops_after_its_repeat() -> None:
    assert order("", opened("1", back=True), "", "") == [1, 2, 1, 3, 4]
    assert order(FORWARD, opened("1", back=True), opened("2", back=True), "", "") == [1, 2, 1, 3, 4, 5]


def test_an_open_last_ending_before_another_first_ending_is_one_measure() -> None:
    assert order("", FIRST, opened("2"), "", FIRST, SECOND) == [1, 2, 1, 3, 4, 5, 4, 6]


def test_an_ending_is_over_with_its_repeat_sign() -> None:
    late_stop = ending("1", "start") + BACKWARD, ending("1", "stop")
    assert order("", *late_stop, "") == [1, 2, 1, 3, 4]


def test_a_first_ending_reaches_to_the_repeat_before_the_second() -> None:
    """Also where its bracket is drawn over one measure only (Stanford, The Song of the Sou'wester)."""
    short = ending("1", "start") + ending("1", "discontinue")
    assert order(FORWARD, "", short, "", BACKWARD, SECOND, "") == [1, 2, 3, 4, 5, 1, 2, 6, 7]


def test_passes_are_counted_over_all_endings_of_a_repeat() -> None:
    plain = ending("1", "start") + ending("1", "stop")
    last = ending("2", "start") + ending("2", "stop", back=True)
    assert order(FORWARD, plain, SECOND, "", FIRST, last) == [1, 2, 4, 5, 1, 3, 4, 6]


def test_two_groups_of_endings_in_one_repeat_with_music_between() -> None:
    with_sign = ending("2", "start") + ending("2", "stop", back=True)
    assert order(FORWARD, FIRST, "", SECOND, "") == [1, 2, 1, 3, 4, 5]
    assert order(FORWARD, FIRST, "", with_sign, "") == [1, 2, 1, 3, 4, 5]


def test_a_new_group_of_endings_begins_another_repeat() -> None:
    assert order(FORWARD, FIRST, SECOND, "", FIRST, SECOND) == [1, 2, 1, 3, 4, 5, 4, 6]
    assert order("", FIRST, SECOND, FIRST, SECOND) == [1, 2, 1, 3, 4, 3, 5]


@pytest.mark.parametrize("number", ["", "1", "x"])
def test_equal_and_missing_numbers_count_up(number: str) -> None:
    first = ending(number, "start") + ending(number, "stop", back=True)
    last = ending(number, "start") + ending(number, "stop")
    assert order("", first, last, "") == [1, 2, 1, 3, 4]
    assert order("", first, first, last, "") == [1, 2, 1, 3, 1, 4, 5]


def test_the_printed_numbers_of_an_ending_count_where_its_number_says_less() -> None:
    """Endings "1.-3." that a program numbers 1 (OpenScore Lieder: Lang, Reichardt, Cornelius)."""
    many = ending("1", "start").replace("/>", ">1.-3.</ending>", 1) + ending("1", "stop", back=True)
    last = ending("2", "start").replace("/>", ">4.</ending>", 1) + ending("2", "stop")
    assert order("", many, last) == [1, 2, 1, 2, 1, 2, 1, 3]


def test_where_no_ending_fits_a_pass_the_last_one_is_played() -> None:
    third = ending("3", "start") + ending("3", "stop")
    assert order("", FIRST, third, "") == [1, 2, 1, 3, 4]
    three_times = ending("2", "start") + ending("2", "stop") + repeat("backward", 'times="3"')
    assert order("", FIRST, three_times, "") == [1, 2, 1, 3, 1, 3, 4]


def test_numbers_without_a_first_one_are_closed_up() -> None:
    second = ending("2", "start") + ending("2", "stop", back=True)
    third = ending("3", "start") + ending("3", "stop")
    assert order("", second, third) == [1, 2, 1, 3]


def test_a_missing_repeat_sign_before_another_ending_is_understood() -> None:
    first = ending("1", "start") + ending("1", "stop")
    assert order("", first, SECOND, "") == [1, 2, 1, 3, 4]
    assert order("", FIRST, SECOND, ending("3", "start") + ending("3", "stop")) == [1, 2, 1, 3, 1, 4]


def test_a_lone_first_ending_at_the_very_end_is_played_again() -> None:
    assert order("", FIRST) == [1, 2, 1, 2]


def test_an_ending_for_a_later_pass_only() -> None:
    assert order(FORWARD, SECOND, BACKWARD, "") == [1, 3, 1, 2, 3, 4]


def test_a_repeat_may_begin_with_the_last_ending_of_another() -> None:
    begins = ending("2", "start") + FORWARD + ending("2", "stop")
    assert order("", FIRST, begins, BACKWARD) == [1, 2, 1, 3, 4, 3, 4]
    third = begins.replace('"2"', '"3"')
    assert order("", FIRST, SECOND, third, BACKWARD) == [1, 2, 1, 3, 1, 4, 5, 4, 5]


# --------------------------------------------------------------------------- jumps, rule by rule


def test_the_repeats_of_a_coda_are_taken() -> None:
    assert order(
        words("Segno") + FORWARD,
        BACKWARD + words("To Coda"),
        words("D.S. al Coda"),
        words("Coda") + FORWARD,
        FIRST,
        SECOND,
    ) == [1, 2, 1, 2, 3, 1, 2, 4, 5, 4, 6]


def test_a_repeat_in_a_coda_starts_with_the_coda() -> None:
    signs = words("Segno"), words("To Coda"), words("D.S. al Coda"), words("Coda")
    assert order(*signs, BACKWARD, "") == [1, 2, 3, 1, 2, 4, 5, 4, 5, 6]
    spanning = FORWARD + signs[0], *signs[1:]
    assert order(*spanning, BACKWARD, "")[:5] == [1, 2, 3, 4, 5]


def test_a_jump_at_the_end_of_an_ending_takes_the_place_of_its_repeat_sign() -> None:
    first, both = (
        f"{ending(number, 'start')}{words('D.C.')}{ending(number, 'stop')}" for number in ("1", "1, 2")
    )
    assert order("", first, SECOND, "") == [1, 2, 1, 3, 4]
    assert order("", both, SECOND.replace('"2"', '"3"')) == [1, 2, 1, 2, 1, 3]
    dal_segno = first.replace("D.C.", "D.S.")
    assert order("", words("Segno"), dal_segno, SECOND) == [1, 2, 3, 2, 4]
    assert order("", dal_segno, SECOND) == [1, 2, 1, 3]


def test_a_da_capo_al_segno() -> None:
    at_end = f"{note('C4', 4)}{words('Segno')}"
    parsed = score_of(note("C4", 4), at_end, note("C4", 4), words("D.C. al Segno") + note("C4", 4))
    assert [m.written + 1 for m in parsed.measures] == [1, 2, 3, 4, 1, 2]
    coda = words("Segno"), words("D.C. al Segno e poi la Coda"), words("Coda")
    assert order("", "", *coda) == [1, 2, 3, 4, 1, 2, 5]


def test_a_da_capo_with_its_repeats() -> None:
    fine = BACKWARD + words("Fine")
    assert order(fine, words("D.C. con repetizione")) == [1, 1, 2, 1, 1]
    assert order(fine, words("D.C. senza repetizione")) == [1, 1, 2, 1]


def test_a_coda_sign_before_the_jump_is_where_playing_leaves() -> None:
    sign = direction("<coda/>")
    assert order("", sign, words("D.C. al Coda"), sign) == [1, 2, 3, 1, 2, 4]
    labelled = direction("<coda/>", sound='coda="coda"')
    assert order("", labelled + words("To Coda"), words("D.C. al Coda"), labelled) == [1, 2, 3, 1, 2, 4]


def test_a_coda_without_a_sign_follows_its_jump() -> None:
    parsed = score_of(*[f"{signs}{note('C4', 4)}" for signs in (words("To Coda"), words("D.C. al Coda"), "")])
    assert [m.written + 1 for m in parsed.measures] == [1, 2, 1, 3]
    assert parsed.notices == ("took measure 3 for the coda, which has no sign",)


def test_a_da_capo_al_coda_without_a_place_to_leave_plays_up_to_the_jump() -> None:
    assert order("", words("D.C. al Coda"), words("Coda")) == [1, 2, 1, 2, 3]


def test_al_fine_passes_the_coda_and_al_coda_passes_the_fine() -> None:
    signs = words("Fine"), words("To Coda"), "{}", words("Coda")
    fine = [sign.format(words("D.C. al Fine")) for sign in signs]
    coda = [sign.format(words("D.C. al Coda")) for sign in signs]
    assert order(*fine) == [1, 2, 3, 1, 4]
    assert order(*coda) == [1, 2, 3, 1, 2, 4]


def test_after_the_fine_playing_goes_on_behind_the_jump() -> None:
    """A rondo that is not written out, and pieces one after the other without final bar lines."""
    da_capo = words("D.C. al Fine")
    assert order(words("Fine"), da_capo, da_capo) == [1, 2, 1, 3, 1]
    assert order(words("Fine"), da_capo, "") == [1, 2, 1, 3]


def test_the_nearest_segno_is_meant() -> None:
    segno, jump = words("Segno"), words("D.S.")
    assert order(segno, segno, jump, "") == [1, 2, 3, 2, 3, 4]


def test_a_segno_at_the_end_of_a_measure_belongs_to_the_next() -> None:
    parsed = score_of(note("C4", 4) + words("Segno"), note("C4", 4), words("D.S.") + note("C4", 4))
    assert [m.written + 1 for m in parsed.measures] == [1, 2, 3, 2, 3]


def test_a_segno_beside_its_jump_is_only_a_reference() -> None:
    sign = direction("<segno/>")
    assert order("", sign, "", sign + words("D.S.")) == [1, 2, 3, 4, 2, 3, 4]
    both = direction("<words>Dal</words></direction-type><direction-type><segno/>")
    assert order(sign, "", both) == [1, 2, 3, 1, 2, 3]


def test_a_jump_waits_for_the_last_pass() -> None:
    assert order(FORWARD, words("D.C. al Fine"), BACKWARD + words("Fine")) == [1, 2, 3, 1, 2, 1, 2, 3]


FINAL = '<barline location="right"><bar-style>light-heavy</bar-style></barline>'


def test_a_da_capo_goes_back_to_its_own_movement() -> None:
    """And the music goes on behind it."""
    assert order(FINAL, "", words("D.C.") + FINAL, "") == [1, 2, 3, 2, 3, 4]
    assert order(FINAL, "", BACKWARD, "") == [1, 2, 3, 2, 3, 4]


def test_a_final_bar_line_within_a_piece_is_no_end() -> None:
    assert order(words("Fine") + FINAL, words("D.C. al Fine")) == [1, 2, 1]
    assert order(words("Segno"), FINAL, words("D.S.")) == [1, 2, 3, 1, 2, 3]
    assert order("", words("To Coda"), words("D.C. al Coda") + FINAL, words("Coda")) == [1, 2, 3, 1, 2, 4]
    assert order(FORWARD, FINAL, BACKWARD) == [1, 2, 3, 1, 2, 3]


def test_a_menuet_da_capo_ends_with_the_menuet_without_repeats() -> None:
    da_capo = BACKWARD + words("Menuetto D.C.")
    menuet = words("Menuetto") + BACKWARD, BACKWARD
    assert order(*menuet, words("Trio") + FORWARD, da_capo) == [1, 1, 2, 2, 3, 4, 3, 4, 1, 2]
    assert order(BACKWARD, words("Trio"), words("D.C.")) == [1, 1, 2, 3, 1]
    assert order(FINAL, "", words("Menuetto D.C.")) == [1, 2, 3, 1]
    assert order(*menuet, BACKWARD, da_capo) == [1, 1, 2, 2, 3, 3, 4, 4, 1, 2]


def test_a_menuet_in_a_sonata_goes_back_to_its_own_beginning() -> None:
    sonata = FINAL, words("Menuetto") + BACKWARD, words("Trio"), words("Menuetto D.C.") + FINAL, ""
    assert order(*sonata) == [1, 2, 2, 3, 4, 2, 5]


def test_a_guessed_end_is_said() -> None:
    parsed = score_of(*[f"{signs}{note('C4', 4)}" for signs in ("", words("Trio"), words("D.C."))])
    assert parsed.notices == ("ended the da capo of measure 3 with measure 1, since no Fine is written",)


def test_measures_that_are_never_played_are_said() -> None:
    signs = words("To Coda"), words("D.C. al Coda"), "", "", words("Coda")
    parsed = score_of(*[f"{sign}{note('C4', 4)}" for sign in signs])
    assert [m.written + 1 for m in parsed.measures] == [1, 2, 1, 5]
    assert parsed.notices == ("never played the measures 3 to 4, which its repeats and jumps pass over",)


# ------------------------------------------------------------------------------- what goes along


def test_ids_count_the_passes() -> None:
    parsed = score_of(note("C4", 4, id="a") + BACKWARD, note("D4", 4, id="b"))
    assert parsed.notes.id == ("a-1", "a-2", "b-1")
    assert parsed.notes.onset.tolist() == [0, 4, 8]
    assert parsed.notes.measure.tolist() == [0, 1, 2]


def test_ids_are_those_of_the_file_without_repeats() -> None:
    parsed = score_of(note("C4", 4, id="a") + BACKWARD, note("D4", 4, id="b"), repeats=False)
    assert parsed.notes.id == ("a", "b")


def test_slurs_are_repeated_with_their_notes() -> None:
    start, stop = '<slur type="start"/>', '<slur type="stop"/>'
    parsed = score_of(
        note("C4", 4),
        FORWARD + note("D4", 1, notations=start) + note("E4", 3),
        note("F4", 4, notations=stop) + BACKWARD,
        note("G4", 4),
    )
    assert parsed.slurs == (Slur(1, 3), Slur(4, 6))
    assert [parsed.notes.spelling[slur.start] for slur in parsed.slurs] == ["D4", "D4"]


def test_a_slur_is_cut_where_a_jump_comes_before_its_end() -> None:
    start, stop = '<slur type="start"/>', '<slur type="stop"/>'
    parsed = score_of(
        note("C4", 2, notations=start) + note("D4", 2),
        ending("1", "start") + note("E4", 4, notations=stop) + ending("1", "stop", back=True),
        ending("2", "start") + note("F4", 4) + ending("2", "stop"),
    )
    # C D | E || C D | F
    assert parsed.slurs == (Slur(0, 2), Slur(3, 4))


def test_ties_into_both_endings() -> None:
    parsed = score_of(
        note("C4", 4, ties="start"),
        ending("1", "start") + note("C4", 4, ties="stop") + ending("1", "stop", back=True),
        ending("2", "start") + note("C4", 4, ties="stop") + ending("2", "stop"),
    )
    assert parsed.notes.onset.tolist() == [0, 8]
    assert parsed.notes.duration.tolist() == [8, 8]


def test_a_tie_into_a_repeated_passage_starts_anew_when_repeated() -> None:
    parsed = score_of(
        note("C4", 4, ties="start"),
        FORWARD + note("C4", 2, ties="stop") + note("D4", 2) + BACKWARD,
    )
    assert parsed.notes.spelling == ("C4", "D4", "C4", "D4")
    assert parsed.notes.duration.tolist() == [6, 2, 2, 2]


def test_directions_are_repeated_and_cut_at_jumps() -> None:
    wedge = direction('<wedge type="crescendo"/>'), direction('<wedge type="stop"/>')
    parsed = score_of(
        note("C4", 2) + wedge[0] + note("C4", 2) + BACKWARD,
        note("D4", 2) + wedge[1] + direction("<dynamics><f/></dynamics>") + note("D4", 2),
    )
    assert parsed.directions == (
        Direction("hairpin", 2, 4, "crescendo", part=0),
        Direction("hairpin", 6, 10, "crescendo", part=0),
        Direction("dynamic", 10, 10, "f", part=0),
    )


def test_an_extent_goes_on_after_a_jump_into_it() -> None:
    pedal = direction('<pedal type="start"/>'), direction('<pedal type="stop"/>')
    parsed = score_of(
        pedal[0] + note("C4", 4), FORWARD + note("D4", 4) + BACKWARD, note("E4", 2) + pedal[1] + note("E4", 2)
    )
    # C D | D E: the second run begins inside the pedal.
    assert [(d.onset, d.end) for d in parsed.directions] == [(0, 8), (8, 14)]


def test_signatures_in_force_are_told_again_after_a_jump() -> None:
    waltz = attributes(3, 4, -1)
    second = measure(waltz + note("D4", 3) + BACKWARD, 2)
    parsed = parse(document(part([note("C4", 4), second, note("E4", 3)])))
    assert [(t.onset, t.beats) for t in parsed.time_signatures] == [(0, 4), (4, 3), (7, 4), (11, 3)]
    assert [(k.onset, k.fifths) for k in parsed.key_signatures] == [(0, 0), (4, -1), (7, 0), (11, -1)]
