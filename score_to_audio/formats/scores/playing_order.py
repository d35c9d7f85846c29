"""In which order the measures of a score are played: repeats, endings, da capo, dal segno, coda and fine.

The rules stand as a table in docs/reference/scores.md, section "Playing order".
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.repeats import Ending, Repeat, find_repeats, place_of
from score_to_audio.formats.scores.written import (
    MAX_PLAYED_MEASURES,
    Expansion,
    Sign,
    SignKind,
    WrittenMeasure,
)

MOST_NAMED = 8
"""Passages that a notice lists."""


@dataclass(frozen=True)
class PlayingOrder:
    measures: list[int]
    """Indices of the written measures as they are played."""
    notices: list[str]


def playing_order(
    measures: Sequence[WrittenMeasure], *, repeats: bool, name: str, expansions: Sequence[Expansion] = ()
) -> PlayingOrder:
    """The measures in the order in which they are played.

    With ``repeats``: repeats and endings are taken, every da capo and dal segno is followed once. Without:
    every measure once from start to end, of the endings of a repeat the last. ``expansions``: where the score
    itself spells the order out.
    Raises ``InputError`` where more than ``MAX_PLAYED_MEASURES`` would be played.
    """
    spans = _spans(measures, expansions)
    expanded = {one.begin: one.order for one in expansions}
    if not repeats:
        found = [repeat for begin, end in spans for repeat in find_repeats(measures, begin, end)]
        return PlayingOrder([index for repeat in found for index in repeat.played(repeat.passes)], [])
    order: list[int] = []
    notices: list[str] = []
    for begin, end in spans:
        movement = _Movement(measures, begin, end)
        for index in expanded.get(begin) or movement.play():
            order.append(index)
            if len(order) > MAX_PLAYED_MEASURES:
                raise InputError(
                    f"{name}: with its repeats more than {MAX_PLAYED_MEASURES:,} measures are to be played "
                    f"(the repeats around measure {measures[index].number}); correct the repeat signs, or "
                    "set the score option repeats=False"
                )
        notices += movement.notices
    return PlayingOrder(order, notices + _never_played(measures, order))


def _spans(measures: Sequence[WrittenMeasure], expansions: Sequence[Expansion]) -> list[tuple[int, int]]:
    """(first measure, one after the last) of every movement; one with an expansion is one by itself."""
    spans: list[tuple[int, int]] = []
    begin = 0
    for one in [*expansions, Expansion(len(measures), len(measures), ())]:
        spans += [(begin + a, begin + b) for a, b in movements(measures[begin : one.begin]) if b > a]
        spans += [(one.begin, one.stop)] if one.stop > one.begin else []
        begin = one.stop
    return spans


def _never_played(measures: Sequence[WrittenMeasure], order: Sequence[int]) -> list[str]:
    missing = sorted(set(range(len(measures))) - set(order))
    if not missing:
        return []
    breaks = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(missing)) if b != a + 1), len(missing)]
    runs = [(measures[missing[a]].number, measures[missing[b - 1]].number) for a, b in pairwise(breaks)]
    named = [first if first == last else f"{first} to {last}" for first, last in runs]
    listed = ", ".join(named[:MOST_NAMED]) + (", ..." if len(named) > MOST_NAMED else "")
    return [f"never played the measures {listed}, which its repeats and jumps pass over"]


# ----------------------------------------------------------------------------------- one movement


@dataclass(frozen=True)
class _Jump:
    """A da capo or dal segno."""

    measure: int
    target: int
    fines: frozenset[int]
    """Measures after which the repetition is over."""
    codas: dict[int, int]
    """Measure after which playing goes to the coda -> first measure of the coda."""
    with_repeats: bool = False


@dataclass(slots=True)
class _State:
    """What playing has come to."""

    measure: int
    untaken: dict[int, _Jump]
    """Measure -> the jump at its end, if that was not followed yet."""
    pass_: int = 1
    """Of the repeat around the measure."""
    left: set[int] = field(default_factory=set)
    """Starts of the repeats that were played to their end, or left by a jump."""
    jump: _Jump | None = None
    """The da capo or dal segno that is being followed."""
    pass_at_jump: int = 1


class _Move(NamedTuple):
    measure: int
    pass_: int | None = None
    """None for the one that the repeat there is entered in."""


class _Movement:
    """The measures begin..end-1 with their repeats and jumps."""

    def __init__(self, measures: Sequence[WrittenMeasure], begin: int, end: int) -> None:
        self.notices: list[str] = []
        self._measures = measures
        self._begin, self._end = begin, end
        self._repeats = find_repeats(measures, begin, end)
        self._starts = [repeat.start for repeat in self._repeats]
        self._jumps: dict[int, _Jump] = {}
        for index, sign in self._signs(*_JUMPS):
            if index not in self._jumps and (jump := self._jump(index, sign)) is not None:
                self._jumps[index] = jump

    def play(self) -> Iterator[int]:
        """The measures as they are played. Each jump is followed once, so that there is an end."""
        state = _State(self._begin, dict(self._jumps))
        while state.measure < self._end:
            if (ending := self._other_ending(state)) is not None:
                state.measure = ending.stop - 1
                self._go(state, _Move(ending.stop))
                continue
            yield state.measure
            self._go(state, next(filter(None, (rule(self, state) for rule in _RULES))))

    def _go(self, state: _State, move: _Move) -> None:
        repeat = self._repeat_at(state.measure)
        if move.pass_ is not None:
            state.pass_ = move.pass_
        elif move.measure != state.measure + 1 or move.measure == repeat.stop:
            state.left.add(repeat.start)
            state.pass_ = self._first_pass(move.measure, state.left)
        state.measure = move.measure

    def _repeat_at(self, index: int) -> Repeat:
        return self._repeats[bisect.bisect_right(self._starts, index) - 1]

    def _first_pass(self, index: int, left: set[int]) -> int:
        """The pass that a repeat is entered in: the last if it was played before."""
        repeat = self._repeat_at(index)
        return repeat.passes if repeat.start in left and not repeat.after_jump else 1

    # --------------------------------------------------- the rules, by their names in docs/scores.md

    def _other_ending(self, state: _State) -> Ending | None:
        return self._repeat_at(state.measure).ending_over(state.measure, state.pass_)

    def _repeat(self, state: _State) -> _Move | None:
        repeat = self._repeat_at(state.measure)
        is_over = not repeat.returns_after(state.measure, state.pass_)
        return None if is_over else _Move(repeat.start, state.pass_ + 1)

    def _fine(self, state: _State) -> _Move | None:
        jump = state.jump
        if jump is None or state.measure not in jump.fines:
            return None
        state.jump = None
        if jump.measure <= state.measure:
            return _Move(state.measure + 1)
        state.left.add(self._repeat_at(state.measure).start)
        is_inside = jump.measure + 1 < self._end and self._repeat_at(jump.measure + 1).start <= jump.measure
        return _Move(jump.measure + 1, state.pass_at_jump if is_inside else None)

    def _to_coda(self, state: _State) -> _Move | None:
        if state.jump is None or state.measure not in state.jump.codas:
            return None
        coda = state.jump.codas[state.measure]
        state.jump = replace(state.jump, codas={})
        return _Move(coda)

    def _da_capo(self, state: _State) -> _Move | None:
        repeat = self._repeat_at(state.measure)
        if state.measure not in state.untaken or not repeat.is_last_time(state.measure, state.pass_):
            return None
        state.jump, state.pass_at_jump = state.untaken.pop(state.measure), state.pass_
        if state.jump.with_repeats:
            state.left = {start for start in state.left if start < state.jump.target}
            return _Move(state.jump.target, 1)
        return _Move(state.jump.target)

    def _next_measure(self, state: _State) -> _Move:
        return _Move(state.measure + 1)

    # ------------------------------------------------------------------------- what the signs mean

    def _signs(self, *kinds: SignKind) -> list[tuple[int, Sign]]:
        found = []
        for index in range(self._begin, self._end):
            found += [(index, sign) for sign in self._measures[index].signs if sign.kind in kinds]
        return found

    def _places(self, kind: SignKind) -> list[tuple[int, Sign]]:
        """The signs with the measures that they stand at the beginning of."""
        return [(place_of(self._measures, index, sign), sign) for index, sign in self._signs(kind)]

    def _jump(self, index: int, sign: Sign) -> _Jump | None:
        target = self._segno(index, sign) if sign.kind == "dal-segno" else self._section_start(index, sign)
        if target is None:
            self.notices.append(
                f"did not follow '{sign.text or 'D.S.'}' in measure {self._number(index)}, "
                "since no segno precedes it"
            )
            return None
        fines = frozenset(measure for measure, _ in self._signs("fine") if measure >= target)
        if sign.until == "segno" and (stop := self._end_at_segno(target, index)) is not None:
            return _Jump(index, target, frozenset([stop]), {}, sign.with_repeats)
        codas = {} if sign.until == "fine" and fines else self._codas(index, sign, target, fines)
        if sign.until == "coda" and codas:
            fines = frozenset()
        if not codas and not any(measure <= index for measure in fines) and sign.kind == "da-capo":
            middle = self._middle_section(index, sign, target)
            if middle is not None:
                fines |= {middle - 1}
                self.notices.append(
                    f"ended the da capo of measure {self._number(index)} with measure "
                    f"{self._number(middle - 1)}, since no Fine is written"
                )
        return _Jump(index, target, fines, codas, sign.with_repeats)

    def _number(self, index: int) -> str:
        return self._measures[index].number

    def _segno(self, index: int, sign: Sign) -> int | None:
        """The nearest segno before the jump, of its label if there is one; else one in its own measure."""
        found = [(place, segno) for place, segno in self._places("segno") if place <= index]
        found = _of_label(found, sign.label)
        earlier = [place for place, _ in found if place < index]
        return max(earlier or [place for place, _ in found], default=None)

    def _end_at_segno(self, target: int, jump: int) -> int | None:
        """The measure after which a "D.C. al Segno" stops; the one before a segno at a beginning."""
        found = [i if sign.offset else i - 1 for i, sign in self._signs("segno")]
        return next((measure for measure in found if target <= measure < jump), None)

    def _section_start(self, index: int, sign: Sign) -> int:
        """The beginning of the section that the da capo names, else of the movement."""
        named = [i for i in range(self._begin, index) if self._measures[i].section == sign.section != ""]
        return named[-1] if named else self._begin

    def _middle_section(self, index: int, sign: Sign, target: int) -> int | None:
        """Where the trio begins: at its heading, else, if the da capo names what comes before, at a guess."""
        inside = range(target + 1, index + 1)
        headings = [i for i in inside if self._measures[i].section == "trio"]
        if headings or not sign.section:
            return headings[0] if headings else None
        finals = [i for i in inside if self._measures[i - 1].is_final]
        changes = [i for i in inside if self._measures[i - 1].repeat_end and self._measures[i].keys]
        strains = [one.stop for one in self._repeats if one.returns and target < one.stop <= index]
        halfway = strains[len(strains) // 2 : len(strains) // 2 + 1]
        return next(iter([*finals, *changes, *halfway]), None)

    def _codas(self, index: int, sign: Sign, target: int, fines: frozenset[int]) -> dict[int, int]:
        """Where the repetition leaves for the coda, and where that begins.

        A coda sign may stand at both places; those before the jump then are where it is left.
        """
        codas = self._signs("coda")
        departures = [(i, departure) for i, departure in self._signs("to-coda") if i >= target]
        if not departures:
            before = [(i, coda) for i, coda in codas if target <= i <= index]
            after = [i for i, _ in codas if i > index]
            if before and (after or sign.until == "coda"):
                departures = before[:1]
            elif after and sign.until == "coda":
                middle = self._middle_section(index, sign, target)
                last = min(fines, default=index if middle is None else middle - 1)
                departures = [(last, sign)]
        leaving = {i for i, _ in departures}
        places = [
            (place_of(self._measures, i, coda), coda) for i, coda in codas if i not in leaving
        ] or self._places("coda")
        result = {}
        for departure, leave in departures:
            later = _of_label([found for found in places if found[0] > departure], leave.label)
            begins = [place for place, _ in later if place > index] or [place for place, _ in later]
            if not begins and sign.until == "coda" and departure <= index < self._end - 1:
                begins = [index + 1]
                self.notices.append(f"took measure {self._number(index + 1)} for the coda, which has no sign")
            if begins and departure < begins[0] < self._end:
                result[departure] = begins[0]
        return result


_RULES: tuple[Callable[[_Movement, _State], _Move | None], ...] = (
    _Movement._repeat,
    _Movement._fine,
    _Movement._to_coda,
    _Movement._da_capo,
    _Movement._next_measure,
)
"""What follows a measure: the first rule that applies says it."""


def _of_label(found: list[tuple[int, Sign]], label: str) -> list[tuple[int, Sign]]:
    return [(place, sign) for place, sign in found if sign.label == label] or found


# -------------------------------------------------------------------------------------- movements


def movements(measures: Sequence[WrittenMeasure]) -> list[tuple[int, int]]:
    """(first measure, one after the last) of every movement.

    A final bar line ends a movement, unless what comes after refers to what comes before: to a segno, a fine
    or a repeat sign, as a trio or as a coda.
    """
    ends = [index + 1 for index, measure in enumerate(measures[:-1]) if measure.is_final]
    begins: list[int] = []
    for begin, end in pairwise([0, *ends, len(measures)]):
        needed = _needed_before(measures, begin, end)
        while begins and needed is not None and begins[-1] > needed:
            begins.pop()
        if needed is None or not begins:
            begins.append(begin)
    return list(pairwise([*begins, len(measures)]))


def _needed_before(measures: Sequence[WrittenMeasure], begin: int, end: int) -> int | None:
    """The first measure before ``begin`` that the measures begin..end-1 refer to, None without one."""
    if begin == 0:
        return None
    signs = [sign for measure in measures[begin:end] for sign in measure.signs]
    kinds = {sign.kind for sign in signs}
    sections = {measure.section for measure in measures[begin:end]}
    needed = [_open_repeat(measures, begin, end)]
    if measures[begin].section == "trio":
        needed.append(begin - 1)
    for sign in signs:
        if sign.kind == "dal-segno" and "segno" not in kinds:
            needed.append(_last_with("segno", measures, begin))
        elif sign.kind == "da-capo" and "fine" not in kinds:
            if sign.until == "fine":
                needed.append(_last_with("fine", measures, begin))
            if sign.section and not sections & {sign.section, "trio"}:
                needed.append(_last_section(sign.section, measures, begin))
    if "coda" in kinds and not kinds & {"da-capo", "dal-segno"}:
        jump = max(filter(None, (_last_with(kind, measures, begin) for kind in _JUMPS)), default=None)
        if jump is not None and (_last_with("coda", measures, begin) or 0) <= jump:
            needed.append(jump)
    return min((index for index in needed if index is not None), default=None)


_JUMPS: tuple[SignKind, ...] = ("da-capo", "dal-segno")


def _last_with(kind: SignKind, measures: Sequence[WrittenMeasure], before: int) -> int | None:
    found = (i for i in range(before - 1, -1, -1) if any(sign.kind == kind for sign in measures[i].signs))
    return next(found, None)


def _last_section(section: str, measures: Sequence[WrittenMeasure], before: int) -> int | None:
    """Where the section has its heading; without any heading the only movement before is meant."""
    found = (i for i in range(before - 1, -1, -1) if measures[i].section == section)
    is_second = sum(measure.is_final for measure in measures[:before]) == 1
    return next(found, 0 if is_second else None)


def _open_repeat(measures: Sequence[WrittenMeasure], begin: int, end: int) -> int | None:
    """The last forward repeat before ``begin``, if its backward repeat comes after."""
    first = next((m for m in measures[begin:end] if m.repeat_start or m.repeat_end), None)
    if first is None or first.repeat_start:
        return None
    last = next(
        (i for i in range(begin - 1, -1, -1) if measures[i].repeat_start or measures[i].repeat_end), None
    )
    return last if last is not None and not measures[last].repeat_end else None
