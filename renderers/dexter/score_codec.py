"""The score codec: four numbers per note, and positions in beats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import ParsedScore, TimeSignature


@dataclass(frozen=True)
class ScoreColumns:
    """Notes sorted by (onset, pitch), [N] each."""

    codec: NDArray[np.float32]
    """[N, 4]: onset and duration (in any unit, because they are scaled per window), MIDI pitch, voice."""
    onset_beat: NDArray[np.float32]
    duration_beat: NDArray[np.float32]
    """In notated beats (the denominator of the time signature); 0 for grace notes."""
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, notes: NDArray[np.int64]) -> ScoreColumns:
        """The notes of these indices."""
        return ScoreColumns(
            self.codec[notes],
            self.onset_beat[notes],
            self.duration_beat[notes],
            tuple(self.ids[index] for index in notes),
        )


def score_columns(score: ParsedScore) -> ScoreColumns:
    """The columns of a parsed score, in playing order."""
    notes = score.notes
    onset, end = (
        beats(quarters, score.time_signatures) for quarters in (notes.onset, notes.onset + notes.duration)
    )
    voice = np.where(notes.voice > 0, notes.voice, notes.voice.max(initial=0) + 1)
    table = np.stack([notes.onset, notes.duration, notes.pitch, voice], axis=1)
    order = np.lexsort((notes.pitch, notes.onset))  # stable: unisons keep their order
    return ScoreColumns(
        codec=table[order].astype(np.float32),
        onset_beat=onset[order].astype(np.float32),
        duration_beat=(end - onset)[order].astype(np.float32),
        ids=tuple(notes.id[index] for index in order),
    )


def beats(quarters: NDArray[np.float64], signatures: tuple[TimeSignature, ...]) -> NDArray[np.float64]:
    """Quarter notes -> notated beats (in 6/8: eighths), both from the start; 4/4 where nothing is given."""
    starts = np.array([signature.onset for signature in signatures] or [0.0])
    beats_per_quarter = np.array([signature.beat_type / 4 for signature in signatures] or [1.0])
    starts[0] = 0.0
    passed = np.concatenate([[0.0], np.cumsum(np.diff(starts) * beats_per_quarter[:-1])])
    index = np.clip(np.searchsorted(starts, quarters, side="right") - 1, 0, None)
    return passed[index] + (quarters - starts[index]) * beats_per_quarter[index]
