"""The room, the noise floor and the resonance of the sampled piano."""

from __future__ import annotations

import numpy as np
import pytest

from adapters.sampled_piano import SampledPiano, SampledPianoParameters
from synthesizers.sampled_piano.pedals import damping
from synthesizers.sampled_piano.resonance import LEVEL, Resonance
from synthesizers.sampled_piano.room import FLOOR, ROOMS, impulse_response, in_room, noise_floor
from tests.synthesizers.performances import RATE, Sound, decibels, notes, pedal


def impulse(seconds: float) -> Sound:
    samples = np.zeros((2, round(seconds * RATE)), np.float32)
    samples[:, 0] = 1
    return samples


@pytest.mark.parametrize("room", ROOMS)
def test_the_room_answers_after_the_direct_sound_and_dies_away(room: str) -> None:
    heard = np.concatenate(list(in_room([impulse(1.0)], room, RATE)), axis=1)
    answer = heard - np.pad(impulse(1.0), ((0, 0), (0, heard.shape[1] - RATE)))
    assert np.abs(answer[:, :40]).max() < 1e-2, "no reflection is as early as the direct sound"
    energy = (answer**2).sum(axis=0)
    low, high = ROOMS[room].early, ROOMS[room].tail
    expected = 10 ** (low / 10) + 10 ** (high / 10)
    assert energy.sum() / 2 == pytest.approx(expected, rel=0.6)
    seconds = max(ROOMS[room].reverberation)
    assert heard.shape[1] == pytest.approx((1 + seconds) * RATE, abs=2)
    response = impulse_response(room, RATE)
    late = response[..., int(0.9 * seconds * RATE) :]
    assert (late**2).sum() < 1e-4 * (response**2).sum()
    left, right = response[0].sum(axis=0), response[1].sum(axis=0)
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.5, "the two sides differ"


def test_blocks_of_any_size_give_the_same_room() -> None:
    dry = np.random.default_rng(2).normal(0, 0.1, (2, RATE)).astype(np.float32)

    def in_blocks(size: int) -> Sound:
        parts = [dry[:, start : start + size] for start in range(0, RATE, size)]
        return np.concatenate(list(in_room(parts, "small", RATE)), axis=1)

    np.testing.assert_allclose(in_blocks(RATE), in_blocks(7001), atol=2e-5)


def test_a_pause_is_quiet_but_not_digital_silence() -> None:
    piano = SampledPiano(SampledPianoParameters(), checkpoints={}, device="cpu")
    played = notes((0.1, 0.3, 60, 60), (6, 6.5, 72, 60))
    sound = piano.synthesize(played, prompt=None, seed=0).samples
    pause = sound[:, 4 * RATE : 5 * RATE]
    assert (np.abs(pause) > 0).mean() > 0.99
    assert 20 * np.log10(pause.std() / FLOOR) == pytest.approx(0, abs=1)
    assert noise_floor(RATE).std() == pytest.approx(FLOOR, rel=0.01)


def resonated(value: int, *events: tuple[float, int], parts: int = 4) -> Sound:
    resonance = Resonance(damping(pedal((0, value), *events)), RATE)
    sound = impulse(2.0)
    for part in np.array_split(np.arange(sound.shape[1]), parts):
        resonance.add(sound[:, part[0] : part[-1] + 1], int(part[0]))
    return sound


def test_strings_answer_only_while_the_pedal_is_down() -> None:
    up, down = resonated(0), resonated(127)
    np.testing.assert_allclose(up, impulse(2.0), atol=1e-6)
    answer = down[:, int(0.3 * RATE) :]
    assert 0.1 * LEVEL < np.sqrt((answer**2).sum(axis=1)).mean() < LEVEL
    lifted = resonated(127, (0.5, 0))
    assert decibels(lifted, 0.3, 0.45) == pytest.approx(decibels(down, 0.3, 0.45), abs=0.5)
    assert decibels(lifted, 0.85, 0.95) < decibels(down, 0.85, 0.95) - 40


def test_resonance_does_not_depend_on_blocks() -> None:
    few, many = (resonated(127, (0.5, 0), (0.9, 127), parts=parts) for parts in (4, 9))
    np.testing.assert_allclose(few, many, atol=1e-5)
