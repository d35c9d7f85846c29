"""Whole performances by kth-rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.kth_rules import KthRules, KthRulesParameters, quantities
from renderers.kth_rules import articulation, loudness, palettes, timing
from renderers.kth_rules.rendering import render
from score_to_audio.formats.midi import performance_to_midi
from score_to_audio.testing import example_score
from tests.renderers.score_builder import N, parsed


def scale(count: int = 32) -> list[N]:
    return [N("CDEFGAB"[i % 7] + "4", float(i)) for i in range(count)]


def test_a_palette_names_every_rule_and_no_other():
    names = {
        *(f"loudness_{name}" for name in loudness.RULES),
        *(f"tempo_{name}" for name in timing.RULES),
        *(f"touch_{name}" for name in articulation.RULES),
    }
    beside = {
        "loudness_overall", "touch_overall", "melody_lead", "chord_asynchrony", "swing",
        "noise_clock", "noise_motor", "noise_touch",
    }  # fmt: skip
    for name, palette in palettes.PALETTES.items():
        rest = {key for key in palette if not key.startswith("pedal_")}
        assert rest == names | beside, name
        assert all(k >= 0 for key, k in palette.items() if not key.endswith("overall"))


def test_the_seed_decides_the_noise_and_nothing_else_does():
    score = parsed(scale())
    one, same, other = (performance_to_midi(render(score, seed=seed)) for seed in (3, 3, 4))
    assert one == same
    assert one != other


def test_without_noise_the_seed_changes_nothing():
    still = {**palettes.NEUTRAL, **dict.fromkeys(("noise_clock", "noise_motor", "noise_touch"), 0.0)}
    still["chord_asynchrony"] = 0.0
    score = parsed(scale())
    assert performance_to_midi(render(score, still, seed=1)) == performance_to_midi(
        render(score, still, seed=2)
    )


def test_deadpan_keeps_the_written_time():
    played = render(parsed(scale()), palettes.PALETTES["deadpan"], default_tempo=120)
    np.testing.assert_allclose(played.onset, 0.5 * np.arange(32))
    np.testing.assert_allclose(played.offset - played.onset, 0.5, atol=0.02)
    assert len(np.unique(played.velocity)) == 1
    assert len(played.controls) == 0


def test_the_rules_keep_the_length_of_the_piece():
    played = render(parsed(scale()), default_tempo=120)
    assert played.onset[-1] + 0.5 == pytest.approx(16.0, rel=0.05)
    assert np.diff(played.onset).std() > 0.005
    # The final ritard: the last beats are the slowest.
    assert np.diff(played.onset)[-3:].mean() > 1.2 * np.diff(played.onset)[:24].mean()


def test_melody_and_accompaniment_are_told_apart():
    notes = [N("C5", float(i)) for i in range(16)]
    notes += [N(s, i, 0.5, voice=5, staff=2) for i in np.arange(0, 16, 0.5).tolist() for s in ("C3", "E3")]
    score = parsed(notes)
    played = render(score)
    staff = dict(zip(score.notes.id, score.notes.staff.tolist(), strict=True))
    upper = np.array([staff[i] == 1 for i in played.score_ids or ()])
    assert played.velocity[upper].mean() > played.velocity[~upper].mean() + 5


def test_every_note_is_played_once_and_knows_its_score():
    notes = [*scale(), N("E5", 4.0, grace="acciaccatura"), N("G5", 8.0, 2.0, marks="trill-mark")]
    score = parsed(notes)
    played = render(score)
    assert set(played.score_ids or ()) == set(score.notes.id)
    assert len(played) > len(score.notes)


def test_options_take_the_place_of_the_palette():
    options = KthRulesParameters(palette="deadpan", tempo_final_ritard=2.0)
    chosen = quantities(options)
    assert chosen["tempo_final_ritard"] == 2.0
    assert chosen["tempo_phrase_end"] == 0.0
    written = quantities(KthRulesParameters(amount=0))
    assert written["tempo_phrase_end"] == 0.0
    assert written["loudness_score_dynamics"] == palettes.NEUTRAL["loudness_score_dynamics"]
    with pytest.raises(ValueError, match="tempo_final_ritardo"):
        KthRulesParameters(tempo_final_ritardo=1.0)


def test_the_adapter_plays_a_score_in_every_palette():
    made = {}
    for palette in palettes.PALETTES:
        renderer = KthRules(KthRulesParameters(palette=palette), checkpoints={}, device="cpu")
        made[palette] = performance_to_midi(renderer.render(example_score(), seed=0))
    assert len(set(made.values())) == len(palettes.PALETTES)


def test_a_score_of_grace_notes_only_is_played():
    score = parsed([N("C4", 0.0, grace="acciaccatura")], measures=1)
    assert len(render(score)) == 1


note = st.builds(
    N,
    st.sampled_from(["A0", "C2", "Eb3", "C4", "F#4", "Bb4", "G5", "C8"]),
    st.integers(0, 40).map(lambda i: i / 4),
    st.sampled_from([0.125, 0.25, 0.5, 1.0, 4.0, 16.0]),
    st.sampled_from(["", "staccato", "accent", "fermata", "trill-mark", "arpeggiate", "breath-mark"]),
    st.sampled_from(["", "", "", "acciaccatura", "appoggiatura"]),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 2]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(note, min_size=1, max_size=30), st.integers(0, 5), st.sampled_from([(4, 4), (3, 8), (6, 8)]))
def test_any_score_gives_a_performance(notes, seed, signature):
    score = parsed(notes, beats=signature[0], beat_type=signature[1])
    exaggerated = {name: 3 * k for name, k in palettes.PALETTES["romantic"].items()}
    for palette in (palettes.NEUTRAL, exaggerated):
        played = render(score, palette, seed=seed)
        assert len(played) >= 1
        assert set(played.score_ids or ()) <= set(score.notes.id)
