"""The renderer ``score`` as a whole."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.score_playback import ScorePlayback, ScorePlaybackParameters
from renderers.score_playback import render
from score_to_audio.testing import renderer_checks
from score_to_audio.types import Direction, Score
from tests.renderers.score_builder import N, change, dynamic, hairpin, parsed, pedal, tempo


def test_notes_are_played_as_written():
    score = parsed(
        [N("C4", 0), N("E4", 0, 2, voice=2), N("D4", 1, 1, "staccato")],
        [tempo(0, "", 60.0), dynamic(0, "f"), pedal(0, 1)],
    )
    performance = render(score)
    assert performance.onset.tolist() == [0, 0, 1]
    assert performance.offset == pytest.approx([1, 2, 1.5])
    assert performance.pitch.tolist() == [60, 64, 62]
    assert performance.velocity.tolist() == [95, 95, 95]
    assert performance.score_ids == ("n0", "n1", "n2")
    assert performance.controls.value.tolist() == [127, 0]


def test_notes_of_an_ornament_bear_the_id_of_their_main_note():
    performance = render(parsed([N("C4", 0, 1, "mordent"), N("G4", 1)]))
    assert performance.score_ids == ("n0", "n0", "n0", "n1")


def test_the_composer_decides_how_trills_begin():
    notes = [N("C4", 0, 1, "trill-mark")]
    assert render(parsed(notes, composer="J. S. Bach")).pitch[0] == 62
    assert render(parsed(notes, composer="F. Liszt")).pitch[0] == 60
    assert render(parsed(notes, composer="F. Liszt"), upper_start=True).pitch[0] == 62


def test_repeated_notes_are_struck_apart():
    performance = render(parsed([N("C4", i / 8, 1 / 8) for i in range(8)], [tempo(0, "", 120.0)]))
    assert (performance.onset[1:] - performance.offset[:-1]).min() == pytest.approx(0.02)


def test_an_empty_score():
    assert len(render(parsed())) == 0


def _score(parsed_score) -> Score:
    return Score(Path("test.musicxml"), b"", lambda _: parsed_score)


def test_the_adapter_passes_its_options_on():
    score = _score(parsed([N("C4", 0, 1, "trill-mark"), N("C4", 4)]))

    def rendered(**options):
        renderer = ScorePlayback(ScorePlaybackParameters(**options), checkpoints={}, device="cpu")
        return renderer.render(score, seed=0)

    assert rendered().onset[-1] == pytest.approx(2.4)
    assert rendered(default_tempo=60).onset[-1] == pytest.approx(4.0)
    assert rendered(speed=2).onset[-1] == pytest.approx(1.2)
    assert rendered(default_dynamic="ppp", softest=30).velocity[0] == 30
    assert rendered(default_dynamic="fff", loudest=90).velocity[0] == 90
    assert rendered(trill_start="upper").pitch[0] == 62
    assert rendered(trill_start="main").pitch[0] == 60


def test_the_adapter_says_what_the_piano_does_not_have(caplog):
    renderer = ScorePlayback(ScorePlaybackParameters(), checkpoints={}, device="cpu")
    with caplog.at_level(logging.WARNING):
        performance = renderer.render(_score(parsed([N("C4", 0), N("C0", 1), N("C9", 2)])), seed=0)
    assert len(performance) == 1
    assert "2 notes" in caplog.text


@pytest.mark.parametrize("check", renderer_checks("score"), ids=lambda check: check.__name__)
def test_conformance(check):
    check()


_marks = ["", "", "trill-mark", "turn", "mordent", "tremolo-3", "arpeggiate", "staccato", "tenuto", "fermata"]
_notes = st.builds(
    N,
    st.sampled_from(["C4", "C#4", "D4", "A0", "Ab0", "C8", "C#8", "E9"]),
    st.one_of(st.floats(0, 40), st.integers(0, 40).map(float)),
    st.sampled_from([0.0, 1e-6, 0.25, 1.0, 4.0, 100.0]),
    st.sampled_from(_marks),
    grace=st.sampled_from(["", "", "acciaccatura", "appoggiatura"]),
    voice=st.integers(0, 2),
    staff=st.integers(1, 2),
)
_directions = st.one_of(
    st.builds(tempo, st.floats(-5, 50), st.just("Allegro"), st.one_of(st.none(), st.floats(0, 1e9))),
    st.builds(change, st.floats(0, 50), st.floats(0, 60), st.sampled_from(["rit.", "accel.", "?"])),
    st.builds(dynamic, st.floats(0, 50), st.sampled_from(["pppp", "mf", "ffff", "nonsense"])),
    st.builds(hairpin, st.floats(0, 50), st.floats(0, 60)),
    st.builds(pedal, st.floats(-2, 50), st.floats(0, 60)),
    st.builds(lambda onset: Direction("fermata", onset, onset, ""), st.floats(0, 50)),
)


@settings(deadline=None)
@given(st.lists(_notes, max_size=25), st.lists(_directions, max_size=10))
def test_anything_written_becomes_a_performance_of_one_keyboard(notes, directions):
    score = parsed(notes, directions)
    performance = render(score)
    assert set(performance.score_ids or ()) <= set(score.notes.id)
    for pitch in set(performance.pitch.tolist()):
        here = performance.pitch == pitch
        assert (performance.onset[here][1:] > performance.offset[here][:-1]).all()
    assert np.isfinite(performance.end)


_plain_notes = st.builds(
    N, st.sampled_from(["C4", "D4", "A0", "Ab0", "C8", "E9"]), st.integers(0, 40).map(float)
)


@settings(deadline=None, max_examples=50)
@given(st.lists(_plain_notes, min_size=1, max_size=25))
def test_every_playable_onset_is_struck_at_its_time(notes):
    score = parsed(notes)
    performance = render(score)
    written = set(zip(score.notes.onset.tolist(), score.notes.pitch.tolist(), strict=True))
    struck = set(zip(np.round(performance.onset / 0.6).tolist(), performance.pitch.tolist(), strict=True))
    assert struck == {(onset, pitch) for onset, pitch in written if 21 <= pitch <= 108}
