"""How well an independent transcriber hears what a synthesizer was asked to play.

    python -m benchmarks.transcription_judge [--synthesizer sampled-piano] [--set piano=2017] [--seconds 60]
        [--split validation] [--threads 2] [PERFORMANCE.mid ...]

Each performance is synthesized, transcribed by transkun 2.0.1 and compared with what was played (see
score_to_audio/comparison/evaluation/transcription.py). Without files: three performances of a split of the
corpus, in the unpacked folder that SCORE_TO_AUDIO_CORPUS names. Needs the extra ``evaluation``; takes
about four seconds of processor time per second of music.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from adapters.transcription import transcribe
from score_to_audio.comparison.derived import cut_notes
from score_to_audio.comparison.evaluation.transcription import scores
from score_to_audio.formats.midi import read_performance
from score_to_audio.registry import ResolvedPlugin, build, resolve

PERFORMANCES = {
    "test": (
        "Bach/Fugue/bwv_857/Lan01M.mid",
        "Chopin/Etudes_op_10/12/LuoJ08M.mid",
        "Rachmaninoff/Preludes_op_32/5/Namirovsky06M.mid",
    ),
    "validation": (
        "Bach/Prelude/bwv_875/Ahfat01M.mid",
        "Liszt/Transcendental_Etudes/1/LuoJ05M.mid",
        "Mozart/Piano_Sonatas/12-1/MunA03M.mid",
    ),
}
ROW = "{:40} {:>6} {:>9} {:>8} {:>9} {:>10} {:>9} {:>9} {:>7}"
HEADER = (
    "performance",
    "notes",
    "precision",
    "recall",
    "onset F1",
    "offset F1",
    "velocity",
    "error ms",
    "CPU s",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("performances", nargs="*", type=Path)
    parser.add_argument("--synthesizer", default="sampled-piano")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the synthesizer")
    parser.add_argument("--seconds", type=float, default=1e9, help="of each performance, from its start")
    parser.add_argument("--split", choices=PERFORMANCES, default="test")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    print(ROW.format(*HEADER), flush=True)
    synthesizer = resolve("synthesizer", given.synthesizer, dict(one.split("=", 1) for one in given.set))
    for path in given.performances or corpus_performances(given.split):
        judge(synthesizer, path, given.seconds)


def corpus_performances(split: str) -> list[Path]:
    corpus = os.environ.get("SCORE_TO_AUDIO_CORPUS")
    if not corpus:
        raise SystemExit("set SCORE_TO_AUDIO_CORPUS to the unpacked corpus, or name MIDI files")
    return [Path(corpus) / name for name in PERFORMANCES[split]]


def judge(synthesizer: ResolvedPlugin, path: Path, seconds: float) -> None:
    start = time.process_time()
    performance = cut_notes(read_performance(path), 0, seconds)
    sound = build(synthesizer).synthesize(performance, prompt=None, seed=0)
    found = scores(performance, transcribe(sound))
    figures = (
        f"{value:.4f}"
        for value in (
            found.onset_precision,
            found.onset_recall,
            found.onset_f1,
            found.offset_f1,
            found.velocity_correlation,
        )
    )
    error, seconds = f"{1000 * found.onset_error:.1f}", f"{time.process_time() - start:.0f}"
    print(ROW.format(str(path)[-40:], found.notes, *figures, error, seconds), flush=True)


if __name__ == "__main__":
    main()
