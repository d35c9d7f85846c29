"""M2M beyond parity: any score, checkpoint and option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.m2m import M2MParameters, official_notes, read_checkpoint
from renderers.m2m import sampling, tokens
from renderers.m2m.network import M2MNetwork, NetworkConfig
from renderers.m2m.performance import score_notes
from renderers.m2m.windows import probabilities, windows
from score_to_audio import Performance
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import performance_to_midi
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.registry import build, resolve
from score_to_audio.testing import example_score, renderer_checks
from tests.parity.golden_files import REPOSITORY, fill

SCORES = REPOSITORY / "examples/scores"
SMALL = NetworkConfig(hidden=16, layers=1, heads=2, feed_forward=8, positions=48, words=4, style_width=4)


def small_network() -> M2MNetwork:
    network = M2MNetwork(SMALL)
    fill(network, "test")
    return network.requires_grad_(False).eval()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network in the layout of the published checkpoint."""
    tensors = {f"net.{name}": tensor for name, tensor in small_network().state_dict().items()}
    tensors["loss_weighter.step"] = torch.zeros(())
    path = tmp_path_factory.mktemp("m2m") / "tiny.ckpt"
    torch.save({"state_dict": tensors, "epoch": 1, "hyper_parameters": {}}, path)
    return str(path)


def render(score: Any, checkpoint: str, seed: int = 0, **options: Any) -> Performance:
    model = build(resolve("renderer", "m2m", {"checkpoint": checkpoint, **options}, device="cpu"))
    performance: Performance = model.render(score, seed=seed)
    return performance


@pytest.mark.parametrize("index", range(len(renderer_checks("m2m"))))
def test_conformance(index: int, checkpoint: str) -> None:
    renderer_checks("m2m", {"checkpoint": checkpoint})[index]()


def test_time_runs_forward_whatever_the_network_says(checkpoint: str) -> None:
    score = read_score(SCORES / "chopin_prelude_op28_no4.musicxml")
    performance = render(score, checkpoint)
    order = {note: rank for rank, note in enumerate(score.parsed.notes.id)}
    rank = [order[note] for note in performance.score_ids or ()]
    onset = score.parsed.notes.onset[rank]
    assert (np.diff(onset) >= 0).all(), "notes of a later beat must not come before those of an earlier one"
    shortest = (performance.offset - performance.onset).min()
    assert shortest > 0.01
    assert len(performance) > 0.98 * len(score.parsed.notes)  # unisons are struck once


def test_options_change_the_performance(checkpoint: str) -> None:
    score = example_score()
    original = performance_to_midi(render(score, checkpoint))
    changes: list[dict[str, Any]] = [
        {"performer": "gulda"},
        {"temperature": 0.2},
        {"top_k": 1},
        {"top_p": 0.05},
        {"pedal": "none"},
    ]
    others = [performance_to_midi(render(score, checkpoint, **change)) for change in changes]
    assert len({original, *others}) == len(changes) + 1
    assert performance_to_midi(render(score, checkpoint, seed=1)) != original


def test_pedal_is_written_or_follows_the_harmony_or_is_none(checkpoint: str) -> None:
    assert not len(render(example_score(), checkpoint, pedal="none").controls)
    written = read_score(SCORES / "chopin_prelude_op28_no7.musicxml")
    marks = [mark for mark in written.parsed.directions if mark.kind == "pedal" and mark.text == "sustain"]
    assert marks
    assert (render(written, checkpoint).controls.value == 127).sum() == len(marks)
    unmarked = read_score(SCORES / "bach_prelude_bwv846.musicxml")
    assert len(render(unmarked, checkpoint).controls) > 20


def test_official_behaviour_plays_the_first_track_only(checkpoint: str, tmp_path: Path) -> None:
    midi = mido.MidiFile(ticks_per_beat=480)
    for pitch in (72, 48):
        track = mido.MidiTrack()
        for _ in range(8):
            track.append(mido.Message("note_on", note=pitch, velocity=64, time=0))
            track.append(mido.Message("note_off", note=pitch, time=480))
        midi.tracks.append(track)
    midi.save(tmp_path / "two.mid")
    score = read_score(tmp_path / "two.mid")
    assert set(official_notes(score).pitch.tolist()) == {72}
    assert set(render(score, checkpoint, compatibility="official").pitch.tolist()) == {72}
    assert set(render(score, checkpoint).pitch.tolist()) == {48, 72}


def test_official_behaviour_needs_a_midi_score(checkpoint: str) -> None:
    with pytest.raises(InputError, match="reads MIDI scores only"):
        render(example_score(), checkpoint, compatibility="official")


def test_unknown_performers_and_other_checkpoints_are_refused(checkpoint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="performer"):
        M2MParameters(performer="horowitz")  # type: ignore[arg-type]
    torch.save({"state_dict": {"weight": torch.ones(1)}}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=r"has no bert\.in_linear\.weight"):
        read_checkpoint(tmp_path / "x.ckpt")


# ----------------------------------------------------------------------------------------- the score


def test_scores_are_on_the_grid_of_seconds() -> None:
    _, notes = score_notes(example_score().parsed)  # quarter = 96: 0.625 s, 120 ticks
    assert sorted(set(np.diff(notes.onset).tolist())) == [0, 120]
    assert set(notes.velocity.tolist()) == {60}
    assert set(notes.duration.tolist()) <= {120, 240, 239, 119}


# ------------------------------------------------------------------------------------------- tokens


@given(
    st.lists(
        st.tuples(st.integers(0, 3000), st.integers(1, 1152), st.integers(21, 108), st.integers(1, 127)),
        min_size=1,
        max_size=60,
    )
)
def test_tokens_keep_what_they_say(rows: list[tuple[int, int, int, int]]) -> None:
    onset, duration, pitch, velocity = np.array(sorted(rows)).T
    encoded = tokens.encode(tokens.TickNotes(onset, duration, pitch, velocity))
    assert (encoded >= tokens.SPECIALS).all()
    _, velocity_ids, duration_ids, ioi, position, bar = encoded.T
    np.testing.assert_array_equal((bar - 4) * tokens.BAR_TICKS + position - 4, onset)
    np.testing.assert_array_equal(duration_ids - 3, duration)
    assert np.abs(tokens.velocity_of(velocity_ids) - velocity).max() <= 1
    close = np.abs(np.diff(onset)) < tokens.BAR_TICKS
    np.testing.assert_array_equal((ioi[1:] - 388)[close], np.diff(onset)[close])


@given(st.integers(1, 400), st.integers(4, 60))
def test_windows_cover_every_note_with_weight_one(notes: int, capacity: int) -> None:
    total = torch.zeros(notes)
    for window in windows(notes, capacity):
        assert 1 <= len(window.weight) <= capacity
        total[window.first : window.first + len(window.weight)] += window.weight
    torch.testing.assert_close(total, torch.ones(notes))


def test_probabilities_are_distributions_over_what_is_possible() -> None:
    count = 150
    onset = np.arange(count) * 24
    notes = tokens.TickNotes(onset, np.full(count, 20), np.full(count, 60), np.full(count, 60))
    reported: list[int] = []
    with torch.inference_mode():
        heads = probabilities(small_network(), tokens.encode(notes), 0, report=reported.append)
    assert reported[-1] == count
    for head in heads:
        torch.testing.assert_close(head.sum(-1), torch.ones(count))
    velocity, ioi, duration = heads
    assert not velocity[:, :4].any()
    assert not ioi[:, : 4 + tokens.BAR_TICKS].any()
    assert not duration[:, :7].any()


# ------------------------------------------------------------------------------------------ sampling


def test_drawing_follows_the_probabilities() -> None:
    share = torch.tensor([0.1, 0.6, 0.3]).expand(30_000, 3)
    noise = torch.empty(share.shape).exponential_(generator=torch.Generator().manual_seed(1))
    counts = torch.bincount(sampling.draw(share, noise), minlength=3) / len(share)
    torch.testing.assert_close(counts, share[0], atol=0.01, rtol=0)


@given(st.integers(1, 12), st.floats(0.01, 1.0))
@settings(max_examples=40)
def test_restriction_keeps_the_most_probable_and_never_nothing(top_k: int, top_p: float) -> None:
    share = torch.rand(20, 10, generator=torch.Generator().manual_seed(top_k)).softmax(-1)
    kept = sampling.restricted(share, top_k=top_k, top_p=top_p)
    assert ((kept > 0).sum(-1) >= 1).all()
    assert ((kept > 0).sum(-1) <= max(top_k, 1)).all()
    least_kept = torch.where(kept > 0, share, torch.inf).amin(-1)
    most_dropped = torch.where(kept > 0, -torch.inf, share).amax(-1)
    assert (least_kept >= most_dropped).all()


def test_the_expected_class_is_the_rounded_mean() -> None:
    probabilities = torch.tensor([[0.0, 0.3, 0.2, 0.0], [0.6, 0.0, 0.0, 0.4], [0.0, 0.0, 0.1, 0.9]])
    assert sampling.expected(probabilities).tolist() == [1, 1, 3]
