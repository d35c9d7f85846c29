"""Speed of the renderers that need no checkpoint: prints processor time per score size.

python -m benchmarks.baseline_renderers
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from renderers import dynamics, pedalling, tempo
from renderers.score_playback import render as play
from score_to_audio.types import (
    Direction,
    KeySignature,
    Measure,
    ParsedScore,
    ScoreNotes,
    Slur,
    TimeSignature,
)

MARKS = ("staccato", "accent", "tenuto", "trill-mark", "turn", "arpeggiate", "fermata", "tremolo-3")
SPELLINGS = ("C4", "D4", "E4", "F#4", "G4", "A4", "Bb4", "C5")
PITCHES = np.array([60, 62, 64, 66, 67, 69, 70, 72])


def random_score(notes: int, marked: float, seed: int = 0) -> ParsedScore:
    """Four voices on two staves in sixteenths; ``marked``: share of notes with a sign, and of grace notes /
    2."""
    rng = np.random.default_rng(seed)
    onset = np.repeat(np.arange(-(-notes // 4)) / 4, 4)[:notes]
    voice = np.tile([1, 2, 5, 6], -(-notes // 4))[:notes]
    which = rng.integers(0, 8, notes)
    sign = np.where(rng.random(notes) < marked, rng.integers(0, len(MARKS), notes), -1)
    is_grace = rng.random(notes) < marked / 2
    end = float(onset[-1]) + 1
    order = np.lexsort((PITCHES[which], ~is_grace, onset))
    measures = tuple(Measure(i * 4.0, i * 4.0 + 4, str(i + 1), i) for i in range(int(end // 4) + 1))
    directions = [
        direction
        for place in np.arange(0, end, 16.0).tolist()
        for direction in (
            Direction("dynamic", place, place, "p" if place % 32 else "f", part=0, staff=1),
            Direction("hairpin", place + 8, place + 16, "crescendo", part=0, staff=1),
            Direction("tempo-change", place + 12, place + 16, "rit."),
            Direction("tempo-reset", place, place, "a tempo"),
            Direction("pedal", place, place + 4, "sustain", part=0),
        )
    ]
    return ParsedScore(
        title="",
        composer="",
        parts=("Piano",),
        notes=ScoreNotes(
            id=tuple(f"n{i}" for i in range(notes)),
            onset=onset[order],
            duration=np.where(is_grace, 0.0, 0.25)[order],
            pitch=PITCHES[which][order] + np.where(voice[order] < 5, 0, -12),
            spelling=tuple(SPELLINGS[i] for i in which[order]),
            voice=voice[order],
            staff=np.where(voice < 5, 1, 2)[order],
            part=np.zeros(notes, np.int64),
            measure=(onset[order] // 4).astype(np.int64),
            grace=tuple("acciaccatura" if grace else "" for grace in is_grace[order]),
            marks=tuple(frozenset([MARKS[i]] if i >= 0 else []) for i in sign[order]),
        ),
        slurs=tuple(Slur(i, i + 8) for i in range(0, notes - 9, 16)),
        directions=tuple(sorted(directions, key=lambda direction: direction.onset)),
        measures=measures,
        time_signatures=(TimeSignature(0.0, 4, 4),),
        key_signatures=(KeySignature(0.0, 1, "major"),),
    )


def processor_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Best of a few runs, in seconds of processor time: other programs may share the machine."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def main() -> None:
    print("seconds of processor time")
    print("  notes  signs    score     tempo  dynamics  harmonic pedal")
    for notes, marked in ((1_000, 0.1), (20_000, 0.0), (20_000, 0.1), (20_000, 1.0), (100_000, 0.1)):
        score = random_score(notes, marked)
        times = tempo.time_map(score)
        onset = times.to_seconds(score.notes.onset)
        beats = times.to_seconds(np.arange(0, tempo.score_end(score), 0.5))
        work = (
            partial(play, score),
            partial(tempo.time_map, score),
            partial(dynamics.note_levels, score),
            partial(pedalling.harmonic_pedal, onset, onset + 0.2, score.notes.pitch, beats),
        )
        print(f"{notes:7d} {marked:6.0%} " + " ".join(f"{processor_seconds(one):9.3f}" for one in work))


if __name__ == "__main__":
    main()
