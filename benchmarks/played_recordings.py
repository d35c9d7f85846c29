"""Recordings to train miniatures on: the sampled piano plays excerpts of the corpus.

    python -m benchmarks.played_recordings FOLDER [--split train] [--excerpts 140] [--seconds 40 80]
        [--rooms off small hall] [--tilt -2 1.5] [--level -30 -20] [--seed 0]

Writes ``NAME.wav`` (32 kHz, mono, 16 bits) and ``NAME.mid`` from one performance per piece, in turn. Each
excerpt has a room, a tilt of its spectrum (dB per octave, around 1 kHz) and a level (RMS, dB of full scale)
of its own, drawn from the seed; they are in ``index.csv``. Reads the unpacked corpus that
SCORE_TO_AUDIO_CORPUS names. Two hours of sound take eight minutes of processor time.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from adapters.sampled_piano import played
from score_to_audio.adjustments import cut_notes
from score_to_audio.formats.audio import collect
from score_to_audio.formats.midi import read_performance, write_performance
from score_to_audio.formats.resampling import resample
from score_to_audio.seeding import numpy_generator
from score_to_audio.types import Waveform

RATE = 32_000
"""Hz"""
ROOMS = ("off", "small", "hall")
PEAK = 0.95
FEWEST_NOTES = 40
"""Excerpts with fewer are drawn again."""
INDEX = "index.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--excerpts", type=int, default=140)
    parser.add_argument("--seconds", type=float, nargs=2, default=(40.0, 80.0), metavar=("LEAST", "MOST"))
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=ROOMS)
    parser.add_argument("--tilt", type=float, nargs=2, default=(-2.0, 1.5), metavar=("LEAST", "MOST"))
    parser.add_argument("--level", type=float, nargs=2, default=(-30.0, -20.0), metavar=("LEAST", "MOST"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    corpus = os.environ.get("SCORE_TO_AUDIO_CORPUS")
    if not corpus:
        raise SystemExit("set SCORE_TO_AUDIO_CORPUS to the unpacked corpus")
    given.folder.mkdir(parents=True, exist_ok=True)
    random = numpy_generator(given.seed)
    rows = [("name", "performance", "start", "seconds", "room", "tilt", "level")]
    chosen = performances(Path(corpus), given.split, random)
    for number, path in zip(range(given.excerpts), chosen, strict=False):
        name = f"{number:03d}"
        conditions = record(Path(corpus) / path, given.folder / name, given, random)
        rows.append((name, str(path), *conditions))
        print(*rows[-1], flush=True)
    with (given.folder / INDEX).open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def performances(corpus: Path, split: str, random: np.random.Generator) -> Iterator[Path]:
    """One of each piece in random order, then a second one of each, and so on."""
    pieces: dict[str, list[Path]] = {}
    with (corpus / "performances.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == split:
                pieces.setdefault(row["folder"], []).append(Path(row["folder"]) / row["performance"])
    shuffled = [[found[index] for index in random.permutation(len(found))] for found in pieces.values()]
    random.shuffle(shuffled)
    return (one for one in chain.from_iterable(zip_longest(*shuffled)) if one is not None)


def record(
    performance: Path, target: Path, given: argparse.Namespace, random: np.random.Generator
) -> tuple[str, ...]:
    """Write one excerpt; returns start, seconds, room, tilt and level."""
    whole = read_performance(performance)
    while True:
        length = min(random.uniform(*given.seconds), whole.end)
        start = random.uniform(0.0, whole.end - length)
        notes = ((whole.onset >= start) & (whole.onset < start + length)).sum()
        if notes >= min(FEWEST_NOTES, len(whole)):
            break
    excerpt = cut_notes(whole, start, start + length)
    room = given.rooms[random.integers(len(given.rooms))]
    tilt, level = random.uniform(*given.tilt), random.uniform(*given.level)
    sound = collect(played(excerpt, room))
    mono = Waveform(sound.samples.mean(axis=0, keepdims=True), sound.sample_rate)
    samples = resample(mono, RATE).samples[0, : round(length * RATE)]
    made = levelled(tilted(samples, tilt), level)
    soundfile.write(target.with_suffix(".wav"), made, RATE, subtype="PCM_16")
    write_performance(excerpt, target.with_suffix(".mid"))
    return f"{start:.2f}", f"{length:.2f}", room, f"{tilt:.2f}", f"{level:.1f}"


def tilted(samples: NDArray[np.float32], tilt: float) -> NDArray[np.float64]:
    """``tilt`` dB per octave between 60 Hz and 12 kHz, level below and above."""
    frequency = np.clip(np.fft.rfftfreq(len(samples), 1 / RATE), 60, 12_000)
    gain = 10 ** (tilt * np.log2(frequency / 1000) / 20)
    return np.fft.irfft(np.fft.rfft(samples) * gain, len(samples))


def levelled(samples: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    gain = 10 ** (level / 20) / np.sqrt(np.mean(samples**2))
    return samples * min(gain, PEAK / np.abs(samples).max())


if __name__ == "__main__":
    main()
