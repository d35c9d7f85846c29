"""In which order the measures of a score are played: repeats, voltas, da capo, dal segno, coda and fine."""

from __future__ import annotations

from collections.abc import Sequence

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.written import WrittenMeasure

MAX_PLAYED_MEASURES = 20_000
"""Most measures as played; the longest score of the ASAP corpus plays fewer than 1,000."""
MAX_STEPS = 20 * MAX_PLAYED_MEASURES
"""Most measures played or passed over (other endings) on the way."""


def playing_order(measures: Sequence[WrittenMeasure], *, repeats: bool, name: str) -> list[int]:
    """Indices of the measures in the order in which they are played.

    With ``repeats``: repeats and voltas are taken, da capo and dal segno followed once each; after such a
    jump repeats are not taken again (but the last ending is), and fine and coda hold. Without: every
    measure once from start to end, all but the last ending of a repeat left out.
    Raises ``InputError`` where more than ``MAX_PLAYED_MEASURES`` would be played.
    """
    groups = _ending_groups(measures)
    if not repeats:
        return [i for i, m in enumerate(measures) if not m.endings or groups[i][1] in m.endings]
    order: list[int] = []
    taken: set[int] = set()
    jumped = False
    start, times_through, i = 0, 1, 0
    for _ in range(MAX_STEPS):
        if i >= len(measures):
            return order
        measure = measures[i]
        after_endings = i > 0 and not measure.endings and bool(measures[i - 1].endings)
        if i != start and (measure.repeat_start or after_endings):
            start, times_through = i, 1
        first_ending, last_ending = groups[i]
        wanted = last_ending if jumped else max(times_through, first_ending)
        if measure.endings and wanted not in measure.endings:
            i += 1
            continue
        order.append(i)
        if len(order) > MAX_PLAYED_MEASURES:
            break
        passes = max(measure.repeat_end, last_ending) if measure.repeat_end else 0
        if times_through < passes and (not jumped or measure.repeat_after_jump):
            times_through += 1
            i = start
            continue
        if measure.repeat_end and times_through >= passes:
            start, times_through = i + 1, 1
        target = None
        if jumped:
            if measure.fine:
                return order
            if measure.to_coda is not None:
                coda = _find(measures, "coda", measure.to_coda)
                target = coda if coda is not None and coda > i else None
        if target is None and i not in taken:
            target = 0 if measure.da_capo else None
            if measure.dal_segno is not None:
                target = _find(measures, "segno", measure.dal_segno)
            if target is not None:
                taken.add(i)
                jumped = True
        if target is None:
            i += 1
        else:
            i = start = target
            times_through = 1
    raise InputError(
        f"{name}: with its repeats more than {MAX_PLAYED_MEASURES:,} measures are to be played "
        f"(the repeats around measure {measures[order[-1]].number}); correct the repeat signs, or set the "
        "score option repeats=False"
    )


def _ending_groups(measures: Sequence[WrittenMeasure]) -> list[tuple[int, int]]:
    """For every measure the lowest and highest number among the voltas that it adjoins; 0 outside voltas."""
    result = [(0, 0)] * len(measures)
    begin = 0
    for i, measure in enumerate(measures):
        if not measure.endings:
            begin = i + 1
            continue
        if i > begin and _starts_anew(measures, i):
            begin = i
        if i + 1 == len(measures) or not measures[i + 1].endings or _starts_anew(measures, i + 1):
            numbers = [number for inside in measures[begin : i + 1] for number in inside.endings]
            result[begin : i + 1] = [(min(numbers), max(numbers))] * (i + 1 - begin)
    return result


def _starts_anew(measures: Sequence[WrittenMeasure], i: int) -> bool:
    """A first ending after a later one belongs to another repeat."""
    return 1 in measures[i].endings and 1 not in measures[i - 1].endings


def _find(measures: Sequence[WrittenMeasure], sign: str, label: str) -> int | None:
    """The first measure with the sign of that label, else the first with any such sign."""
    found = [(i, getattr(measure, sign)) for i, measure in enumerate(measures) if getattr(measure, sign)]
    return next((i for i, labels in found if label in labels), found[0][0] if found else None)
