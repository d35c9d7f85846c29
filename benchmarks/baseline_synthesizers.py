"""Speed, memory and level of the synthesizers that need no checkpoint.

    python -m benchmarks.baseline_synthesizers [--synthesizer sampled-piano] [PERFORMANCE.mid ...]

Each piece runs in a process of its own, so that loading and memory are counted afresh. Times are processor
time of one core (other work on the machine matters little). Without files: a minute and half an hour of dense
broken chords under the pedal.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from score_to_audio.types import SUSTAIN, Controls, Performance

HEADER = ("piece", "notes", "seconds", "load s", "first x", "again x", "MB", "LUFS", "dBTP")
ROW = "{:36} {:>6} {:>8} {:>7} {:>8} {:>8} {:>6} {:>7} {:>7}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("performances", nargs="*", help="MIDI files, or minutes of broken chords")
    parser.add_argument("--synthesizer", default="sampled-piano")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        measure(given.synthesizer, given.performances[0])
        return
    print(ROW.format(*HEADER), flush=True)
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for piece in given.performances or ["1", "30"]:
        command = [
            sys.executable,
            "-m",
            "benchmarks.baseline_synthesizers",
            "--one",
            "--synthesizer",
            given.synthesizer,
            piece,
        ]
        subprocess.run(command, check=True, env=one_thread)


def measure(name: str, piece: str) -> None:
    performance = performance_called(piece)
    start = time.process_time()
    from score_to_audio.registry import build, resolve

    synthesizer = build(resolve("synthesizer", name))
    synthesizer.synthesize(performance_called("0.01"), prompt=None, seed=0)
    load = time.process_time() - start
    seconds, first = play(synthesizer, performance)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    _, again = play(synthesizer, performance)
    loudness, peak = levels(synthesizer, performance)
    figures = f"{load:.2f}", f"{seconds / first:.0f}", f"{seconds / again:.0f}", f"{memory:.0f}"
    row = piece[-36:], len(performance), f"{seconds:.0f}", *figures, f"{loudness:.1f}", f"{peak:.1f}"
    print(ROW.format(*row), flush=True)


def play(synthesizer: object, performance: Performance) -> tuple[float, float]:
    """Seconds of sound, and of processor time that it took."""
    start = time.process_time()
    stream = synthesizer.stream(performance, prompt=None, seed=0)  # type: ignore[attr-defined]
    samples = sum(block.shape[1] for block in stream.blocks)
    return samples / stream.sample_rate, time.process_time() - start


def levels(synthesizer: object, performance: Performance) -> tuple[float, float]:
    """LUFS and dBTP of the first five minutes."""
    from score_to_audio.levels import integrated_loudness, true_peak

    stream = synthesizer.stream(performance, prompt=None, seed=0)  # type: ignore[attr-defined]
    blocks = [block for block, _ in zip(stream.blocks, range(300), strict=False)]
    samples = np.concatenate(blocks, axis=1)
    return integrated_loudness(samples, stream.sample_rate), 20 * np.log10(true_peak(samples))


def performance_called(piece: str) -> Performance:
    if Path(piece).is_file():
        from score_to_audio.formats.midi import read_performance

        return read_performance(Path(piece))
    return broken_chords(float(piece))


def broken_chords(minutes: float) -> Performance:
    """Twelve notes a second over five octaves, the pedal changed every two seconds."""
    onset = np.arange(0, max(60 * minutes, 1 / 12), 1 / 12)
    count = np.arange(len(onset))
    changes = np.arange(0, onset[-1] + 0.1, 2.0)
    controls = Controls(
        np.stack([changes, changes + 0.1], axis=1).reshape(-1),
        np.full(2 * len(changes), SUSTAIN),
        np.tile([0, 127], len(changes)),
    )
    return Performance(onset, onset + 0.2, 36 + (7 * count) % 60, 40 + (5 * count) % 60, controls)


if __name__ == "__main__":
    main()
