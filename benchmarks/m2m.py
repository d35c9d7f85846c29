"""M2M's speed at full size with filled weights, beside the official figures.

    python -m benchmarks.m2m [--threads 1] [--device cuda]

The piece: 417 notes, as many as the official figures were taken on (fact sheet, section 8).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from renderers.m2m import tokens
from renderers.m2m.network import M2MNetwork, NetworkConfig
from renderers.m2m.performance import score_notes
from renderers.m2m.windows import probabilities
from score_to_audio.formats.midi import performance_to_midi
from score_to_audio.registry import build, resolve
from score_to_audio.testing import example_score
from score_to_audio.types import KeySignature, Measure, ParsedScore, Score, ScoreNotes, TimeSignature
from tests.parity.golden_files import fill

OFFICIAL = {"tokens": 0.004, "network": 0.184, "sampling": 0.041, "decoding": 0.023, "all": 0.260}
"""Seconds on one thread, medians of 3 (autograd left on, as in the published script)."""
NOTES = 417


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    network = M2MNetwork(NetworkConfig())
    fill(network, "open")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m2m.ckpt"
        torch.save({"state_dict": network.state_dict()}, path)
        model = build(resolve("renderer", "m2m", {"checkpoint": str(path)}, device=arguments.device))
    score = made_up_score(NOTES)
    encoded = tokens.encode(score_notes(score.parsed)[1])
    network = network.requires_grad_(False).eval().to(arguments.device)
    with torch.inference_mode():
        network_only = median(lambda: probabilities(network, encoded, 0))
    whole = median(lambda: performance_to_midi(model.render(score, seed=0)))
    long = median(lambda: model.render(made_up_score(20 * NOTES), seed=0), repeats=3)
    print(f"{NOTES} notes, {arguments.device}, {arguments.threads} thread(s), processor time")
    print(f"{'':<28}{'official s':>12}{'ours s':>10}{'times':>8}")
    rows = (
        ("network, distributions", OFFICIAL["network"], network_only),
        ("score to MIDI", OFFICIAL["all"], whole),
    )
    for name, official, ours in rows:
        print(f"{name:<28}{official:>12.3f}{ours:>10.3f}{official / ours:>8.1f}")
    print(f"{f'render, {20 * NOTES} notes':<28}{'':>12}{long:>10.3f}")


def median(work: Callable[[], object], repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return statistics.median(times[1:])


def made_up_score(count: int) -> Score:
    """Notes at random places of a 4/4 grid."""
    generator = np.random.default_rng(0)
    onset = np.sort(generator.integers(0, count, count)) / 2
    pitch = generator.integers(36, 90, count)
    order = np.lexsort((pitch, onset))
    zeros = np.zeros(count, np.int64)
    notes = ScoreNotes(
        id=tuple(f"n{index}" for index in range(count)),
        onset=onset[order],
        duration=np.full(count, 0.5),
        pitch=pitch[order],
        spelling=("C4",) * count,
        voice=zeros + 1,
        staff=zeros + 1,
        part=zeros,
        measure=zeros,
        grace=("",) * count,
        marks=(frozenset(),) * count,
    )
    end = float(onset[-1] + 1)
    parsed = ParsedScore(
        *("", ""),
        parts=("Piano",),
        notes=notes,
        slurs=(),
        directions=(),
        measures=(Measure(0.0, end, "1", 0),),
        time_signatures=(TimeSignature(0.0, 4, 4),),
        key_signatures=(KeySignature(0.0, 0, "major"),),
    )
    return Score(example_score().path, b"", lambda _: parsed)


if __name__ == "__main__":
    main()
