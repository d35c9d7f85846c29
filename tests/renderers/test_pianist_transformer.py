"""Pianist Transformer beyond parity: any score, checkpoint and option."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from renderers.pianist_transformer import generation, tokens
from renderers.pianist_transformer.network import EMBEDDING, HEAD
from renderers.pianist_transformer.score import score_notes
from renderers.pianist_transformer.tokens import Notes, Pedal
from renderers.pianist_transformer.windows import windows, without_remade
from score_to_audio import Performance
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import performance_to_midi
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.progress import listening
from score_to_audio.registry import build, resolve
from score_to_audio.testing import example_score, renderer_checks
from score_to_audio.types import Score
from tests.parity.golden_files import REPOSITORY
from tests.pianist_transformer_checkpoint import write_checkpoint

SCORES = REPOSITORY / "examples/scores"
NAME = "pianist-transformer"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp(NAME) / "model.safetensors"))


def render(score: Score, checkpoint: str, seed: int = 0, **options: Any) -> Performance:
    model = build(resolve("renderer", NAME, {"checkpoint": checkpoint, **options}, device="cpu"))
    performance: Performance = model.render(score, seed=seed)
    return performance


@pytest.mark.parametrize("index", range(len(renderer_checks("pianist-transformer"))))
def test_conformance(index: int, checkpoint: str) -> None:
    renderer_checks("pianist-transformer", {"checkpoint": checkpoint})[index]()


# -------------------------------------------------------------------------------------- whole scores

Written = tuple[int, int, int, int]
"""Start and end in quarters of a second, pitch, velocity."""


def midi_score(path: Path, notes: Sequence[Written], pedal: Sequence[tuple[int, int]] = ()) -> Score:
    """At 120; the pedal is in a track of its own."""
    events = [(start, 1, mido.Message("note_on", note=p, velocity=v)) for start, _, p, v in notes]
    events += [(end, 0, mido.Message("note_off", note=p)) for _, end, p, _ in notes]
    presses = [(time, 0, mido.Message("control_change", control=64, value=value)) for time, value in pedal]
    file = mido.MidiFile(ticks_per_beat=480)
    for track in (events, presses):
        file.tracks.append(mido.MidiTrack())
        before = 0
        for quarter, _, message in sorted(track, key=lambda event: event[:2]):
            file.tracks[-1].append(message.copy(time=(quarter - before) * 240))
            before = quarter
    file.save(path)
    return read_score(path)


def scale(count: int) -> list[Written]:
    return [(index, index + 1, 40 + index % 30, 70) for index in range(count)]


@pytest.mark.parametrize("piece", ["bach_prelude_bwv846", "chopin_prelude_op28_no20"])
def test_every_note_of_a_score_is_played_in_order(piece: str, checkpoint: str) -> None:
    score = read_score(SCORES / f"{piece}.musicxml")
    performance = render(score, checkpoint, max_context_length=256)
    assert performance.score_ids is not None
    order = {note: rank for rank, note in enumerate(score.parsed.notes.id)}
    rank = [order[note] for note in performance.score_ids]
    onset = score.parsed.notes.onset[rank]
    assert (np.diff(onset) >= 0).all()
    assert [score.parsed.notes.pitch[r] for r in rank] == performance.pitch.tolist()
    struck = set(zip(score.parsed.notes.onset, score.parsed.notes.pitch, strict=True))
    assert len(set(rank)) == len(struck), "unisons are struck once, nothing else is left out"


@pytest.mark.parametrize("overlap", [0.05, 0.5, 0.9])
def test_no_join_loses_notes(overlap: float, checkpoint: str, tmp_path: Path) -> None:
    score = midi_score(tmp_path / "scale.mid", scale(90))
    performance = render(score, checkpoint, max_context_length=256, overlap=overlap)
    assert performance.pitch.tolist() == [pitch for _, _, pitch, _ in scale(90)]
    assert performance.score_ids == score.parsed.notes.id


def test_long_rests_and_notes_keep_what_tokens_cannot_say(checkpoint: str, tmp_path: Path) -> None:
    score = midi_score(tmp_path / "rest.mid", [(0, 40, 60, 70), (80, 81, 64, 70)])
    performance = render(score, checkpoint)
    assert performance.onset[1] - performance.onset[0] >= 20 - 4.99
    assert performance.offset[0] - performance.onset[0] >= 10 - 5
    for options in ({"compatibility": "official"}, {"long_rests": "official"}):
        cut = render(score, checkpoint, **options)
        assert cut.onset[1] - cut.onset[0] <= 4.99
        assert cut.offset[0] - cut.onset[0] <= 5


def test_lead_in_is_the_score_s_or_the_model_s(checkpoint: str, tmp_path: Path) -> None:
    score = midi_score(tmp_path / "late.mid", [(6, 7, 60, 70), (8, 9, 62, 70)])
    assert render(score, checkpoint).onset[0] == 1.5
    assert render(score, checkpoint, lead_in="model").onset[0] != 1.5


def test_tempo_scale_changes_what_the_model_reads(checkpoint: str, tmp_path: Path) -> None:
    score = midi_score(tmp_path / "late.mid", [(6, 7, 60, 70), (8, 9, 62, 70)])
    assert render(score, checkpoint, tempo_scale=2).onset[0] == 0.75


def test_the_official_reading_loses_the_pedal_of_tracks_without_notes(
    checkpoint: str, tmp_path: Path
) -> None:
    """It plays the same with and without that pedal; the default hears it."""
    pedalled = midi_score(tmp_path / "pedal.mid", scale(12), [(0, 127), (4, 0)])
    plain = midi_score(tmp_path / "plain.mid", scale(12))
    official, default = (
        [performance_to_midi(render(score, checkpoint, **options)) for score in (pedalled, plain)]
        for options in ({"compatibility": "official"}, {})
    )
    assert official[0] == official[1]
    assert default[0] != default[1]


def test_official_joins_differ(checkpoint: str, tmp_path: Path) -> None:
    score = midi_score(tmp_path / "scale.mid", scale(60))
    options = {"max_context_length": 256, "lead_in": "model", "temperature": 0}
    default, official = (render(score, checkpoint, **options, compatibility=c) for c in ("none", "official"))
    assert default.score_ids == official.score_ids
    first = slice(0, 12)
    np.testing.assert_allclose(default.onset[first], official.onset[first])
    assert (default.velocity != official.velocity).any()


@pytest.mark.parametrize("compatibility", ["none", "official"])
def test_any_score_is_read(compatibility: str, checkpoint: str) -> None:
    performance = render(example_score(), checkpoint, compatibility=compatibility)
    assert set(performance.score_ids or ()) == set(example_score().parsed.notes.id)


def test_options_change_the_performance(checkpoint: str) -> None:
    score = example_score()
    original = performance_to_midi(render(score, checkpoint))
    changes: list[dict[str, Any]] = [
        {"temperature": 0.2},
        {"top_k": 2},
        {"top_p": 0.05},
        {"pedal": "none"},
        {"compatibility": "official"},
        {"tempo_scale": 0.5},
    ]
    others = [performance_to_midi(render(score, checkpoint, **change)) for change in changes]
    assert len({original, *others}) == len(changes) + 1
    assert not len(render(score, checkpoint, pedal="none").controls)


def test_bfloat16_plays_too(checkpoint: str) -> None:
    assert len(render(example_score(), checkpoint, precision="bfloat16")) == 24


def test_progress_is_in_notes(checkpoint: str) -> None:
    reports: list[tuple[float, float, str]] = []
    with listening(lambda *one: reports.append(one)):
        render(example_score(), checkpoint)
    assert {(total, unit) for _, total, unit in reports} == {(24, "notes")}
    assert [done for done, _, _ in reports] == list(range(24))


# --------------------------------------------------------------------------------------- checkpoints


def test_sampling_is_as_the_checkpoint_says(tmp_path: Path) -> None:
    greedy = str(write_checkpoint(tmp_path / "model.safetensors", temperature=0.0))
    first, second = (performance_to_midi(render(example_score(), greedy, seed=seed)) for seed in (0, 1))
    assert first == second
    assert first != performance_to_midi(render(example_score(), greedy, temperature=1))


def test_the_head_may_have_either_name(checkpoint: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model.safetensors")
    stored = load_file(path)
    stored[HEAD] = stored.pop(EMBEDDING)
    save_file(stored, path)
    one, other = (performance_to_midi(render(example_score(), name)) for name in (checkpoint, str(path)))
    assert one == other
    save_file(stored | {EMBEDDING: stored[HEAD] * 2}, path)
    with pytest.raises(InputError, match="differ"):
        render(example_score(), str(path))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model.safetensors")
    stored, config = load_file(path), path.with_name("config.json")
    sizes = json.loads(config.read_text())

    def refused(match: str) -> None:
        with pytest.raises(InputError, match=match) as caught:
            render(example_score(), str(path))
        assert "\n" not in str(caught.value)

    save_file(stored | {"model.extra": torch.zeros(1)}, path)
    refused("unknown model.extra")
    save_file(stored | {"model.encoder.norm.weight": torch.full((32,), torch.nan)}, path)
    refused("not numbers")
    save_file(stored, path)
    for change, match in (
        ({"hidden_size": 64}, "not a checkpoint"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"vocab_size": 100}, "vocab_size"),
        ({"num_key_value_heads": 3}, "no multiple"),
    ):
        config.write_text(json.dumps(sizes | {"decoder": sizes["decoder"] | change}))
        refused(match)
    config.write_text("[" * 100_000)
    refused("not a readable config.json")
    config.unlink()
    refused("config.json")


# -------------------------------------------------------------------------------------------- tokens


@st.composite
def normalised(draw: st.DrawFn, longest: int = 12_000) -> tuple[Notes, Pedal]:
    """Notes without overlaps of one pitch, and a pedal."""
    row = st.tuples(
        st.integers(0, longest), st.integers(1, longest), st.integers(0, 127), st.integers(0, 127)
    )
    start, length, pitch, velocity = np.array(draw(st.lists(row, min_size=1, max_size=40))).T
    notes = Notes(start, start + length, pitch, velocity, np.arange(len(start)))
    press = st.tuples(st.integers(0, longest), st.integers(0, 127))
    time, values = np.array(sorted(draw(st.lists(press, max_size=10))), np.int64).reshape(-1, 2).T
    return tokens.one_stroke_at_a_time(notes), Pedal(time, values)


@given(normalised())
def test_tokens_lie_in_their_ranges(music: tuple[Notes, Pedal]) -> None:
    encoded = tokens.encode(*music)
    for place, (first, end) in enumerate(tokens.RANGES):
        assert ((encoded[:, place] >= first) & (encoded[:, place] < end)).all()


@given(normalised())
def test_what_tokens_lack_is_known(music: tuple[Notes, Pedal]) -> None:
    """Decoded with what was cut off, the notes are those that were encoded."""
    notes, pedal = music
    encoded = tokens.encode(notes, pedal)
    rest, held = tokens.cut_off(notes)
    decoded, _ = tokens.decode(encoded, tokens.intervals(encoded) + rest, tokens.durations(encoded) + held)
    for name in ("start", "end", "pitch", "velocity"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(notes, name))


@given(normalised())
def test_decoded_pedals_change_and_are_sampled(music: tuple[Notes, Pedal]) -> None:
    notes, pedal = music
    encoded = tokens.encode(notes, pedal)
    rest, _ = tokens.cut_off(notes)
    _, sampled = tokens.decode(encoded, tokens.intervals(encoded) + rest, tokens.durations(encoded))
    assert (np.diff(sampled.time) >= 0).all()
    assert (np.diff(sampled.value, prepend=0) != 0).all()
    latest = dict(zip(sampled.time.tolist(), sampled.value.tolist(), strict=True))
    alone = [
        index for index, gap in enumerate(np.diff(notes.start, append=notes.start[-1] + 4990)) if gap >= 4
    ]
    for index in alone:
        time = int(notes.start[index])
        before = [t for t in latest if t <= time]
        heard = latest[max(before)] if before else 0
        assert heard == pedal.at(np.array([time]))[0]


@given(normalised())
def test_no_key_is_struck_while_it_is_down(music: tuple[Notes, Pedal]) -> None:
    notes, _ = music
    for pitch in set(notes.pitch.tolist()):
        own = notes.take(notes.pitch == pitch)
        assert (own.end[:-1] <= own.start[1:]).all()
        assert (own.start[:-1] < own.start[1:]).all()


def test_intervals_of_chords_have_no_least() -> None:
    score = np.full((3, 8), tokens.MILLISECONDS)
    score[2, 1] += 1
    played = np.full((3, 8), tokens.MILLISECONDS + 2)
    assert tokens.intervals(played, score).tolist() == [2, 2, tokens.SHORTEST_STEP]


# ------------------------------------------------------------------------------------------- windows


@given(st.integers(1, 900), st.integers(32, 512), st.floats(0.05, 0.9))
def test_windows_make_every_token_once(notes: int, width: int, overlap: float) -> None:
    context = 8 * width
    plan = without_remade(windows(8 * notes, context, overlap))
    made = [place for window in plan for place in range(window.first_made, window.until)]
    assert made == list(range(8 * notes))
    assert all(window.start % 8 == 0 and window.end - window.start <= context for window in plan)
    assert all(window.until <= window.end for window in plan)


@pytest.mark.parametrize("overlap", [0.0, 0.999])
def test_windows_that_do_not_advance_or_overlap_are_refused(overlap: float) -> None:
    with pytest.raises(ValueError, match="the windows"):
        windows(10_000, 256, overlap)


# ---------------------------------------------------------------------------------------- generation


@torch.inference_mode()
def test_a_guess_saves_passes_and_changes_nothing(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bias towards one pedal value, so that the pedal rests and guesses are right."""
    model: Any = build(resolve("renderer", NAME, {"checkpoint": checkpoint}, device="cpu"))
    network = model._network
    score = torch.from_numpy(tokens.encode(*score_notes(example_score().parsed, 1.0))).flatten()[None]
    decoder, passes = network.decoder, 0

    class Counting:
        memory = decoder.memory

        def __call__(self, *inputs: Any) -> torch.Tensor:
            nonlocal passes
            passes += 1
            return decoder(*inputs)

        def logits(self, states: torch.Tensor, first: int, end: int) -> torch.Tensor:
            found = decoder.logits(states, first, end)
            if first == tokens.PEDAL:
                found[..., 127] += 6.5
            return found

    monkeypatch.setattr(network, "decoder", Counting())

    def run() -> tuple[list[int], int]:
        nonlocal passes
        passes = 0
        made = generation.generate(
            network, score, windows(score.numel(), 4096, 0.5), generation.Sampling(), model_noise()
        )
        return made.tokens.flatten().tolist(), passes

    guessing = run()
    monkeypatch.setattr(generation, "_guess", lambda *_: 0)
    plain = run()
    assert guessing[0] == plain[0]
    assert plain[1] == 7 * 24
    assert guessing[1] < plain[1]
    pedals = np.array(plain[0]).reshape(-1, 8)[:, 4:]
    assert 0.3 < (pedals == tokens.PEDAL + 127).mean() < 1, "some guesses are right and some are wrong"


@pytest.mark.parametrize(
    ("place", "pedals", "guess"),
    [
        (12, [5, 5, 9, 9], [9, 9, 9, 9, 160]),  # 160: the next note's pitch
        (14, [9, 9, 9, 7], [7, 7, 160]),
        (15, [9, 9, 7, 7], [7, 160]),
        (20, [9, 9, 9, 9], [9, 9, 9]),  # nothing follows the last token
        (23, [9, 9, 9, 9], []),
        (12, [1, 2, 3, 4], []),
        (4, [], []),
        (9, [9, 9, 9, 9], []),
    ],
)
def test_a_guess_holds_the_pedal(place: int, pedals: list[int], guess: list[int]) -> None:
    score = 10 * torch.arange(24)[None]
    made = torch.full((1, 25), -1)
    behind = [index for index in range(place) if index % 8 >= 4][-4:]
    made[0, [1 + index for index in behind]] = torch.tensor(pedals, dtype=torch.int64)
    assert generation._guess(made, score, place) == len(guess)
    assert made[0, 1 + place : 1 + place + len(guess)].tolist() == guess


def model_noise() -> generation.Noise:
    generator = torch.Generator().manual_seed(5)
    return lambda _window, _token, first, end: torch.empty(1, end - first).exponential_(generator=generator)


def test_drawing_follows_the_probabilities() -> None:
    share = torch.tensor([0.1, 0.6, 0.3])
    logits = share.log().expand(30_000, 3)
    noise = torch.empty(logits.shape).exponential_(generator=torch.Generator().manual_seed(1))
    drawn = generation.choose(logits, generation.Sampling(1.0, 0, 1.0), lambda: noise)
    torch.testing.assert_close(torch.bincount(drawn, minlength=3) / len(drawn), share, atol=0.01, rtol=0)


@given(st.integers(0, 12), st.floats(0.01, 1.0))
@settings(max_examples=40)
def test_restriction_keeps_the_most_probable_and_never_nothing(top_k: int, top_p: float) -> None:
    logits = torch.randn(20, 10, generator=torch.Generator().manual_seed(top_k))
    share, order = generation.restricted(logits, generation.Sampling(1.0, top_k, top_p))
    kept = share > 0
    assert kept[:, 0].all()
    assert (kept.sum(-1) <= (top_k or 10)).all()
    assert (kept[:, 1:] <= kept[:, :-1]).all(), "a class is kept only with all that are more probable"
    torch.testing.assert_close(logits.gather(-1, order).diff().clamp(min=0), torch.zeros_like(share[:, 1:]))


# ----------------------------------------------------------------------------------------- the score


def test_a_score_is_played_as_musescore_exports_it() -> None:
    notes, pedal = score_notes(example_score().parsed, 1.0)  # quarter = 96: 0.625 s
    assert sorted(set(np.diff(notes.start).tolist())) == [0, 625]
    assert set(notes.velocity.tolist()) == {80}
    assert set((notes.end - notes.start).tolist()) == {624, 1249}  # a tick of 480 per quarter shorter
    assert not len(pedal.time)
