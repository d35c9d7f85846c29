"""The score for VirtuosoNet: notes with their marks, beats, measures and sections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from renderers.virtuosonet.directions import Marks, read_marks
from renderers.virtuosonet.lookup import binary_index
from renderers.virtuosonet.meter import Meter, measure_length, read_meter, without_gaps
from renderers.virtuosonet.musicxml import read_document
from renderers.virtuosonet.notation import Compatibility, PlayedMeasure, XmlDocument, XmlNote
from renderers.virtuosonet.notes import read_notes

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


@dataclass(frozen=True)
class Locations:
    """[N] indices of the beat, measure and voice of each note; beats and measures without gaps."""

    beat: NDArray[np.int64]
    measure: NDArray[np.int64]
    voice: NDArray[np.int64]


@dataclass(frozen=True)
class NoteScore:
    """N notes in playing order with their marks and meter. Positions and durations are in divisions."""

    notes: list[XmlNote]
    marks: list[Marks]
    meter: Meter
    measure_lengths: list[float]
    """Divisions; the last measure has that of the one before."""
    locations: Locations

    def column(self, name: str) -> NDArray[np.float64]:
        """[N] an attribute of the notes."""
        return np.array([getattr(note, name) for note in self.notes], dtype=np.float64)


def read_note_score(
    root: Element,
    *,
    name: str,
    order: Sequence[PlayedMeasure] | None = None,
    compatibility: Compatibility = "none",
) -> NoteScore:
    """The notes of a MusicXML tree. Options and errors as of ``read_document``."""
    document = read_document(root, name=name, order=order, compatibility=compatibility)
    meter = read_meter(document, compatibility)
    notes = read_notes(document, compatibility)
    marks = read_marks(document, notes)
    voices = np.array([note.voice for note in notes], dtype=np.int64)
    return NoteScore(
        notes=notes,
        marks=marks,
        meter=meter,
        measure_lengths=_measure_lengths(document, meter),
        locations=Locations(located(notes, meter.beats), located(notes, meter.measures), voices),
    )


def _measure_lengths(document: XmlDocument, meter: Meter) -> list[float]:
    starts = meter.measures
    lengths = [after - before for before, after in pairwise(starts)]
    if lengths:
        return [*lengths, lengths[-1]]
    signature = meter.time_signature_at(0)
    full = signature.divisions * signature.numerator / signature.denominator * 4
    return [measure_length(0, document.parts[0].measures, full)]


def located(notes: Sequence[XmlNote], positions: Sequence[float]) -> NDArray[np.int64]:
    """[N] index of the latest position at or before each note, without gaps."""
    indices = [binary_index(positions, note.position) for note in notes]
    return np.array(without_gaps(indices), dtype=np.int64)


def total_length(notes: Sequence[XmlNote]) -> float:
    """Divisions to the latest end. The search runs backwards and stops at a note that ends more than four
    times its own duration before the onset of the latest one."""
    latest = notes[-1]
    for note in reversed(notes[1:]):
        if note.end > latest.end:
            latest = note
        elif note.end < latest.position - 4 * note.duration:
            break
    return latest.end if latest.end > 0 else math.inf
