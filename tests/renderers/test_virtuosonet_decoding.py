"""VirtuosoNet's features decoded to a performance and encoded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from numpy.typing import NDArray

from renderers.virtuosonet import features as columns
from renderers.virtuosonet import official
from renderers.virtuosonet.decoding import DecodedPerformance, decode, scaled_velocities, unsquashed_pedals
from renderers.virtuosonet.encoding import EncodedPerformance, encode, squashed
from renderers.virtuosonet.pedalling import PedalledNotes, pedal_events
from renderers.virtuosonet.performance import TRILL_NOTE, to_performance, trill, upper_neighbour
from renderers.virtuosonet.score import NoteScore, read_note_score
from renderers.virtuosonet.tempo_curve import TempoCurve
from score_to_audio.types import Performance
from tests.paths import GOLDEN
from tests.renderers.virtuosonet_scores import attributes, document, four_quarters, note, read

SCORES = sorted((GOLDEN / "virtuosonet" / "scores").glob("*.musicxml"))


def plain(score: NoteScore, **values: float) -> NDArray[np.float32]:
    """Features of a performance at 120 quarter notes per minute, as written, without pedal."""
    features = np.zeros((len(score.notes), 11), np.float32)
    features[:, columns.BEAT_TEMPO] = np.log10(120)
    features[:, columns.VELOCITY] = 60
    for name, value in values.items():
        features[:, columns.OUTPUT_KEYS.index(name)] = value
    return features


def lively(score: NoteScore, seed: int) -> NDArray[np.float32]:
    """Features of a performance with random values, one tempo per beat."""
    random = np.random.default_rng(seed)
    features = plain(score)
    beat_tempo = np.log10(random.uniform(60, 160, int(score.locations.beat.max()) + 1))
    features[:, columns.BEAT_TEMPO] = beat_tempo[score.locations.beat]
    features[:, columns.VELOCITY] = random.uniform(30, 100, len(features))
    features[:, columns.ONSET_DEVIATION] = random.normal(0, 0.02, len(features))
    features[:, columns.ARTICULATION] = random.normal(-0.1, 0.1, len(features))
    features[:, columns.PEDAL_AT_START :] = random.uniform(0, 127, (len(features), 5))
    return features


def performed(score: NoteScore, features: NDArray[np.float32], *, trills: bool = False) -> Performance:
    return to_performance(
        score, decode(score, features), trills=trills, note_ids=[str(i) for i in range(len(features))]
    )


# ---------------------------------------------------------------------------------------- what sounds


def test_it_plays_as_written() -> None:
    score = read(document([attributes() + four_quarters()]))
    played = performed(score, plain(score))
    np.testing.assert_allclose(played.onset, [0.5, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(played.offset, [1.0, 1.5, 2.0, 2.5])
    assert played.pitch.tolist() == [60, 62, 64, 65]
    assert played.velocity.tolist() == [60] * 4
    assert played.score_ids == ("0", "1", "2", "3")


def test_one_chord_is_played() -> None:
    chord = note("C4", 8) + note("E4", 8, before="<chord/>")
    score = read(document([attributes() + chord]))
    np.testing.assert_allclose(performed(score, plain(score)).offset, [2.5, 2.5])


@pytest.mark.parametrize(("velocity", "expected"), [(-20.0, 1), (0.2, 1), (63.5, 64), (300.0, 127)])
def test_velocities_stay_within_midi(velocity: float, expected: int) -> None:
    score = read(document([attributes() + four_quarters()]))
    assert set(performed(score, plain(score, velocity=velocity)).velocity.tolist()) == {expected}


def test_nothing_happens_before_the_start() -> None:
    score = read(document([attributes() + four_quarters()]))
    played = performed(score, plain(score, onset_deviation=-3.0, pedal_at_start=90))
    assert min(played.onset[0], played.controls.time[0]) == 0
    np.testing.assert_allclose(np.diff(played.onset), 0.5, rtol=1e-6)


def test_lengths_stay_between_the_shortest_and_the_longest() -> None:
    score = read(document([attributes() + four_quarters()]))
    for articulation, expected in ((-4.0, 0.005), (3.0, 10.0)):
        played = performed(score, plain(score, articulation=articulation))
        np.testing.assert_allclose(played.offset - played.onset, expected)


def test_notes_beyond_the_piano_are_left_out() -> None:
    score = read(document([attributes() + four_quarters("C0", "C4", "C8", "D8")]))
    assert performed(score, plain(score)).pitch.tolist() == [60, 108]


def test_grace_notes_share_the_time_before_their_principal() -> None:
    graces = note("C4", before="<grace/>") + note("D4", before="<grace/>")
    score = read(document([attributes() + note("G4", 4) + graces + note("E4", 4)]))
    features = plain(score)
    features[1, columns.ONSET_DEVIATION], features[2, columns.ONSET_DEVIATION] = -0.4, -0.2
    played = performed(score, features)
    np.testing.assert_allclose((played.offset - played.onset)[1:3], [0.1, 0.05], atol=1e-6)


# ------------------------------------------------------------------------------------------- ornaments


def test_trills_are_played_by_default() -> None:
    mark = "<ornaments><trill-mark/></ornaments>"
    score = read(document([attributes(fifths=1) + note("E4", 4, notations=mark) + note("C4", 4)]))
    realised = performed(score, plain(score), trills=True)
    pitches = realised.pitch.tolist()
    assert pitches[:-1] == [64, 66] * (len(pitches) // 2 - 1) + [64]
    np.testing.assert_allclose(realised.offset[-2], 1.5)
    assert performed(score, plain(score), trills=False).pitch.tolist() == [64, 60]


@given(seconds=st.floats(0.001, 10), start=st.floats(0, 100))
def test_trills_begin_and_end_on_their_note(seconds: float, start: float) -> None:
    onsets, neighbour = trill(start, seconds)
    assert onsets[0] == start
    assert not neighbour[0]
    assert not neighbour[-1]
    assert (np.diff(onsets) >= TRILL_NOTE * 0.99).all()
    assert onsets[-1] < start + seconds


@pytest.mark.parametrize(
    ("pitch", "fifths", "expected"), [("E4", 0, 1), ("E4", 1, 2), ("B4", 0, 1), ("D4", -3, 1), ("G4", 0, 2)]
)
def test_the_neighbour_lies_in_the_key(pitch: str, fifths: int, expected: int) -> None:
    score = read(document([attributes(fifths=fifths) + four_quarters(pitch)]))
    assert upper_neighbour(score.notes[0]) == expected


def test_an_accidental_at_the_trill_decides() -> None:
    mark = "<ornaments><trill-mark/><accidental-mark>flat</accidental-mark></ornaments>"
    score = read(document([attributes() + note("A4", 4, notations=mark)]))
    assert upper_neighbour(score.notes[0]) == 1


# ---------------------------------------------------------------------------------------------- pedal


def test_events_of_one_onset_are_merged_throughout_the_piece() -> None:
    """The published code merges nothing in the second half."""
    count = 20
    position = np.repeat(np.arange(count, dtype=float), 2)
    values = np.full(2 * count, 30)
    notes = PedalledNotes(
        position=position,
        end_position=position + 0.5,
        start=position,
        end=position + 0.4,
        at_start=values,
        at_end=values,
        soft=values,
        refresh=values,
        cut=values,
        refresh_time=np.zeros(2 * count),
        cut_time=np.zeros(2 * count),
    )
    assert len(pedal_events(notes)[1]) == count
    assert len(pedal_events(notes, merge=official.merged_values)[1]) > count


def test_undoing_the_squashing_of_pedals() -> None:
    pedal = np.arange(32.0, 97.0)
    features = np.zeros((len(pedal), 11), np.float32)
    features[:, columns.PEDAL_AT_START] = squashed(pedal)
    restored = unsquashed_pedals(features)[:, columns.PEDAL_AT_START]
    np.testing.assert_allclose(restored, pedal, atol=4)
    assert np.isfinite(unsquashed_pedals(features + 500)).all()


def test_velocities_are_spread_around_their_mean() -> None:
    score = read(document([attributes() + four_quarters()]))
    features = plain(score)
    features[:, columns.VELOCITY] = [40, 50, 60, 70]
    assert scaled_velocities(features, 2)[:, columns.VELOCITY].tolist() == [25, 45, 65, 85]


# ------------------------------------------------------------------------------------- and back again


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    tempo=st.lists(st.floats(20, 300), min_size=12, max_size=12),
    at=st.lists(st.floats(-5, 300), min_size=1, max_size=20),
)
def test_the_tempo_curve_has_an_inverse(lengths: list[int], tempo: list[float], at: list[float]) -> None:
    position = np.concatenate([[0], np.cumsum(lengths)]).astype(float)
    qpm = np.array((tempo + tempo)[: len(position)])
    divisions = np.full(len(position), 4.0)
    time = np.concatenate([[0.5], np.diff(position) / 4 / qpm[:-1] * 60]).cumsum()
    curve = TempoCurve(position, qpm, time, divisions)
    positions = np.array(at)
    np.testing.assert_allclose(curve.positions(curve.seconds(positions)), positions, atol=1e-6)


def own_match(score: NoteScore, played: DecodedPerformance, result: Performance) -> NDArray[np.int64]:
    """[N] index of the performed note, by the ids."""
    index = np.full(len(score.notes), -1)
    assert result.score_ids is not None
    for performed_index, name in enumerate(result.score_ids):
        index[int(name)] = performed_index
    return index


@settings(max_examples=20, deadline=None)
@given(path=st.sampled_from(SCORES), seed=st.integers(0, 10_000))
def test_a_performance_survives_the_way_through_features(path: Path, seed: int) -> None:
    """Onsets, ends and velocities are preserved; the length of grace notes is not encoded."""
    score = read_note_score(etree.parse(path).getroot(), name=path.name)
    features = lively(score, seed)
    first = performed(score, features)
    match = own_match(score, decode(score, features), first)
    encoded = encode(score, first, match)
    again = performed(score, encoded.features.astype(np.float32))
    assert again.score_ids is not None
    order = [int(name) for name in again.score_ids if match[int(name)] >= 0]
    rows = [row for row, name in enumerate(again.score_ids) if match[int(name)] >= 0]
    shift = again.onset[rows] - first.onset[match[order]]
    assert np.ptp(shift) < 2e-3
    principal = ~score.column("is_grace").astype(bool)[order]
    ends = again.offset[rows] - first.offset[match[order]]
    assert np.ptp(np.append(ends[principal], shift[0])) < 2e-3
    assert (np.abs(again.velocity[rows] - first.velocity[match[order]]) <= 1).all()


def test_encoding_reads_the_pedal() -> None:
    score = read(document([attributes() + four_quarters()] * 3))
    result = performed(score, plain(score, pedal_at_start=100, pedal_at_end=100, soft_pedal=20))
    encoded = encode(score, result, np.arange(len(score.notes)))
    inner = encoded.features[1:-1]
    assert set(inner[:, columns.PEDAL_AT_START].tolist()) == {squashed(np.array([100.0]))[0]}
    assert set(inner[:, columns.SOFT_PEDAL].tolist()) == {squashed(np.array([20.0]))[0]}


def test_notes_that_were_not_played_are_named() -> None:
    score = read(document([attributes() + four_quarters()] * 3))
    result = performed(score, plain(score))
    match = np.arange(len(score.notes))
    match[5] = -1
    encoded: EncodedPerformance = encode(score, result, match)
    assert np.flatnonzero(~encoded.played).tolist() == [5]
    np.testing.assert_allclose(encoded.features[encoded.played, columns.BEAT_TEMPO], np.log10(120), atol=1e-9)


def test_too_few_notes_are_refused() -> None:
    score = read(document([attributes() + four_quarters()] * 3))
    with pytest.raises(ValueError, match="only 2 of 12"):
        encode(score, performed(score, plain(score)), np.array([0, 1] + [-1] * 10))
