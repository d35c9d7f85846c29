"""What the sampled piano sounds like, in figures: onsets, levels, damping, clicks, memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from adapters.sampled_piano import SampledPiano, SampledPianoParameters, bundled_recordings
from score_to_audio.levels import integrated_loudness, k_weighted, true_peak
from score_to_audio.testing import example_performance, no_performance
from score_to_audio.types import SOFT, SOSTENUTO, Performance, Waveform
from synthesizers.sampled_piano.dynamics import level, register_balance
from synthesizers.sampled_piano.instrument import pitch_ratio
from synthesizers.sampled_piano.mixing import BLOCK, play
from tests.synthesizers.performances import RATE, Sound, decibels, notes, pedal

ONSET = 10 ** (-28 / 20)
PROMISED = 10 ** (-1 / 20)


def sound(performance: Performance) -> Sound:
    blocks = list(play(performance, bundled_recordings(), gain=1.0))
    return np.concatenate([np.zeros((2, 0), np.float32), *blocks], axis=1)


def synthesize(performance: Performance, **options: bool) -> Waveform:
    piano = SampledPiano(SampledPianoParameters(**options), checkpoints={}, device="cpu")
    return piano.synthesize(performance, prompt=None, seed=0)


# ------------------------------------------------------------------------------------- the samples


def test_samples_are_complete_small_and_attributed() -> None:
    folder = files("synthesizers.sampled_piano") / "samples"
    index = json.loads((folder / "index.json").read_text())
    named = {entry["file"] for entry in index["notes"] + index["release_noises"]}
    there = {entry.name for entry in folder.iterdir()}
    assert there == named | {"index.json", "ATTRIBUTION.txt"}
    assert sum(len((folder / name).read_bytes()) for name in there) <= 13e6
    attribution = (folder / "ATTRIBUTION.txt").read_text()
    for expected in ("Alexander Holm", "CC BY 3.0", "creativecommons.org/licenses/by/3.0", "Changes"):
        assert expected in attribution


# ------------------------------------------------------------------------------------------ onsets


SLOW = pytest.mark.slow


@pytest.mark.parametrize("velocity", [pytest.param(15, marks=SLOW), 64, pytest.param(120, marks=SLOW)])
def test_every_key_sounds_within_a_millisecond(velocity: int) -> None:
    at = 0.01
    for pitch in range(21, 109):
        samples = np.abs(sound(notes((at, at + 0.4, pitch, velocity)))).max(axis=0)
        assert not samples[: int(at * RATE)].any(), f"{pitch} sounds before its time"
        attack = samples[: int((at + 0.25) * RATE)]
        first = np.argmax(attack > ONSET * attack.max()) / RATE - at
        assert 0 <= first <= 0.001, f"{pitch} at velocity {velocity} sounds {first * 1000:.2f} ms late"


# ------------------------------------------------------------------------------------------ levels


def attack_level(pitch: int, velocity: int) -> float:
    window = 0.4 / float(pitch_ratio(_shift(pitch)))
    samples = sound(notes((0, 1, pitch, velocity)))[:, : int(window * RATE)]
    return float(10 * np.log10((k_weighted(samples) ** 2).sum() / samples.shape[1]))


def _shift(pitch: int) -> int:
    instrument = bundled_recordings().instrument
    return int(pitch - instrument.keys[instrument.nearest_key(np.array([pitch]))[0]])


@pytest.mark.parametrize("pitch", [61, *(pytest.param(k, marks=SLOW) for k in (21, 35, 48, 73, 84, 92, 108))])
def test_level_follows_velocity_strictly_across_the_seams(pitch: int) -> None:
    levels = np.array([attack_level(pitch, velocity) for velocity in range(1, 128)])
    expected = level(np.arange(1, 128, dtype=float))
    steps = np.diff(levels)
    assert (steps > 0).all()
    np.testing.assert_allclose(steps, np.diff(expected), atol=0.1)
    assert np.abs((levels - levels[-1]) - expected).max() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("velocity", [40, 80])
def test_neighbouring_keys_are_equally_loud(velocity: int) -> None:
    levels = np.array([attack_level(pitch, velocity) for pitch in range(21, 109)])
    wanted = bundled_recordings().instrument.key_levels + register_balance(np.arange(21, 109))
    unevenness = (levels - levels.mean()) - (wanted - wanted.mean())
    assert np.abs(unevenness).max() < 1.0


def test_soft_pedal_softens() -> None:
    loud, half, soft = (
        decibels(sound(notes((1, 2, 60, 70), controls=pedal((0, value), number=SOFT))), 1, 1.4)
        for value in (0, 64, 127)
    )
    assert soft < half - 0.5 < loud - 1


def test_music_is_neither_faint_nor_clipped() -> None:
    waveform = synthesize(example_performance())
    assert -30 < integrated_loudness(waveform.samples, RATE) < -14


def test_a_fist_on_all_keys_is_limited_and_said(caplog: pytest.LogCaptureFixture) -> None:
    waveform = synthesize(notes(*((0.0, 1.0, pitch, 127) for pitch in range(21, 109))))
    assert true_peak(waveform.samples) <= PROMISED
    assert "the limiter lowered" in caplog.text


def test_no_direct_current() -> None:
    samples = sound(example_performance())
    assert np.abs(samples.mean(axis=1)).max() < 1e-4 * np.abs(samples).max()


# ----------------------------------------------------------------------------------------- damping


def after_release(pitch: int, value: int) -> float:
    """Level 0.3 to 0.4 s after the key's release relative to the level just before, with CC64 at
    ``value``."""
    samples = sound(notes((0, 1, pitch, 70), controls=pedal((0, value))))
    samples = np.pad(samples, ((0, 0), (0, RATE)))
    return decibels(samples, 1.3, 1.4) - decibels(samples, 0.9, 1.0)


@pytest.mark.parametrize("pitch", [36, 60, 76])
def test_half_pedal_damps_by_degrees(pitch: int) -> None:
    left = [after_release(pitch, value) for value in (0, 52, 56, 60, 64, 68, 72, 80, 127)]
    assert (np.diff(left) >= -1e-6).all()
    assert left[0] < -35
    assert left[-1] > -10
    assert any(left[0] + 6 < middle < left[-1] - 6 for middle in left[1:-1])


def test_pedal_holds_as_the_key_does() -> None:
    held = sound(notes((0, 2, 60, 70)))[:, : 2 * RATE]
    pedalled = sound(notes((0, 0.2, 60, 70), controls=pedal((0.1, 127), (2, 0))))[:, : 2 * RATE]
    np.testing.assert_allclose(pedalled, held, atol=1e-7)


def test_pedal_that_comes_late_keeps_what_is_left() -> None:
    samples = sound(notes((0, 0.5, 48, 90), controls=pedal((0.6, 127), (3, 0))))
    short = sound(notes((0, 0.5, 48, 90)))
    short = np.pad(short, ((0, 0), (0, 3 * RATE)))
    assert decibels(samples, 1.5, 2) > decibels(short, 1.5, 2) + 20
    assert decibels(samples, 1.5, 2) < decibels(sound(notes((0, 3, 48, 90))), 1.5, 2) - 5


def test_sostenuto_holds_a_key_that_was_down() -> None:
    caught = sound(notes((0, 0.5, 60, 70), controls=pedal((0.3, 127), (2, 0), number=SOSTENUTO)))
    missed = sound(notes((0, 0.5, 60, 70), controls=pedal((0.7, 127), (2, 0), number=SOSTENUTO)))
    missed = np.pad(missed, ((0, 0), (0, 2 * RATE)))
    assert decibels(caught, 1.4, 1.6) > decibels(missed, 1.4, 1.6) + 30


@pytest.mark.parametrize(("pitch", "rings"), [(88, False), (89, True), (100, True)])
def test_the_top_rings_without_dampers(pitch: int, rings: bool) -> None:
    short, held = sound(notes((0, 0.1, pitch, 90))), sound(notes((0, 3, pitch, 90)))
    short = np.pad(short, ((0, 0), (0, RATE)))
    lost = decibels(held, 0.4, 0.6) - decibels(short, 0.4, 0.6)
    assert (abs(lost) < 1) == rings


def test_striking_again_under_the_pedal_does_not_double_the_energy() -> None:
    down = pedal((0, 127))
    once = sound(notes((0, 0.1, 60, 70), controls=down))
    again = sound(notes(*((0.5 * i, 0.5 * i + 0.1, 60, 70) for i in range(6)), controls=down))
    first, last = decibels(again, 0.1, 0.4), decibels(again, 2.6, 2.9)
    assert decibels(once, 0.1, 0.4) == pytest.approx(first, abs=1e-3)
    assert abs(last - first) < 1.5


def test_the_same_key_twice_at_once_sounds_once() -> None:
    one, two = sound(notes((0, 1, 60, 70))), sound(notes((0, 1, 60, 70), (0, 1, 60, 70)))
    assert decibels(two, 0.15, 0.5) - decibels(one, 0.15, 0.5) < 0.5


# ------------------------------------------------------------------------------------------ clicks


def steepest(samples: Sound, start: float, end: float) -> float:
    """Largest third difference in a stretch: a step in a smooth wave stands out in it."""
    part = samples[:, int(start * RATE) : int(end * RATE)].astype(np.float64)
    return float(np.abs(np.diff(part, 3, axis=1)).max())


@pytest.mark.parametrize("pitch", [28, 45, 60, 80])
def test_release_and_restrike_do_not_click(pitch: int) -> None:
    """The moment of release is as smooth as the sound around it (noise of the key's release aside)."""
    down = pedal((0, 127), (1.0, 0))
    samples = sound(notes((0, 0.2, pitch, 100), controls=down))
    assert steepest(samples, 0.995, 1.02) < 1.5 * steepest(samples, 0.9, 0.99)


@pytest.mark.parametrize("pitch", [21, 40, 60, 84, 108])
def test_a_note_held_to_its_end_fades_away(pitch: int) -> None:
    samples = sound(notes((0, 30, pitch, 120)))
    peak = np.abs(samples).max()
    seconds = samples.shape[1] / RATE
    noise = 30  # the key comes up then
    last = max(t for t in np.arange(0, min(seconds, noise), 0.05) if decibels(samples, t, t + 0.05) > -150)
    assert decibels(samples, last - 0.05, last) < 20 * np.log10(peak) - 60
    assert np.abs(samples[:, int(last * RATE) : int(noise * RATE)]).max() < peak * 1e-3


# ----------------------------------------------------------------------------- streams and machines


def test_same_bytes_every_time() -> None:
    digests = {hashlib.sha256(synthesize(example_performance()).samples.tobytes()).hexdigest() for _ in "ab"}
    assert len(digests) == 1


def test_what_was_played_before_does_not_matter() -> None:
    """Recordings are kept between performances, cut to other lengths and other pitches."""
    first = synthesize(example_performance()).samples
    synthesize(notes((0, 8, 61, 90), (1, 9, 47, 20), (1, 9, 60, 127)))
    np.testing.assert_array_equal(synthesize(example_performance()).samples, first)


def test_a_note_sounds_the_same_wherever_blocks_are_cut() -> None:
    early = sound(notes((0, 0.5, 60, 70)))
    for shift in (BLOCK - 100, BLOCK - 1, BLOCK, 3 * BLOCK + 17):
        late = sound(notes((shift / RATE, shift / RATE + 0.5, 60, 70)))[:, shift:]
        # Envelopes have a point every millisecond of the piece, wherever the note starts.
        np.testing.assert_allclose(late[:, : early.shape[1]], early, atol=1e-3 * np.abs(early).max())


def test_no_notes_no_sound() -> None:
    assert synthesize(no_performance()).samples.shape == (2, 0)


MEMORY_SCRIPT = """
import resource, sys
import numpy as np
from adapters.sampled_piano import SampledPiano, SampledPianoParameters
from score_to_audio.types import Performance

onset = np.arange(0, 60 * float(sys.argv[1]), 0.1)
pitch = 36 + (np.arange(len(onset)) * 7) % 48
performance = Performance(onset, onset + 0.4, pitch, 30 + (np.arange(len(onset)) * 5) % 90)
piano = SampledPiano(SampledPianoParameters(), checkpoints={}, device="cpu")
for _ in piano.stream(performance, prompt=None, seed=0).blocks:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_ten_minutes_need_no_more_memory_than_one() -> None:
    def kilobytes(minutes: int) -> int:
        command = [sys.executable, "-c", MEMORY_SCRIPT, str(minutes)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    # Measured: 1 MB more. Sound that is kept takes 190 MB more, the notes in its blocks at most 2.
    assert kilobytes(10) < kilobytes(1) + 12_000
