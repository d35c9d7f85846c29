"""Every rule of kth-rules on an example with a known effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from renderers import tempo
from renderers.dynamics import ACCENTS
from renderers.kth_rules import articulation, asynchrony, loudness, noise, timing
from renderers.kth_rules.analysis import ScoreAnalysis
from score_to_audio.types import Direction, ParsedScore
from tests.renderers.score_builder import N, parsed

SCALE = ("C4", "D4", "E4", "F4", "G4", "A4", "B4", "C5")


def read(score: ParsedScore, quarters_per_minute: float = 120.0) -> ScoreAnalysis:
    return ScoreAnalysis(score, tempo.time_map(score, default_tempo=quarters_per_minute))


def melody(
    spellings: Sequence[str], durations: Sequence[float] | float = 1.0, **keywords: object
) -> ParsedScore:
    lengths = np.broadcast_to(np.asarray(durations, float), len(spellings))
    onsets = np.r_[0.0, np.cumsum(lengths)[:-1]]
    notes = [N(s, o, d) for s, o, d in zip(spellings, onsets.tolist(), lengths.tolist(), strict=True)]
    return parsed(notes, **keywords)  # type: ignore[arg-type]


def two_hands(upper: Sequence[str], lower: Sequence[str]) -> ParsedScore:
    notes = [N(s, float(i)) for i, s in enumerate(upper)]
    notes += [N(s, float(i), voice=5, staff=2) for i, s in enumerate(lower)]
    return parsed(notes)


def index(analysis: ScoreAnalysis, spelling: str) -> int:
    return analysis.notes.spelling.index(spelling)


# -------------------------------------------------------------------------------------------- loudness


def test_a_dynamic_mark_more_is_four_decibels():
    marks = [Direction("dynamic", 0.0, 0.0, "mf", part=0), Direction("dynamic", 2.0, 2.0, "f", part=0)]
    score = parsed([N("C4", float(i)) for i in range(4)], marks)
    np.testing.assert_allclose(loudness.score_dynamics(read(score)), [0, 0, 4, 4])


def test_an_accent_is_louder():
    score = parsed([N("C4", 0.0), N("C4", 1.0, marks="accent"), N("C4", 2.0)])
    added = loudness.score_accents(read(score))
    assert added[1] == pytest.approx(ACCENTS["accent"] * loudness.DB_PER_LEVEL)
    assert added[0] == added[2] == 0


def test_high_loud_is_three_decibels_per_octave():
    np.testing.assert_allclose(loudness.high_loud(read(melody(["C4", "C5", "C6"]))), [0, 3, 6])


def test_only_the_melody_is_lifted_by_its_own_high_loud_and_balance():
    analysis = read(two_hands(["C5", "D5"], ["C3", "G3"]))
    top = np.isin(np.arange(4), [index(analysis, "C5"), index(analysis, "D5")])
    np.testing.assert_allclose(loudness.melody(analysis), np.where(top, 3.0, 0.0))
    np.testing.assert_allclose(loudness.upper_hand(analysis), np.where(top, 3.0, 0.0))
    np.testing.assert_allclose(loudness.bass(analysis), np.where(top, 0.0, 1.0))
    assert loudness.melody_high_loud(analysis)[index(analysis, "C5")] == pytest.approx(3.0)
    assert loudness.melody_high_loud(analysis)[index(analysis, "G3")] == 0


def test_a_held_note_above_keeps_the_melody():
    score = parsed([N("C5", 0.0, 4.0), *(N("E4", float(i), voice=2) for i in range(4))])
    analysis = read(score)
    assert analysis.top[index(analysis, "C5")]
    assert not analysis.top[[i for i in range(5) if analysis.notes.spelling[i] == "E4"]].any()


def test_thick_busy_and_wide_passages():
    thin = [N("C4", float(i)) for i in range(16)]
    thick = [N(s, 16.0 + i) for i in range(16) for s in ("C4", "E4", "G4", "C5")]
    analysis = read(parsed([*thin, *thick]))
    soft, loud = analysis.notes.onset == 8, analysis.notes.onset == 26
    chords = loudness.thick_chords(analysis)
    np.testing.assert_allclose(chords[loud], -2.0, atol=1e-9)
    np.testing.assert_allclose(chords[soft], 0.0, atol=1e-9)
    assert loudness.density(analysis)[loud].min() - loudness.density(analysis)[soft].max() == pytest.approx(
        2.0
    )
    wide = loudness.wide_range(analysis)
    assert wide[loud].min() - wide[soft].max() == pytest.approx(1.0)


def test_duration_contrast_softens_notes_of_200_ms_most():
    # At 120: a quarter 500 ms, an eighth 250 ms, a half 1000 ms.
    analysis = read(melody(["C4", "D4", "E4"], [0.4, 0.8, 2.0]))
    np.testing.assert_allclose(loudness.duration_contrast(analysis), [-0.825, -0.525, 0.0])


def test_melodic_charge_follows_the_circle_of_fifths():
    # A C major triad under every note: the charge is that over C.
    chord = [N(s, 0.0, 8.0, voice=2, staff=2) for s in ("C2", "E2", "G2", "C3", "E3", "G3")]
    tune = [N(s, float(i)) for i, s in enumerate(["C5", "G5", "D5", "A5", "E5", "B5", "F#5", "F5"])]
    analysis = read(parsed([*tune, *chord]))
    actual = [float(loudness.melodic_charge(analysis)[index(analysis, n.spelling)]) for n in tune]
    np.testing.assert_allclose(actual, 0.2 * np.array([0, 1, 2, 3, 4, 5, 6, 2.5]))


def cadence() -> ParsedScore:
    """I - V/V - V - I in C, a measure each, as broken chords."""
    chords = (("C3", "E3", "G3"), ("D3", "F#3", "A3"), ("G2", "B2", "D3"), ("C3", "E3", "G3"))
    notes = [N(s, 4.0 * i, 4.0) for i, chord in enumerate(chords) for s in chord]
    return parsed(notes)


def test_harmonic_charge_swells_towards_the_remarkable_chord():
    analysis = read(cadence())
    by_chord = loudness.harmonic_charge(analysis)[::3]
    assert by_chord[0] == by_chord[3] == 0
    assert by_chord[1] > by_chord[2] > 0
    assert timing.harmonic_charge(analysis)[1] > timing.harmonic_charge(analysis)[0] == 0


def phrase_score() -> ParsedScore:
    """Eight measures: a long note and a rest end each half; twelve notes in each."""
    half = [*(float(i) for i in range(12)), 12.0]
    notes = []
    for start in (0.0, 16.0):
        for i, onset in enumerate(half):
            notes.append(N(SCALE[i % 8], start + onset, 2.0 if onset == 12.0 else 1.0))
    return parsed(notes, measures=8)


def test_phrases_end_with_the_long_note_and_the_rest():
    analysis = read(phrase_score())
    assert 16.0 in analysis.phrases(10.0)
    ends = analysis.slice_end[np.argsort(analysis.boundary_after)[-2:]]
    assert set(ends.tolist()) == {16.0, 30.0}


def test_the_phrase_arch_is_loud_and_fast_in_the_middle():
    analysis = read(phrase_score())
    # About 10 s at 120 are 20 quarters: rounded to 4 measures.
    loud, time = loudness.phrase_arch(analysis), timing.phrase_arch(analysis)
    first = analysis.notes.onset < 16
    assert 6 <= analysis.notes.onset[first][np.argmax(loud[first])] <= 9
    assert loud[first][0] == pytest.approx(-3.0)
    assert loud.max() <= 0
    assert time[7] < time[0] < 0 or time[7] < time[0] == pytest.approx(0.0, abs=0.02)
    for rule in (loudness.subphrase_arch, timing.subphrase_arch, timing.gesture_arch):
        assert np.ptp(rule(analysis)) > 0


def test_punctuation_marks_the_last_note_of_a_phrase():
    analysis = read(phrase_score())
    last = int(np.flatnonzero(analysis.notes.onset == 12.0)[0])
    assert loudness.punctuation(analysis)[last] == pytest.approx(-1.0)
    assert articulation.punctuation(analysis)[last] == pytest.approx(np.log2(0.8))
    assert timing.punctuation(analysis)[12] == pytest.approx(0.1)
    assert timing.punctuation(analysis)[12] > timing.punctuation(analysis)[3]


def test_metrical_accents_mark_barline_middle_and_beat():
    score = melody(["C4"] * 8, 0.5)
    np.testing.assert_allclose(loudness.metrical_accent(read(score)), [1.5, 0, 0.5, 0, 1.0, 0, 0.5, 0])
    np.testing.assert_allclose(
        articulation.metrical(read(score)), np.log2(1.05) * np.array([1, 0, 1, 0, 1, 0, 1, 0])
    )


def test_staccato_is_harder_and_shorter():
    score = parsed([N("C4", 0.0, marks="staccato"), N("D4", 1.0)])
    np.testing.assert_allclose(loudness.staccato(read(score)), [1, 0])
    np.testing.assert_allclose(articulation.score_staccato(read(score)), [-1, 0])


def test_pieces_grow():
    added = loudness.growth(read(melody(SCALE)))
    np.testing.assert_allclose(added, np.arange(8) / 8)


# ------------------------------------------------------------------------------------------------ tempo


def test_the_final_ritard_is_that_of_runners():
    # At 120 the 8 beats before the last onset are 4 s; the tempo falls to 0.6 along the cube root of place.
    analysis = read(melody(["C4"] * 32))
    slower = timing.final_ritard(analysis)
    np.testing.assert_array_equal(slower[:23], 0.0)
    x = np.r_[(np.arange(8) + 0.5) / 8, 1.0]
    np.testing.assert_allclose(np.exp(-slower[23:]), (1 + (0.6**3 - 1) * x) ** (1 / 3))
    np.testing.assert_allclose(timing.last_beats(analysis), [*[0.0] * 29, *[0.1] * 3])


def test_a_held_last_chord_does_not_swallow_the_ritard():
    held = read(melody(["C4"] * 33, [*[1.0] * 32, 16.0]))
    plain = read(melody(["C4"] * 33))
    np.testing.assert_allclose(timing.final_ritard(held), timing.final_ritard(plain))
    assert timing.final_ritard(held)[31] > 0.3


@pytest.mark.parametrize(
    ("title", "words", "slowest"),
    [("", "", 0.6), ("Maple Leaf Rag", "", 0.8), ("", "Tempo di marcia", 0.8), ("Fragments", "", 0.6)],
)
def test_an_ending_slows_down_within_bounds(title, words, slowest):
    tempo_mark = Direction("tempo", 0.0, 0.0, words, 120.0)
    score = replace(melody(["C4"] * 32), title=title, directions=(tempo_mark,))
    analysis = read(score)
    change = timing.ending_limited(analysis, np.full(32, 0.9))
    np.testing.assert_allclose(change[:24], 0.9)
    np.testing.assert_allclose(np.exp(-change[24:]), slowest)


def test_what_the_score_slows_down_itself_is_not_slowed_further():
    rit = Direction("tempo-change", 28.0, 32.0, "molto rit.")
    analysis = read(melody(["C4"] * 32, directions=[rit]))
    change = timing.ending_limited(analysis, np.full(32, 0.9))
    written = analysis.slice_seconds / np.median(analysis.slice_seconds)
    assert (np.exp(-change[24:]) / written[24:]).min() >= min(0.6, (1 / written).min()) - 1e-9
    assert change[-1] < change[24]


def test_fermatas_and_the_last_chord_are_not_cut_short():
    notes = [N("C4", 0.0), N("D4", 1.0, marks="fermata"), N("E4", 2.0), N("F4", 3.0), N("A3", 3.0, voice=2)]
    assert articulation.held_out(read(parsed(notes))).tolist() == [False, True, False, True, True]
    short = [N("C4", 0.0), N("D4", 1.0, marks="staccato")]
    assert articulation.held_out(read(parsed(short))).tolist() == [False, False]


def test_duration_contrast_shortens_notes_of_200_ms_most():
    analysis = read(melody(["C4", "D4", "E4"], [0.4, 0.8, 2.0]))
    np.testing.assert_allclose(np.expm1(timing.duration_contrast(analysis)), [-0.0825, -0.02625, 0.0])


def test_held_notes_take_time_in_proportion_to_the_beat():
    analysis = read(melody(["C4", "D4", "E4", "F4"], [2.0, 1.0, 0.5, 0.5]))
    np.testing.assert_allclose(timing.held_notes(analysis), [0.03, 0.0, -0.03, -0.03])


def test_double_duration_evens_out_the_ratio_two_to_one():
    analysis = read(melody(["C4", "D4", "E4", "F4"], [2.0, 1.0, 2.0, 1.0]))
    changed = np.expm1(timing.double_duration(analysis))
    np.testing.assert_allclose(changed, [-0.06, 0.12, -0.06, 0.12])
    # What the short note gains, the long one loses.
    lengths = np.array([2.0, 1.0, 2.0, 1.0])
    assert (changed * lengths).sum() == pytest.approx(0.0)
    np.testing.assert_array_equal(timing.double_duration(read(melody(SCALE))), 0.0)


def test_melodic_charge_lengthens_the_remarkable_note():
    chord = [N(s, 0.0, 2.0, voice=2, staff=2) for s in ("C2", "E2", "G2", "C3", "E3", "G3")]
    analysis = read(parsed([N("C5", 0.0), N("F#5", 1.0), *chord]))
    np.testing.assert_allclose(timing.melodic_charge(analysis), [0.0, 6 * 2 / 300])


def test_phrases_start_and_end_slowly():
    analysis = read(phrase_score())
    assert timing.phrase_end(analysis)[12] == timing.phrase_end(analysis).max()
    starts = timing.phrase_start(analysis)
    assert analysis.slice_onset[13] == 16.0
    assert starts[13] == starts.max() > starts[5]


def test_slurs_flow():
    score = melody(SCALE, slurs=[(0, 3)])
    np.testing.assert_allclose(timing.legato_flow(read(score)), [-0.05] * 3 + [0.0] * 5)
    np.testing.assert_allclose(articulation.score_legato(read(score)), [np.log2(1.2)] * 3 + [0.0] * 5)


def test_leaps_of_the_bass_take_time_and_its_depths_are_held():
    analysis = read(two_hands(["C5"] * 4, ["C3", "C2", "C3", "C3"]))
    np.testing.assert_allclose(timing.leap_time(analysis), [0.02, 0.02, 0.0, 0.0])
    deep = timing.deep_bass(analysis)
    assert deep[1] > 0 > deep[0]


def test_accents_and_thick_chords_are_given_time():
    score = parsed([N("C4", 0.0), N("C4", 1.0, marks="accent"), N("C4", 2.0), N("E4", 2.0)])
    np.testing.assert_allclose(timing.agogic_accent(read(score)), [0, 0.05 * ACCENTS["accent"], 0])
    np.testing.assert_allclose(timing.thick_chords(read(score)), [0, 0.02, 0])


def test_swing_is_three_to_one_in_slow_music_and_keeps_the_beat():
    analysis = read(melody(["C4"] * 8, 0.5), quarters_per_minute=100)
    factors = np.exp(timing.swing(analysis))
    np.testing.assert_allclose(factors, [1.5, 0.5] * 4)
    fast = read(melody(["C4"] * 8, 0.5), quarters_per_minute=320)
    np.testing.assert_allclose(timing.swing(fast), 0.0, atol=1e-12)


# --------------------------------------------------------------------------------------- articulation


def test_short_notes_are_held_relatively_longer():
    analysis = read(melody(["C4", "D4", "E4"], [0.25, 0.5, 2.0]))
    np.testing.assert_allclose(articulation.short_notes(analysis), [0.2, 0.1, 0.0])


def test_repeated_keys_are_released_before():
    # Quarters of 250 and of 600 ms: the pause weighs half as much in a note of twice 300 ms.
    quick = read(melody(["C4", "C4", "D4"]), quarters_per_minute=240)
    slow = read(melody(["C4", "C4", "D4"]), quarters_per_minute=100)
    for rule in (articulation.repetition, articulation.repeated_note):
        np.testing.assert_allclose(rule(quick), [np.log2(0.8), 0, 0])
        np.testing.assert_allclose(rule(slow), [np.log2(0.8) / 2, 0, 0])


def test_a_key_that_another_voice_strikes_is_released_too():
    score = parsed([N("C4", 0.0, 1.0), N("D4", 1.0), N("C4", 1.0, voice=2)])
    analysis = read(score, quarters_per_minute=240)
    assert articulation.repetition(analysis)[0] == pytest.approx(np.log2(0.8))
    assert articulation.repeated_note(analysis)[0] == 0


def test_the_end_of_a_slur_is_lifted():
    score = melody(SCALE, slurs=[(0, 3)])
    np.testing.assert_allclose(np.flatnonzero(articulation.slur_end(read(score))), [3])


def test_hands_leave_early_before_a_leap():
    analysis = read(two_hands(["C5", "C6", "C6"], ["C3", "C2", "C2"]))
    leaping = [index(analysis, "C5"), index(analysis, "C3")]
    np.testing.assert_allclose(articulation.leap(analysis)[leaping], np.log2(0.8))
    np.testing.assert_allclose(articulation.accompaniment_leap(analysis)[leaping], [0, np.log2(0.8)])


def test_chords_are_shorter_the_melody_longer():
    score = parsed([N("C4", 0.0), N("E4", 0.0), N("G4", 1.0)])
    np.testing.assert_allclose(articulation.chords(read(score, quarters_per_minute=240)), [-0.1, -0.1, 0.0])
    np.testing.assert_allclose(articulation.melody(read(score)), np.log2(1.1) * np.array([0, 1, 1]))


def test_busy_passages_are_lighter():
    analysis = read(melody(["C4"] * 24, [1.0] * 8 + [0.25] * 16))
    busy = articulation.busy(analysis)
    assert busy[1] - busy[18] == pytest.approx(0.2)


# ------------------------------------------------------------------------------ togetherness and noise


def test_the_melody_leads_and_the_chord_stays_on_its_time():
    analysis = read(parsed([N("C4", 0.0), N("E4", 0.0), N("C5", 0.0), N("D5", 1.0)]))
    shifts = asynchrony.melody_lead(analysis)
    assert shifts[2] - shifts[0] == pytest.approx(-asynchrony.MELODY_LEAD)
    assert shifts[:3].sum() == pytest.approx(0.0)
    assert shifts[3] == 0


def test_chords_scatter_around_their_time():
    analysis = read(parsed([N(s, float(i)) for i in range(200) for s in ("C4", "E4", "G4")]))
    shifts = asynchrony.chord_asynchrony(analysis, np.random.default_rng(1))
    np.testing.assert_allclose(analysis.share(shifts), 0.0, atol=1e-12)
    # Two of three degrees of freedom are left after centring.
    assert shifts.std() == pytest.approx(asynchrony.CHORD_SPREAD * np.sqrt(2 / 3), rel=0.1)


def test_one_over_f_noise_falls_by_three_decibels_per_octave():
    values = noise.one_over_f(1 << 14, np.random.default_rng(3))
    assert values.mean() == pytest.approx(0.0, abs=1e-9)
    assert values.std() == pytest.approx(1.0)
    power = np.abs(np.fft.rfft(values)) ** 2
    frequency = np.arange(len(power))
    inside = (frequency > 8) & (frequency < 4096)
    slope = np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.1)


def test_noise_has_its_size():
    analysis = read(melody(["C4", "D4"] * 500))
    generator = np.random.default_rng(5)
    assert noise.clock_noise(analysis, generator, 2.0).std() == pytest.approx(2 * noise.CLOCK_NOISE)
    assert noise.motor_noise(analysis, generator).std() == pytest.approx(noise.MOTOR_NOISE, rel=0.15)
    assert noise.loudness_noise(analysis, generator).std() == pytest.approx(noise.LOUDNESS_NOISE, rel=0.15)


# -------------------------------------------------------------------------------------------- all rules

EVERY_RULE = [
    (f"{group}.{name}", rule)
    for group, rules in (
        ("loudness", loudness.RULES),
        ("timing", timing.RULES),
        ("touch", articulation.RULES),
    )
    for name, rule in rules.items()
]


@pytest.mark.parametrize("rule", [rule for _, rule in EVERY_RULE], ids=[name for name, _ in EVERY_RULE])
def test_a_rule_grows_with_its_quantity_and_is_finite(rule):
    analysis = read(phrase_score())
    one = rule(analysis, 1.0)
    assert np.isfinite(one).all()
    np.testing.assert_array_equal(rule(analysis, 0.0), 0.0)
    np.testing.assert_allclose(rule(analysis, 0.5), one / 2, rtol=0.1, atol=1e-3)
