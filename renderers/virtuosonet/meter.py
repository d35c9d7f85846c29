"""Positions of beats and measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from renderers.virtuosonet.lookup import probing_index
from renderers.virtuosonet.notation import Compatibility, XmlDocument, XmlMeasure, XmlTimeSignature

COMPOUND_BEATS = {6: 2, 9: 3, 12: 4, 18: 3, 24: 4}
"""Numerator -> beats per measure; with other numerators every unit is a beat."""


@dataclass(frozen=True)
class Meter:
    """Positions in divisions from the start of the unrolled score."""

    beats: list[float]
    """Ascending; the first may be negative, because a pickup is counted backwards."""
    measures: list[float]
    time_signatures: list[XmlTimeSignature]
    """In the order of the search by ``time_signature_at``, which is not always sorted."""

    def time_signature_at(self, position: float) -> XmlTimeSignature:
        return self.time_signatures[probing_index(self._signature_positions, position)]

    @cached_property
    def _signature_positions(self) -> list[float]:
        return [signature.position for signature in self.time_signatures]


def read_meter(document: XmlDocument, compatibility: Compatibility) -> Meter:
    """Beats and measures of the first part, time signatures of all; 4/4 where the score has none."""
    measures = document.parts[0].measures
    signatures = _time_signatures(document)
    if not signatures:
        signatures = [XmlTimeSignature(0, 4, 4, _first_divisions(measures), 0.0)]
    if compatibility == "none":
        signatures.sort(key=lambda signature: signature.position)
    meter = Meter([], [measure.start for measure in measures], signatures)
    for index in range(len(measures)):
        _append_beats(meter.beats, index, measures, meter)
    return meter


def _time_signatures(document: XmlDocument) -> list[XmlTimeSignature]:
    """Of all parts in order, without repetitions of the same signature at the same running time."""
    seen: set[tuple[int, int, float]] = set()
    signatures = []
    for part in document.parts:
        for measure in part.measures:
            signature = measure.time_signature
            if signature is None:
                continue
            key = (signature.numerator, signature.denominator, signature.seconds)
            if key not in seen:
                seen.add(key)
                signatures.append(signature)
    return signatures


def _first_divisions(measures: Sequence[XmlMeasure]) -> int:
    return next((note.divisions for measure in measures for note in measure.notes), 1)


def _append_beats(beats: list[float], index: int, measures: Sequence[XmlMeasure], meter: Meter) -> None:
    start = measures[index].start
    signature = meter.time_signature_at(start)
    full = signature.divisions * signature.numerator / signature.denominator * 4
    count = COMPOUND_BEATS.get(signature.numerator, signature.numerator)
    interval = full / count
    actual = measure_length(index, measures, full)
    if actual == full and not measures[index].is_implicit:
        beats.extend(start + beat * interval for beat in range(count))
        return
    count = math.ceil((actual / full) / (1 / count))
    if index == 0 and len(measures) > 1:
        beats.extend(measures[1].start - beat * interval for beat in range(count, 0, -1))
        return
    for beat in range(count):
        position = start + beat * interval
        if not beats or position > beats[-1]:
            beats.append(position)


def measure_length(index: int, measures: Sequence[XmlMeasure], default: float) -> float:
    """Divisions to the next measure; for the last one to the end of its notes, or ``default``."""
    start = measures[index].start
    if index + 1 < len(measures):
        return measures[index + 1].start - start
    ends = [note.end for note in measures[index].notes]
    return max(ends) - start if ends else default


def without_gaps(indices: Sequence[int]) -> list[int]:
    """The indices with jumps reduced to 1 (the first index is compared with 0), so that every beat (measure)
    has a note."""
    result, previous, gap = [], 0, 0
    for index in indices:
        if index - previous > 1:
            gap += index - previous - 1
        result.append(index - gap)
        previous = index
    return result
