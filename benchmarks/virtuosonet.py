"""VirtuosoNet's time from the bytes of a score to the bytes of a performance, stage by stage.

    python -m benchmarks.virtuosonet SCORE.musicxml ... [--checkpoint FILE] [--runs 5] [--grow 20000]

Without a checkpoint the network has the published size and arbitrary weights, which takes the same time.
Seconds are processor time on one thread without loading the model, the smallest of several runs. "plain" is
the network as the published code computes it, for comparison with ``encode`` and ``generate`` together under
the same load. ``--grow`` repeats the first score up to that many notes and reports seconds per thousand
notes.

Published code on the machine of the fact sheet (one thread, median of three, wall time):
beethoven_18-3, 1453 notes: features .24, network .97, post-processing .57, together 1.78 s.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lxml import etree

from adapters.virtuosonet import OFFICIAL_STYLES, read_checkpoint
from renderers.virtuosonet.decoding import decode
from renderers.virtuosonet.features import NORMALISED, OUTPUT_KEYS, WIDTHS, note_features
from renderers.virtuosonet.generation import residual_info
from renderers.virtuosonet.inference import FrozenModel, group_indices
from renderers.virtuosonet.network import NetworkSizes, VirtuosoNetwork
from renderers.virtuosonet.normalisation import Statistics
from renderers.virtuosonet.performance import to_performance
from renderers.virtuosonet.score import read_note_score as read_notes
from score_to_audio.formats.midi import performance_to_midi
from tests.renderers.virtuosonet_plain import plain_generation, plain_gru

PUBLISHED_SIZES = NetworkSizes(84, 256, 256, 256, 256, 256, 256, 256, 16, 8)
OFFICIAL_SECONDS = {
    "bach_bwv868": 0.025 + 0.23 + 0.07,
    "liszt_etude1": 0.037 + 0.34 + 0.12,
    "beethoven_18-3": 0.24 + 0.97 + 0.57,
}
"""Features, network and post-processing of the published code, from the fact sheet, section 7."""

STAGES = ("read", "features", "encode", "generate", "decode", "write")


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    model = Timed(arguments.checkpoint)
    print(
        f"{'score':24}{'notes':>7}"
        + "".join(f"{stage:>10}" for stage in STAGES)
        + f"{'total':>10}{'plain':>10}  official"
    )
    for path in arguments.scores:
        seconds, notes = best(partial(model.run, path.read_bytes()), arguments.runs)
        plain = min(model.run_plainly(path.read_bytes()) for _ in range(arguments.runs))
        _print(path.stem, notes, seconds, plain)
    if arguments.grow:
        _print_growth(model, arguments.scores[0].read_bytes(), arguments.grow, arguments.runs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scores", nargs="+", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--grow", type=int, metavar="NOTES")
    return parser.parse_args()


class Timed:
    """A model whose stages are timed."""

    def __init__(self, checkpoint: Path | None) -> None:
        if checkpoint:
            self.model = FrozenModel(*read_checkpoint(checkpoint))
        else:
            network = VirtuosoNetwork(PUBLISHED_SIZES).requires_grad_(False)
            self.model = FrozenModel(network, _arbitrary_statistics())
        self.z = torch.tensor(OFFICIAL_STYLES[84])[: self.model.network.sizes.style]

    @torch.inference_mode()
    def run(self, content: bytes) -> tuple[list[float], int]:
        """Seconds per stage, and number of notes."""
        clock = [time.process_time()]
        score = read_notes(etree.fromstring(content), name="score")
        clock.append(time.process_time())
        inputs = self.model.inputs(note_features(score, composer="Beethoven"))
        clock.append(time.process_time())
        encoded = self.model.encode(inputs, group_indices(score))
        clock.append(time.process_time())
        outputs = self.model.generate(inputs, encoded, self.z)
        clock.append(time.process_time())
        decoded = decode(score, self.model.statistics.denormalised(outputs.notes))
        result = to_performance(score, decoded, trills=True, note_ids=[note.xml_id for note in score.notes])
        clock.append(time.process_time())
        performance_to_midi(result)
        clock.append(time.process_time())
        return [after - before for before, after in pairwise(clock)], len(score.notes)

    @torch.inference_mode()
    def run_plainly(self, content: bytes) -> float:
        """Seconds of the plain network."""
        score = read_notes(etree.fromstring(content), name="score")
        inputs = self.model.inputs(note_features(score, composer="Beethoven"))
        start = time.process_time()
        encoded = self.model.network.encode(inputs, group_indices(score), plain_gru)
        residuals = residual_info(inputs, self.model.statistics, encoded.groups.measures)
        plain_generation(self.model.network, encoded, residuals, self.z)
        return time.process_time() - start


def _arbitrary_statistics() -> Statistics:
    keys = (*NORMALISED, *OUTPUT_KEYS)
    mean = dict.fromkeys(keys, 0.0) | {"beat_tempo": 1.9, "velocity": 60.0}
    return Statistics(mean, dict.fromkeys(keys, 1.0) | {"beat_tempo": 0.2}, tuple(WIDTHS))


def best(run: Callable[[], tuple[list[float], int]], runs: int) -> tuple[list[float], int]:
    """The run with the smallest total."""
    return min((run() for _ in range(runs)), key=lambda result: sum(result[0]))


def _print(name: str, notes: int, seconds: list[float], plain: float) -> None:
    official = OFFICIAL_SECONDS.get(name)
    total = sum(seconds)
    ratio = f"{official:.2f} ({official / total:.1f} times)" if official else ""
    print(
        f"{name:24}{notes:7}"
        + "".join(f"{s:10.3f}" for s in seconds)
        + f"{total:10.3f}{plain:10.3f}  {ratio}"
    )


def _print_growth(model: Timed, content: bytes, most: int, runs: int) -> None:
    notes = model.run(content)[1]
    repeats = 1
    while notes * repeats < most:
        repeats *= 2
        seconds, count = best(partial(model.run, _grown(content, repeats)), min(runs, 3))
        per_thousand = "".join(f"{1000 * s / count:10.4f}" for s in seconds)
        print(f"{'s per 1000 notes':24}{count:7}{per_thousand}{1000 * sum(seconds) / count:10.4f}")


def _grown(content: bytes, repeats: int) -> bytes:
    """The score with the measures of each part several times in a row."""
    root: Any = etree.fromstring(content)
    for part in root.findall("part"):
        measures = part.findall("measure")
        for _ in range(repeats - 1):
            part.extend([copy.deepcopy(measure) for measure in measures])
    grown: bytes = etree.tostring(root)
    return grown


if __name__ == "__main__":
    main()
