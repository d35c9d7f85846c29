"""Tuplets of MEI that are no elements around their notes: <tupletSpan>, and attributes of notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from score_to_audio.formats.scores.mei_values import reference, tuplet_ratio, written_duration

_EVENTS = ("note", "chord", "rest", "space")


def tuplet_spans(score: Any, by_id: Mapping[str, Any]) -> dict[Any, Fraction]:
    """Notes, chords, rests and spaces below a <tupletSpan> -> by how much they are shortened."""
    spans = list(score.iter("tupletSpan"))
    layers: dict[tuple[str, str], list[Any]] = {}
    places: dict[Any, tuple[list[Any], int]] = {}
    for element in score.iter(*_EVENTS):
        parent = element.getparent()
        if element.tag == "note" and parent.tag == "chord":
            places[element] = places[parent]
            continue
        layer = next(element.iterancestors("layer", "staff"), None)
        staff = next(element.iterancestors("staff"), None)
        if layer is not None and staff is not None:
            row = layers.setdefault((staff.get("n"), layer.get("n")), [])
            places[element] = row, len(row)
            row.append(element)
    ratios: dict[Any, Fraction] = {}
    for span in spans:
        first, last = (places.get(by_id.get(reference(span.get(key)))) for key in ("startid", "endid"))
        if first is None or last is None or first[0] is not last[0]:
            continue
        for element in first[0][first[1] : last[1] + 1]:
            if next(element.iterancestors("tuplet"), None) is None:
                ratios[element] = ratios.get(element, Fraction(1)) * tuplet_ratio(span)
    for row in layers.values():
        _add_tuplet_attributes(row, ratios)
    return ratios


def _add_tuplet_attributes(row: Sequence[Any], ratios: dict[Any, Fraction]) -> None:
    """Tuplets as "i1", "m1", "t1" at their notes, without a number: as many as of the shortest value."""
    group: list[Any] = []
    for element in row:
        mark = (element.get("tuplet") or "")[:1]
        if mark == "i":
            group = []
        if mark in ("i", "m", "t"):
            group.append(element)
        if mark != "t":
            continue
        values = [value for one in group if (value := written_duration(one)) is not None]
        is_told = any(one in ratios or next(one.iterancestors("tuplet"), None) is not None for one in group)
        number = sum(values) / min(values) if values else 0
        if not is_told and number in (3, 5, 6, 7, 9):
            ratio = Fraction(8 if number == 9 else 4 if number > 4 else 2) / number
            ratios.update((one, ratio) for one in group)
