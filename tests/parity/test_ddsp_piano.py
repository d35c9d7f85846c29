"""DDSP-Piano against what was recorded from the authors' code with the published weights.

Tolerances are those of the fact sheet, section 8, or tighter. The weights come from the golden folder or from
`score-to-audio models pull ddsp-piano`; without them only the input is compared.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import numpy as np
import pretty_midi
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import stft
from torch import Tensor

from adapters.ddsp_piano import DdspPianoParameters, DdspPianoSynthesizer, Year, read_model
from score_to_audio import checkpoints
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import read_performance
from score_to_audio.plugins import Checkpoint
from synthesizers.ddsp_piano import playing
from synthesizers.ddsp_piano.conditioning import (
    FRAME_RATE,
    FULL_PEDAL,
    FULL_VELOCITY,
    Conditioning,
    conditioning,
    controller_roll,
    piano_roll,
    whole_seconds,
)
from synthesizers.ddsp_piano.network import HOP, PARTIALS, DdspPiano, Moments, leaky, squashed
from synthesizers.ddsp_piano.noise import FilteredNoise, magnitudes
from synthesizers.ddsp_piano.notes import Notes, sustained
from synthesizers.ddsp_piano.official import POLYPHONY, PublishedOscillators
from synthesizers.ddsp_piano.partials import Partials, amplitudes, partials
from synthesizers.ddsp_piano.reverb import Reverb
from tests.parity.golden_files import case_name, golden_root, load_arrays, load_cases, salt

Array = NDArray[Any]
FOLDER = golden_root() / "ddsp_piano"
CASES = {case_name(path): path for path in load_cases("ddsp_piano", "*.npz")}
DATA_FILE = checkpoints.published("ddsp-piano").files["weights"]
OPTIONS = re.compile(r"(?:warm(?P<warm_up>[\d.]+)_dur(?P<duration>[\d.]+|None)_)?(?P<name>\w+)")
PIANO = re.compile(r"p(\d+)_(\w+)")
INPUTS = {
    *("notes", "total_time", "roll_active", "roll_onset_velocity", "roll_control_changes"),
    *("conditioning", "pedal", "duration", "warm_up"),
}
SELECTION = {"frames", "voices", "span"}
"""What part of an array was recorded."""
LONG = 10 * FRAME_RATE
"""Frames from which the drift of the published phases dominates."""


@cache
def recorded(case: str) -> dict[str, Array]:
    return load_arrays(CASES[case])


def keys(wanted: Callable[[str], bool]) -> list[Any]:
    return [
        pytest.param(case, key, id=f"{case}-{key}") for case in CASES for key in recorded(case) if wanted(key)
    ]


Compare = Callable[[str, int, Array], None]


def is_input(key: str) -> bool:
    match = OPTIONS.fullmatch(key)
    return bool(match) and match["name"] in INPUTS


def close(found: Any, expected: Array, tolerance: float) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


# ------------------------------------------------------------------------------------------- the input


@dataclass(frozen=True)
class File:
    """A MIDI file, its notes held by the pedal."""

    rows: Array
    """[N, 5] pitch, velocity, start, end, instrument."""
    notes: Notes
    end: float
    controls: tuple[Array, Array, Array]
    """Time, number, value."""


@cache
def midi_file(case: str) -> File:
    midi = pretty_midi.PrettyMIDI(str(CASES[case].with_suffix(".mid")))
    end = max(note.end for one in midi.instruments for note in one.notes)
    rows, controls = [], []
    for index, one in enumerate(midi.instruments):
        columns = zip(*((note.start, note.end, note.pitch, note.velocity) for note in one.notes), strict=True)
        pedal = np.array([(event.time, event.value) for event in one.control_changes if event.number == 64])
        pedal = pedal.reshape(-1, 2)
        held, end = sustained(Notes(*map(np.array, columns)), pedal[:, 0], pedal[:, 1], end)
        found = (held.pitch, held.velocity, held.onset, held.offset)
        rows.append(np.column_stack([*found, np.full(len(held), index)]))
        controls += [(event.time, event.number, event.value) for event in one.control_changes]
    table = np.concatenate(rows)
    pitch, velocity, onset, offset, _ = table.T
    time, number, value = np.array(controls).reshape(-1, 3).T
    notes = Notes(onset, offset, pitch.astype(int), velocity.astype(int))
    return File(table, notes, end, (time, number.astype(int), value.astype(int)))


def conditioned(case: str, warm_up: float, duration: float | None) -> Conditioning:
    file = midi_file(case)
    roll = piano_roll(file.notes, file.end)
    controllers = controller_roll(*file.controls, len(roll.velocity))
    frames = whole_seconds(file.end) if duration is None else int(duration * FRAME_RATE)
    return conditioning(roll, controllers, frames, warm_up=warm_up, polyphony=POLYPHONY)


@pytest.mark.parametrize(("case", "key"), keys(is_input))
def test_input(case: str, key: str) -> None:
    match = OPTIONS.fullmatch(key)
    assert match
    file, name = midi_file(case), match["name"]
    warm_up = float(match["warm_up"] or recorded(case)["warm_up"])
    duration = float(match["duration"]) if match["duration"] not in (None, "None") else None
    roll = piano_roll(file.notes, file.end)
    made = conditioned(case, warm_up, duration)
    seconds = len(made) / FRAME_RATE if duration is None else duration + warm_up
    found = {
        "notes": lambda: file.rows[np.lexsort(file.rows.T[[4, 3, 0, 2]])],
        "total_time": lambda: file.end,
        "roll_active": lambda: roll.velocity > 0,
        "roll_onset_velocity": lambda: (roll.onset_velocity / FULL_VELOCITY).astype(np.float32),
        "roll_control_changes": lambda: controller_roll(*file.controls, len(roll.velocity)),
        "warm_up": lambda: warm_up,
        "pedal": lambda: made.pedal / FULL_PEDAL,
        "duration": lambda: seconds,
        "conditioning": lambda: np.stack([made.pitch, made.velocity / np.float32(FULL_VELOCITY)], -1),
    }[name]()
    np.testing.assert_array_equal(found, recorded(case)[key])


# ----------------------------------------------------------------------------------------- the networks


@cache
def weights() -> Checkpoint:
    """Skips where they are not on this machine."""
    beside = FOLDER / DATA_FILE
    if beside.is_file():
        return checkpoints.find(str(beside))
    try:
        return checkpoints.find("ddsp-piano")
    except InputError as error:
        pytest.skip(f"the published weights are neither in {FOLDER} nor among the checkpoints: {error}")


@cache
def model() -> DdspPiano:
    return read_model(weights().weights)


@cache
def given(case: str) -> Conditioning:
    return conditioned(case, float(recorded(case)["warm_up"]), None)


@dataclass(frozen=True)
class Run:
    """What the product computes for a case and a piano, with T frames and 16 voices."""

    heard: playing.Heard
    raw: Tensor
    """[16, T, 161]"""
    partials: Partials


@cache
def run(case: str, piano: int) -> Run:
    heard = playing.hear(model(), given(case), piano, mute=False)
    raw = []
    of = partials(model(), piano)
    sound = playing.Playing(model(), heard, piano, noise(case), PublishedOscillators(of, POLYPHONY))
    for first in range(len(heard.states)):
        places = heard.sounding[first * playing.BLOCK :][: playing.BLOCK].nonzero(as_tuple=True)
        raw.append(sound.controls(first, 1, *places).unflatten(0, (-1, POLYPHONY)))
    return Run(heard, torch.cat(raw).transpose(0, 1), of)


def noise(case: str) -> playing.White:
    """The recorded white noise, from names alone (fact sheet, section 7)."""
    frames = len(given(case))

    def voice(number: int) -> Array:
        seed = zlib.crc32(f"{salt({})}:{case}:{number}".encode())
        drawn = np.random.Generator(np.random.PCG64(seed)).random(frames * HOP, dtype=np.float32)
        return (drawn * 2 - 1).reshape(frames, HOP)

    all_voices = torch.from_numpy(np.stack([voice(number) for number in range(POLYPHONY)]))
    return lambda first, frame, number: all_voices[number, first + frame]


def where(case: str, found: Any, axis: int, count: int) -> Any:
    """The frames of ``found`` that were recorded: all, or those in ``frames``."""
    wide = np.asarray(found)
    return wide if wide.shape[axis] == count else wide.take(recorded(case)["frames"], axis)


def voices(case: str) -> Array:
    return recorded(case)["voices"]


def layers(case: str, piano: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(context [T, channels], mono [T, 16, channels]): what each layer gives, by number."""
    heard, net = run(case, piano).heard, model()
    conditions = given(case)
    inputs = net.context.inputs(
        *(torch.from_numpy(x) for x in (conditions.pitch, conditions.velocity, conditions.pedal)),
        net.piano.embedding[piano],
    )
    state = net.context.hidden(inputs, torch.zeros(1, net.context.gru.units))
    moments = Moments(1)
    moments.add(state)
    context = [leaky(net.context.dense_in(inputs)), state[:, 0]]
    context.append(net.context.norm(state.clone(), moments.result())[:, 0])
    played = net.mono.inputs(heard.played, heard.context[:, None])
    states = net.mono.states(played, torch.zeros(POLYPHONY, net.mono.gru.units))
    mono = [leaky(net.mono.dense_in(played)), states, net.mono.hidden(states)]
    mono.append(net.mono.norm(mono[-1].clone(), heard.moments))
    return {str(i): x for i, x in enumerate(context)}, {str(i): x for i, x in enumerate(mono)}


def layer(kind: str, number: str) -> Compare:
    def compare(case: str, piano: int, expected: Array) -> None:
        context, mono = layers(case, piano)
        frames = recorded(case)["frames"]
        if kind == "context":
            close(context[number][frames], expected, 1e-4)
        else:
            close(mono[number][frames[::3]][:, voices(case)[:2]].transpose(0, 1), expected, 1e-3)

    return compare


def table(of: Callable[[DdspPiano], Tensor]) -> Compare:
    return lambda case, piano, expected: np.testing.assert_array_equal(of(model())[piano].squeeze(), expected)


def compare_context(case: str, piano: int, expected: Array) -> None:
    close(where(case, run(case, piano).heard.context, 0, len(expected)), expected, 1e-4)


def compare_extended_pitch(case: str, _piano: int, expected: Array) -> None:
    held = model().note_release(torch.from_numpy(given(case).pitch))
    np.testing.assert_array_equal(held.t(), expected)


def compare_inharmonicity(case: str, piano: int, expected: Array) -> None:
    pitch = run(case, piano).heard.held.t().float()
    close(model().coefficients(pitch, piano), expected, 2e-7)


def compare_frequencies(case: str, piano: int, expected: Array) -> None:
    pitch = run(case, piano).heard.held.t().float()
    np.testing.assert_allclose(model().frequencies(pitch, piano), expected, rtol=1e-6)


def compare_amplitudes(case: str, piano: int, expected: Array) -> None:
    raw = where(case, run(case, piano).raw[..., 0], 1, expected.shape[1])
    if expected.shape[1] == len(given(case)):  # the first piano of a short file
        close(raw, expected, 1e-2)
    close(squashed(torch.tensor(raw)), squashed(torch.tensor(expected)).numpy(), 5e-3)


def raw_controls(start: int, end: int | None) -> Compare:
    def compare(case: str, piano: int, expected: Array) -> None:
        close(run(case, piano).raw[:, recorded(case)["frames"], start:end], expected, 3e-3)

    return compare


def compare_controls(name: str) -> Compare:
    """From the recorded raw controls, where they are there: the stage alone."""

    def compare(case: str, piano: int, expected: Array) -> None:
        arrays, result = recorded(case), run(case, piano)
        pitch = result.heard.held.t().long()
        if name == "amplitudes":
            raw = torch.zeros(*pitch.shape, 1 + PARTIALS)
            raw[..., 0] = torch.from_numpy(arrays[f"p{piano}_amplitudes"])
            close(amplitudes(raw, pitch, result.partials).overall, expected, 1e-4)
            return
        few, frames = voices(case), arrays["frames"]
        pitch = pitch[few][:, frames]
        if name == "magnitudes":
            raw = torch.from_numpy(arrays[f"p{piano}_magnitudes"][few])
            close(magnitudes(raw), expected, 1e-4)
        elif name == "harmonic_shifts":
            close(result.partials.stretch[pitch], expected, 1e-4)
        else:
            shares = torch.from_numpy(arrays[f"p{piano}_harmonic_distribution"][few])
            raw = torch.cat([torch.zeros(*pitch.shape, 1), shares], -1)
            close(amplitudes(raw, pitch, result.partials).shares, expected, 1e-4)

    return compare


# ------------------------------------------------------------------------------------------- the sound


def compare_additive(case: str, piano: int, expected: Array) -> None:
    result, span = run(case, piano), slice(*recorded(case)["span"])
    pitch = result.heard.held.t().long()
    for voice, sound in zip(voices(case)[:2], expected, strict=True):
        row = pitch[voice : voice + 1]
        amplitude = amplitudes(result.raw[voice : voice + 1, :, : 1 + PARTIALS], row, result.partials)
        one = PublishedOscillators(result.partials, 1)
        close(one.block(row, amplitude.partials).flatten()[span], sound, 1e-5)


def compare_noise(case: str, piano: int, expected: Array) -> None:
    result, span = run(case, piano), slice(*recorded(case)["span"])
    frames = torch.arange(len(given(case)))
    for voice, sound in zip(voices(case)[:2], expected, strict=True):
        filtered = FilteredNoise()
        magnitude = magnitudes(result.raw[voice, :, 1 + PARTIALS :].clone())
        white = noise(case)(0, frames, torch.full_like(frames, int(voice)))
        block = filtered.block(frames, magnitude, white, len(frames))
        close(torch.cat([block[1:], filtered.rest()]).flatten()[span], sound, 1e-5)


@cache
def dry(case: str, piano: int, *, published: bool) -> Array:
    result = run(case, piano)
    oscillators = PublishedOscillators(result.partials, POLYPHONY) if published else None
    blocks = playing.play(model(), result.heard, piano, noise(case), oscillators=oscillators, reverb=False)
    return np.concatenate(list(blocks))


def sound(case: str, piano: int, *, published: bool, reverb: bool) -> Array:
    samples = dry(case, piano, published=published)
    if not reverb:
        return samples
    return Reverb(model().piano.reverb_ir[piano]).block(torch.from_numpy(samples)).numpy()


def is_long(case: str) -> bool:
    return len(given(case)) > LONG


def is_full(case: str) -> bool:
    """Whether all voices play at once."""
    return bool((given(case).pitch > 0).all(1).any())


def compare_sound(*, reverb: bool) -> Compare:
    def compare(case: str, piano: int, expected: Array) -> None:
        found = sound(case, piano, published=True, reverb=reverb)
        assert len(found) == len(given(case)) * HOP
        # The sheet's limits are for peaks of 0.26 (`hand`), 0.78 (`poly`) and 0.49 (`long`).
        close(found[-len(expected) :], expected, (0.1 if is_long(case) else 2.9e-3) * np.abs(expected).max())
        exact = sound(case, piano, published=False, reverb=reverb)[-len(expected) :]
        least = 0.9 if is_long(case) else 0.998 if is_full(case) else 0.999
        most = 0.15 if is_long(case) else 0.03 if is_full(case) else 0.01
        assert np.corrcoef(exact, expected)[0, 1] > least
        assert abs(decibels(exact) - decibels(expected)) < 0.5
        assert spectral_convergence(exact, expected) < most

    return compare


def decibels(samples: Array) -> float:
    return float(10 * np.log10((samples.astype(np.float64) ** 2).mean()))


def spectral_convergence(found: Array, expected: Array) -> float:
    one, other = (np.abs(stft(x, nperseg=1024, noverlap=768)[2]) for x in (found, expected))
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def compare_levels(case: str, piano: int, expected: Array) -> None:
    for published in (True, False):
        found = sound(case, piano, published=published, reverb=True).reshape(len(expected), -1)
        levels = [decibels(block) for block in found]
        if published:
            close(levels, 20 * np.log10(expected), 0.5)
        assert abs(decibels(found) - float(10 * np.log10((expected**2).mean()))) < 0.5


def compare_noise_first(case: str, _piano: int, expected: Array) -> None:
    number = torch.arange(POLYPHONY)
    white = noise(case)(0, torch.zeros_like(number), number)
    np.testing.assert_array_equal(white[:, : expected.shape[1]], expected)


COMPARE: dict[str, Compare] = {
    "z": table(lambda net: net.piano.embedding),
    "global_inharm": table(lambda net: net.piano.inharmonicity),
    "global_detuning": table(lambda net: net.piano.detuning),
    "context": compare_context,
    "extended_pitch": compare_extended_pitch,
    "inharm_coef": compare_inharmonicity,
    "f0_hz": compare_frequencies,
    "amplitudes": compare_amplitudes,
    "harmonic_distribution": raw_controls(1, 1 + PARTIALS),
    "magnitudes": raw_controls(1 + PARTIALS, None),
    **{f"context_layer{number}": layer("context", str(number)) for number in range(3)},
    **{f"mono_layer{number}": layer("mono", str(number)) for number in range(4)},
    **{
        f"ctl_{name}": compare_controls(name)
        for name in ("amplitudes", "harmonic_distribution", "harmonic_shifts", "magnitudes")
    },
    "additive_signal": compare_additive,
    "noise_signal": compare_noise,
    "noise_first": compare_noise_first,
    "dry": compare_sound(reverb=False),
    "dry_span": compare_sound(reverb=False),
    "audio": compare_sound(reverb=True),
    "audio_span": compare_sound(reverb=True),
    "rms_100ms": compare_levels,
}


@pytest.mark.parametrize(("case", "key"), keys(lambda key: not is_input(key) and key not in SELECTION))
def test_model(case: str, key: str) -> None:
    """A recording of a new kind fails here, so that none goes unnoticed."""
    match = PIANO.fullmatch(key)
    piano, name = (int(match[1]), match[2]) if match else (-1, key)
    with torch.inference_mode():
        COMPARE[name](case, piano, recorded(case)[key])


@pytest.mark.parametrize("case", [case for case in CASES if "frames" in recorded(case)])
def test_what_was_recorded_lies_within_the_piece(case: str) -> None:
    frames = len(given(case))
    arrays = recorded(case)
    assert arrays["frames"].max() < frames
    if "span" in arrays:
        assert 0 <= arrays["span"][0] < arrays["span"][1] <= frames * HOP
        assert arrays["voices"].max() < POLYPHONY


# ------------------------------------------------------------------------------------------ the product


@pytest.mark.parametrize("case", [case for case in CASES if any(PIANO.fullmatch(k) for k in recorded(case))])
def test_the_synthesizer_from_the_file(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """compatibility=official plays what was recorded, without the warm-up."""
    key, piano = next(
        (key, int(match[1]))
        for key in recorded(case)
        if (match := PIANO.fullmatch(key)) and match[2].startswith("audio")
    )
    monkeypatch.setattr("synthesizers.ddsp_piano.noise.white_noise", lambda seed: noise(case))
    options = DdspPianoParameters(piano=get_args(Year)[piano], compatibility="official")
    synthesizer = DdspPianoSynthesizer(options, checkpoints={"checkpoint": weights()}, device="cpu")
    performance = read_performance(CASES[case].with_suffix(".mid"))
    found = synthesizer.synthesize(performance, prompt=None, seed=0).samples[0]
    expected = recorded(case)[key]
    if len(expected) > len(found):
        expected = expected[-len(found) :]
    close(found[-len(expected) :], expected, (0.1 if is_long(case) else 2.9e-3) * np.abs(expected).max())
