"""Repeats and endings (voltas): which measures every pass of a repeat plays.

The rules stand as a table in docs/reference/scores.md, section "Playing order".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from score_to_audio.formats.scores.written import Sign, WrittenEnding, WrittenMeasure

MOST_ENDINGS = 50
"""Endings of one repeat that are told apart; further ones are played in every pass."""


@dataclass(frozen=True)
class Ending:
    """Measures first..stop-1 under a volta bracket; none where its measures belong to the next repeat."""

    first: int
    stop: int
    sign: WrittenEnding
    passes: frozenset[int]
    """Passes that play it."""
    has_return: bool
    """A backward repeat stands in it."""


@dataclass(frozen=True)
class Repeat:
    """Measures start..stop-1 and how they are played; a passage without repeat signs is played once."""

    start: int
    stop: int
    passes: int = 1
    returns: frozenset[int] = frozenset()
    """Measures after which the next pass begins, if there is one."""
    endings: tuple[Ending, ...] = ()
    fallback: Ending | None = None
    """The ending for passes that none fits."""
    after_jump: bool = False
    """Repeated again after a da capo or dal segno."""

    def ending_over(self, measure: int, pass_: int) -> Ending | None:
        """The ending that begins with the measure and is passed over in the pass."""
        for ending in self.endings:
            if ending.first == measure < ending.stop and not self._fits(ending, pass_):
                return ending
        return None

    def _fits(self, ending: Ending, pass_: int) -> bool:
        is_missing = ending is self.fallback and not any(pass_ in other.passes for other in self.endings)
        return pass_ in ending.passes or is_missing

    def returns_after(self, measure: int, pass_: int) -> bool:
        return pass_ < self.passes and measure in self.returns

    def played(self, pass_: int) -> Iterator[int]:
        """The measures of a pass, in order."""
        measure = self.start
        while measure < self.stop:
            if (ending := self.ending_over(measure, pass_)) is not None:
                measure = ending.stop
                continue
            yield measure
            if self.returns_after(measure, pass_):
                return
            measure += 1

    def is_last_time(self, measure: int, pass_: int) -> bool:
        """No later pass plays the measure."""
        if pass_ >= self.passes:
            return True
        later = [number for number in self.different_passes() if number > pass_] or [self.passes]
        return not any(measure in self.played(number) for number in later)

    def different_passes(self) -> range:
        """Passes 1, 2, ...; all later ones are like the last of these."""
        highest = max((number for ending in self.endings for number in ending.passes), default=0)
        return range(1, min(self.passes, highest + 1) + 1)


def find_repeats(measures: Sequence[WrittenMeasure], begin: int, end: int) -> list[Repeat]:
    """The measures begin..end-1 divided into repeats, and into passages between them that are played once."""
    repeats: list[Repeat] = []
    start = begin
    current: list[Ending] = []
    brackets = _brackets(measures, begin, end)
    codas = _codas_after_jumps(measures, begin, end)

    def close(stop: int) -> None:
        nonlocal start
        if stop > start:
            repeats.append(_repeat(measures, start, stop, current, is_last=stop == end))
        start = stop
        current.clear()

    index = begin
    while index < end:
        bracket = brackets.get(index)
        if measures[index].repeat_start and index > start:
            if bracket is not None and 1 not in bracket.passes and _continues(current, bracket):
                # The last ending of one repeat is the first measure of the next.
                current.append(_numbered(current, bracket))
                bracket = None
            close(index)
        if index in codas and not current and not measures[start].repeat_start:
            close(index)
        if bracket is None:
            index += 1
            if measures[index - 1].repeat_end:
                close(index)
            continue
        if len(current) < MOST_ENDINGS:
            current.append(_numbered(current, bracket))
        if (stop := _end_of_group(measures, brackets, current, end)) is not None:
            close(stop)
        index = max(bracket.stop, start)
    close(end)
    return repeats


def _codas_after_jumps(measures: Sequence[WrittenMeasure], begin: int, end: int) -> set[int]:
    """Measures that begin a coda behind a jump: a repeat sign in it repeats no more than the coda."""
    found = set()
    has_jump = False
    for index in range(begin, end):
        for sign in measures[index].signs:
            if sign.kind == "coda" and has_jump:
                found.add(place_of(measures, index, sign))
        has_jump = has_jump or _jumps(measures[index])
    return found


def _jumps(measure: WrittenMeasure) -> bool:
    return any(sign.kind in ("da-capo", "dal-segno") for sign in measure.signs)


def place_of(measures: Sequence[WrittenMeasure], index: int, sign: Sign) -> int:
    """The measure that begins at a sign: the next one where it stands at the end of a measure."""
    return index + 1 if sign.offset >= max(measures[index].length, 1) else index


def _brackets(measures: Sequence[WrittenMeasure], begin: int, end: int) -> dict[int, Ending]:
    """The volta brackets by their first measures; the passes are those of the sign."""
    result = {}
    firsts = [index for index in range(begin, end) if measures[index].ending is not None]
    for first, following in pairwise([*firsts, end]):
        sign = measures[first].ending
        assert sign is not None
        stop = _end_of_bracket(measures, first, following)
        if 1 in sign.numbers:
            stop = _end_of_first_ending(measures, first, stop, following)
        has_return = any(measures[index].repeat_end for index in range(first, stop))
        result[first] = Ending(first, stop, sign, sign.numbers, has_return)
    return result


def _end_of_bracket(measures: Sequence[WrittenMeasure], first: int, following: int) -> int:
    """After its written end or its repeat sign, before the next repeat, whatever comes first."""
    for index in range(first, following):
        if index > first and measures[index].repeat_start:
            return index
        if measures[index].ending_stops or measures[index].repeat_end:
            return index + 1
    return following


def _end_of_first_ending(measures: Sequence[WrittenMeasure], first: int, stop: int, following: int) -> int:
    """Up to the repeat sign before the second ending, also where only its first measure has the bracket."""
    has_signs = any(measures[i].repeat_end for i in range(first, following - 1))
    has_signs = has_signs or any(measures[i].repeat_start for i in range(first + 1, following))
    if has_signs or following == len(measures) or not measures[following - 1].repeat_end:
        return stop
    sign = measures[following].ending
    return following if sign is not None and 1 not in sign.numbers else stop


def _numbered(current: Sequence[Ending], bracket: Ending) -> Ending:
    """The bracket with its passes; equal or missing numbers count up from the bracket before it."""
    before = current[-1] if current and current[-1].stop == bracket.first else None
    given, printed = bracket.sign
    if printed > given:
        given = printed
    if before is not None and given == before.sign.numbers:
        given = printed if printed != before.passes else frozenset()
    if not given:
        given = frozenset({max(before.passes) + 1 if before is not None else 1})
    return replace(bracket, passes=given)


def _end_of_group(
    measures: Sequence[WrittenMeasure], brackets: dict[int, Ending], current: Sequence[Ending], end: int
) -> int | None:
    """Where the repeat stops if its endings are complete with the last of ``current``, else None."""
    if not any(ending.has_return for ending in current):
        return None
    last = current[-1]
    if (following := brackets.get(last.stop)) is not None:
        if _continues(current, following):
            return None
        return _start_of_next(measures, last)
    for index in range(last.stop, end):
        if measures[index].repeat_start:
            break
        if index in brackets:
            return None if _continues(current, brackets[index]) else last.stop
        if measures[index].repeat_end:
            break
    return last.stop


def _start_of_next(measures: Sequence[WrittenMeasure], last: Ending) -> int:
    """Where a repeat begins whose first ending follows the last ending of another one.

    It repeats that ending; if nobody wrote where that stops, its first measure is taken to be all of it.
    """
    if last.has_return:
        return last.stop
    is_open = not measures[last.stop - 1].ending_stops
    return last.first + 1 if is_open and last.stop > last.first + 1 else last.first


def _continues(current: Sequence[Ending], bracket: Ending) -> bool:
    """Whether the bracket is a further ending of the repeat, not the first of another one."""
    if not current:
        return False
    taken = frozenset[int]().union(*(ending.passes for ending in current if ending.has_return))
    passes = _numbered(current, bracket).passes
    is_adjacent = current[-1].stop == bracket.first
    return not passes & taken and (is_adjacent or min(passes) > max(taken, default=0))


def _repeat(
    measures: Sequence[WrittenMeasure], start: int, stop: int, endings: Sequence[Ending], *, is_last: bool
) -> Repeat:
    """``is_last``: nothing of the movement follows it."""
    returns = frozenset(index for index in range(start, stop) if measures[index].repeat_end)
    times = max((measures[index].repeat_end for index in returns), default=1)
    after_jump = any(measures[index].repeat_after_jump for index in returns)
    repeat = Repeat(start, stop, times, returns, after_jump=after_jump)
    inside = [replace(one, first=min(one.first, stop), stop=min(one.stop, stop)) for one in endings]
    if len(inside) > 1:
        repeat = _with_endings(repeat, inside)
    elif inside and returns:
        repeat = _with_one_ending(repeat, inside[0], is_followed=inside[0].stop < stop or not is_last)
    repeat = _with_missing_returns(measures, repeat)
    played = {measure for pass_ in repeat.different_passes() for measure in repeat.played(pass_)}
    reached = [one for one in endings if one.first >= stop or one.first in played]
    if len(reached) == len(endings):
        return repeat
    # An ending that no pass would play is played in all.
    return _repeat(measures, start, stop, reached, is_last=is_last)


def _with_endings(repeat: Repeat, endings: Sequence[Ending]) -> Repeat:
    """Passes are counted over all endings of the repeat; gaps between their numbers are closed."""
    numbers = sorted({number for ending in endings for number in ending.passes})
    rank = {number: position for position, number in enumerate(numbers, start=1)}
    ranked = [replace(one, passes=frozenset(rank[number] for number in one.passes)) for one in endings]
    return replace(
        repeat, passes=max(len(numbers), repeat.passes), endings=tuple(ranked), fallback=ranked[-1]
    )


def _with_one_ending(repeat: Repeat, ending: Ending, *, is_followed: bool) -> Repeat:
    """What follows a first ending without a partner is the second; if nothing does, it is played again."""
    needed = max(ending.passes) + (1 if ending.has_return and is_followed else 0)
    fallback = ending if ending.has_return and not is_followed else None
    return replace(repeat, passes=max(repeat.passes, needed), endings=(ending,), fallback=fallback)


def _with_missing_returns(measures: Sequence[WrittenMeasure], repeat: Repeat) -> Repeat:
    """A pass without a repeat sign returns after its ending if another follows, else it is the last.

    A da capo or dal segno at the end of that ending takes the place of the repeat sign in its last pass.
    """
    for pass_ in repeat.different_passes():
        played = list(repeat.played(pass_))
        if pass_ == repeat.passes or (played and played[-1] in repeat.returns):
            continue
        ending = _ending_before_another(repeat, played)
        if ending is not None and pass_ == max(ending.passes) and _is_left(measures, repeat, ending):
            continue
        if ending is None:
            return replace(repeat, passes=pass_)
        repeat = replace(repeat, returns=repeat.returns | {ending.stop - 1})
    return repeat


def _ending_before_another(repeat: Repeat, played: Sequence[int]) -> Ending | None:
    """The last of the played endings that another one follows at once."""
    firsts = {ending.first for ending in repeat.endings}
    for ending in reversed(repeat.endings):
        if ending.first < ending.stop and ending.stop - 1 in played and ending.stop in firsts:
            return ending
    return None


def _is_left(measures: Sequence[WrittenMeasure], repeat: Repeat, ending: Ending) -> bool:
    """Whether a jump that has a place to go to stands at the end of the ending."""
    signs = [sign for measure in measures[: ending.stop] for sign in measure.signs]
    has_segno = any(sign.kind == "segno" for sign in signs)
    kinds = {sign.kind for sign in measures[ending.stop - 1].signs}
    return not repeat.after_jump and ("da-capo" in kinds or ("dal-segno" in kinds and has_segno))
