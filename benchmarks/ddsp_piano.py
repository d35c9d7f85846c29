"""DDSP-Piano's speed with the published weights, beside the same work in plain torch.

    python -m benchmarks.ddsp_piano [--seconds 20] [--threads 1] [--weights FILE] [--no-plain]
        [PERFORMANCE.mid ...]

"Plain" is the published computation: torch's recurrent layers over the whole piece, then every partial of
both strings of 16 voices at every sample, with running sums as phases, and the noise voice by voice. "The
same" is ours with the same voices and noise; the correlation of the two sounds shows that both do the same
work.
"Default" is the synthesizer as it is used, limiter and silence at the end included. Times are processor time,
the better of two runs. Without files: the example scores as ``kth-rules`` plays them.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from adapters.ddsp_piano import DdspPianoParameters, DdspPianoSynthesizer, read_model
from score_to_audio import checkpoints
from score_to_audio.adjustments import cut_notes
from score_to_audio.formats.midi import read_performance
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.registry import build, resolve
from score_to_audio.types import SUSTAIN, Performance
from synthesizers.ddsp_piano.conditioning import Conditioning, conditioning, controller_roll, piano_roll
from synthesizers.ddsp_piano.network import HOP, PARTIALS, DdspPiano, Gru, Moments, leaky
from synthesizers.ddsp_piano.noise import DELAY, TAPS, magnitudes, white_noise
from synthesizers.ddsp_piano.notes import Notes, sustained
from synthesizers.ddsp_piano.official import POLYPHONY
from synthesizers.ddsp_piano.partials import NYQUIST, SAMPLE_RATE, amplitudes, partials
from synthesizers.ddsp_piano.playing import BLOCK, BLOCKS_AT_ONCE, hear, play
from synthesizers.ddsp_piano.reverb import Reverb
from tests.paths import EXAMPLE_SCORES
from tests.synthesizers.ddsp_piano_checkpoints import published_weights

PIANO = 8
"""Of 2017, the default."""
ROW = "{:<40} {:>6} {:>8} {:>7} {:>8} {:>9} {:>8} {:>12} {:>6}"
HEADER = ("piece", "notes", "sound s", "plain x", "same x", "default x", "ours/pl.", "correlation", "load")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("performances", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each performance")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=published_weights())
    parser.add_argument("--no-plain", action="store_true")
    given = parser.parse_args()
    if given.weights is None:
        raise SystemExit("the published weights are not here: score-to-audio models pull ddsp-piano")
    torch.set_num_threads(given.threads)
    model = read_model(given.weights)
    found = {"checkpoint": checkpoints.find(str(given.weights))}
    synthesizer = DdspPianoSynthesizer(DdspPianoParameters(), checkpoints=found, device="cpu")
    print(f"times real time, {given.threads} thread(s)")
    print(ROW.format(*HEADER), flush=True)
    for name, performance in performances(given.performances, given.seconds):
        measure(name, performance, model, synthesizer, plain=not given.no_plain)
    print(f"memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def performances(paths: list[Path], seconds: float) -> list[tuple[str, Performance]]:
    if paths:
        return [(str(path), cut_notes(read_performance(path), 0, seconds)) for path in paths]
    renderer = build(resolve("renderer", "kth-rules"))
    return [
        (path.stem, cut_notes(renderer.render(read_score(path), seed=0), 0, seconds))
        for path in sorted(EXAMPLE_SCORES.glob("*.musicxml"))
    ]


def measure(
    name: str, performance: Performance, model: DdspPiano, synthesizer: DdspPianoSynthesizer, *, plain: bool
) -> None:
    given = published_input(performance, model.tail)
    sound, same = timed(lambda: ours(model, given))
    waveform, default = timed(lambda: synthesizer.synthesize(performance, prompt=None, seed=0))
    seconds = len(sound) / SAMPLE_RATE
    figures = ["", f"{seconds / same:.1f}", f"{waveform.duration / default:.1f}", "", ""]
    if plain:
        reference, slow = timed(lambda: plainly(model, given), repeats=1)
        correlation = float(np.corrcoef(sound, reference)[0, 1])
        figures[0], figures[3:] = f"{seconds / slow:.2f}", [f"{slow / same:.1f}", f"{correlation:.5f}"]
    row = (name[-40:], len(performance), f"{seconds:.1f}", *figures, f"{os.getloadavg()[0]:.1f}")
    print(ROW.format(*row), flush=True)


Result = TypeVar("Result")


def timed(work: Callable[[], Result], repeats: int = 2) -> tuple[Result, float]:
    """What the work gives, and its seconds of processor time."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        result = work()
        seconds.append(time.process_time() - started)
    return result, min(seconds)


def published_input(performance: Performance, tail: int) -> Conditioning:
    """Sixteen voices, and silence at the end for the room."""
    keys = Notes(performance.onset, performance.offset, performance.pitch, performance.velocity)
    controls = performance.controls
    pedal = controls.number == SUSTAIN
    notes, end = sustained(keys, controls.time[pedal], controls.value[pedal], float(keys.offset.max()))
    roll = piano_roll(notes, end)
    frames = len(roll.velocity)
    controllers = controller_roll(controls.time, controls.number, controls.value, frames)
    return conditioning(roll, controllers, frames + tail, polyphony=POLYPHONY)


def ours(model: DdspPiano, given: Conditioning) -> NDArray[Any]:
    heard = hear(model, given, PIANO, mute=False)
    return np.concatenate(list(play(model, heard, PIANO, white_noise(0))))


# ------------------------------------------------------------------------------------- the same, plainly


@torch.inference_mode()
def plainly(model: DdspPiano, given: Conditioning) -> NDArray[Any]:
    pitch, velocity, pedal = (torch.from_numpy(x) for x in (given.pitch, given.velocity, given.pedal))
    held = model.note_release(pitch)
    inputs = model.context.inputs(pitch, velocity, pedal, model.piano.embedding[PIANO])
    states = layer(model.context.gru, leaky(model.context.dense_in(inputs))[:, None])
    context = model.context.dense_out(normed(model.context.norm, states))
    inputs = model.mono.inputs(torch.stack([held, pitch, velocity]), context)
    states = layer(model.mono.gru, leaky(model.mono.dense_in(inputs)))
    raw = model.mono.dense_out(normed(model.mono.norm, model.mono.hidden(states)))
    of, dry = partials(model, PIANO), torch.zeros(len(given) * HOP)
    white = noise_of(len(given))
    for voice, one in enumerate(held.t().long()):
        loudness = amplitudes(raw[:, voice, : 1 + PARTIALS], one, of).partials
        dry += additive(of.frequency[one], loudness)
        dry += noise(magnitudes(raw[:, voice, 1 + PARTIALS :].clone()), white[:, voice])
    return Reverb(model.piano.reverb_ir[PIANO]).block(dry).numpy()


def layer(gru: Gru, x: Tensor) -> Tensor:
    """The same as ``gru`` from the state 0, by ``torch.nn.GRU``, whose order is reset, update, new."""

    def reordered(kernel: Tensor) -> Tensor:
        update, reset, new = kernel.chunk(3, -1)
        return torch.cat([reset, update, new], -1)

    found = nn.GRU(x.shape[-1], gru.units)
    found.weight_ih_l0.copy_(reordered(gru.kernel).t())
    found.weight_hh_l0.copy_(reordered(gru.recurrent_kernel).t())
    found.bias_ih_l0.copy_(reordered(gru.bias[0]))
    found.bias_hh_l0.copy_(reordered(gru.bias[1]))
    states: Tensor = found(x)[0]
    return states


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    """[T, R, channels]"""
    moments = Moments(x.shape[1])
    moments.add(x)
    result: Tensor = norm(x, moments.result())
    return result


def noise_of(frames: int) -> Tensor:
    """[T, 16, 64]: the noise that ``ours`` draws, block by block of 1000 frames."""
    white, size = white_noise(0), BLOCK * BLOCKS_AT_ONCE
    parts = []
    for first in range(0, frames, size):
        rows = torch.arange(min(size, frames - first) * POLYPHONY)
        parts.append(white(first, rows, rows).unflatten(0, (-1, POLYPHONY)))
    return torch.cat(parts)


def additive(frequency: Tensor, loudness: Tensor) -> Tensor:
    """Frames [T, 2, 96] and [T, 96] -> samples [T * 64]."""
    step = torch.arange(HOP) / HOP
    fade = 0.5 - 0.5 * torch.cos(math.pi * step)

    def between(x: Tensor, weight: Tensor) -> Tensor:
        following = torch.cat([x[1:], x[-1:]])
        return torch.lerp(x[..., None], following[..., None], weight).movedim(0, -2).flatten(-2)

    faded = between(loudness, fade)
    sound = torch.zeros(len(frequency) * HOP)
    for string in frequency.unbind(1):
        by_sample = between(string, step)
        phase = (by_sample.double() / SAMPLE_RATE).cumsum(-1)
        waves = (2 * math.pi * (phase - phase.floor())).float().cos()
        sound += (waves * (by_sample < NYQUIST) * faded).sum(0)
    return sound


def noise(magnitude: Tensor, white: Tensor) -> Tensor:
    """Frames [T, 64] and white noise [T, 64] -> samples [T * 64]."""
    window = torch.hann_window(TAPS)
    response = torch.fft.irfft(magnitude.to(torch.complex64), TAPS).roll(TAPS // 2, 1) * window
    size = HOP + TAPS - 1
    filtered = torch.fft.irfft(torch.fft.rfft(white, 256) * torch.fft.rfft(response, 256), 256)[:, :size]
    length = (len(white) - 1) * HOP + size
    added = functional.fold(filtered.t()[None], (1, length), (1, size), stride=(1, HOP)).flatten()
    start = TAPS // 2 - DELAY
    return added[start : start + len(white) * HOP]


if __name__ == "__main__":
    main()
