"""The oscillators, the noise and the room against their definitions, computed sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch import Tensor

from synthesizers.ddsp_piano.additive import AdditiveSynthesizer
from synthesizers.ddsp_piano.network import HOP, NOISE_BANDS, PARTIALS, Moments, Norm, NoteRelease
from synthesizers.ddsp_piano.noise import FilteredNoise, white_noise
from synthesizers.ddsp_piano.official import PublishedOscillators
from synthesizers.ddsp_piano.partials import NYQUIST, SAMPLE_RATE, Partials, amplitudes, partials
from synthesizers.ddsp_piano.playing import Oscillators
from synthesizers.ddsp_piano.reverb import Reverb
from tests.synthesizers.ddsp_piano_checkpoints import filled_model

VOICES, FRAMES = 3, 60


@pytest.fixture(scope="module")
def piano() -> Partials:
    with torch.inference_mode():
        return partials(filled_model(), 3)


@pytest.fixture(scope="module")
def played(piano: Partials) -> tuple[Tensor, Tensor]:
    """Pitch and amplitudes: notes of several lengths, silence between some, one change after the other."""
    random = torch.Generator().manual_seed(5)
    choices = torch.tensor([0, 21, 45, 60, 60, 96, 108])
    pitch = choices[torch.randint(7, (VOICES, FRAMES // 4), generator=random)].repeat_interleave(4, 1)
    pitch[0, 20:30] = torch.arange(40, 50)
    raw = torch.randn(VOICES, FRAMES, 1 + PARTIALS, generator=random)
    return pitch, amplitudes(raw, pitch, piano).partials


def in_blocks(oscillators: Oscillators, pitch: Tensor, amplitude: Tensor, cuts: Sequence[int]) -> Tensor:
    edges = [0, *cuts, pitch.shape[1] - 1]
    return torch.cat(
        [oscillators.block(pitch[:, a : b + 1], amplitude[:, a : b + 1]) for a, b in pairwise(edges)]
    )


def by_definition(piano: Partials, pitch: Tensor, amplitude: Tensor) -> Tensor:
    """Frequencies interpolated, phases added up, sample by sample in double precision."""
    frequency = piano.frequency.double()[pitch]  # [V, n + 1, 2, 96]
    step = (torch.arange(HOP) / HOP).double()[:, None, None]
    between = frequency[:, :-1, None] * (1 - step) + frequency[:, 1:, None] * step
    phase = (2 * torch.pi / SAMPLE_RATE * between).flatten(1, 2).cumsum(1).view_as(between)
    fade = 0.5 - 0.5 * torch.cos(torch.pi * step[..., 0])
    loud = amplitude.double()[:, :-1, None] * (1 - fade) + amplitude.double()[:, 1:, None] * fade
    return (torch.where(between < NYQUIST, phase.cos(), 0).sum(3) * loud).sum((0, 3))


@pytest.mark.parametrize("cuts", [(), (1, 2, 30)])
def test_partials_follow_their_definition(
    piano: Partials, played: tuple[Tensor, Tensor], cuts: Sequence[int]
) -> None:
    found = in_blocks(AdditiveSynthesizer(piano, VOICES), *played, cuts)
    expected = by_definition(piano, *played)
    assert expected.abs().max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("cuts", [(1, 2, 30), (15,)])
def test_published_oscillators_do_not_depend_on_blocks(
    piano: Partials, played: tuple[Tensor, Tensor], cuts: Sequence[int]
) -> None:
    whole = in_blocks(PublishedOscillators(piano, VOICES), *played, ())
    parts = in_blocks(PublishedOscillators(piano, VOICES), *played, cuts)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    # They drift from the exact ones, and hardly in a quarter of a second.
    exact = by_definition(piano, *played)
    assert np.corrcoef(whole.flatten(), exact.flatten())[0, 1] > 0.99


def test_no_partial_lies_beyond_half_the_sample_rate(piano: Partials) -> None:
    raw = torch.zeros(128, 1 + PARTIALS)
    found = amplitudes(raw, torch.arange(128), piano)
    assert not found.shares[piano.frequency[:, 0] >= NYQUIST].any()
    np.testing.assert_allclose(found.shares[:109].sum(1), 1, atol=1e-5)
    assert not found.overall[0].any()
    assert (found.overall[21:109] > 0).all()


def test_noise_follows_its_definition() -> None:
    random = torch.Generator().manual_seed(2)
    magnitude = torch.rand(VOICES, FRAMES, NOISE_BANDS, generator=random)
    white = torch.rand(VOICES, FRAMES, HOP, generator=random) * 2 - 1
    taps = np.roll(np.fft.irfft(magnitude.numpy(), 126), 63, -1)
    taps = taps * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(126) / 126))
    expected = np.zeros(FRAMES * HOP + 200)
    for voice in range(VOICES):
        for frame in range(FRAMES):
            filtered = np.convolve(white[voice, frame], taps[voice, frame])
            expected[frame * HOP : frame * HOP + len(filtered)] += filtered
    noise = FilteredNoise()
    found = []
    for first, last in ((0, 1), (1, 20), (20, FRAMES)):
        voice, frame = torch.ones(VOICES, last - first).nonzero(as_tuple=True)
        places = (voice, frame + first)
        found.append(noise.block(frame, magnitude[places], white[places], last - first))
    samples = torch.cat([*found, noise.rest()]).flatten()[HOP:]
    np.testing.assert_allclose(samples, expected[61 : 61 + FRAMES * HOP], atol=1e-5)


def test_white_noise_is_uniform_and_belongs_to_seed_and_block() -> None:
    frame = torch.arange(2000)
    drawn = white_noise(1)(1000, frame, frame)
    assert drawn.shape == (2000, HOP)
    assert -1 <= float(drawn.min()) < -0.999
    assert 0.999 < float(drawn.max()) < 1
    assert abs(float(drawn.var()) - 1 / 3) < 0.005
    assert torch.equal(drawn, white_noise(1)(1000, frame, frame))
    assert not torch.equal(drawn, white_noise(1)(0, frame, frame))
    assert not torch.equal(drawn, white_noise(2)(1000, frame, frame))


def test_the_room_is_a_convolution_of_the_blocks_together() -> None:
    random = torch.Generator().manual_seed(3)
    response, dry = torch.randn(500, generator=random), torch.randn(3000, generator=random)
    room = Reverb(response)
    found = torch.cat([room.block(part) for part in dry.split([1, 100, 1500, 1399])])
    response[0] = 1
    np.testing.assert_allclose(found, lfilter(response, 1, dry), atol=1e-3)


def test_normalisation_over_time_and_channels_in_parts() -> None:
    norm = Norm(7).requires_grad_(False)
    norm.scale.fill_(2)
    norm.shift.fill_(3)
    x = torch.randn(50, 4, 7) * 5 + 1
    moments = Moments(4)
    for part in x.split(20):
        moments.add(part)
    found = norm(x.clone(), moments.result())
    expected = (x - x.mean((0, 2), keepdim=True)) / x.std((0, 2), keepdim=True, correction=0) * 2 + 3
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_released_note_is_held_for_a_second_unless_another_begins() -> None:
    release = NoteRelease().requires_grad_(False)
    release.seconds.fill_(1)
    pitch = torch.zeros(700, 2, dtype=torch.uint8)
    pitch[10:20] = 60
    pitch[100:110, 1] = 62
    held = release(pitch)
    assert held[:, 0].nonzero().flatten().tolist() == list(range(10, 20 + 251))
    assert held[:, 1].tolist() == [0] * 10 + [60] * 90 + [62] * (10 + 251) + [0] * (700 - 361)
