"""What single MusicXML elements mean: numbers, pitches, signatures, marks."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from score_to_audio.formats.scores.written import MAX_BEAT_TYPE, Grace, Mode

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
"""Semitones above C."""
NOTE_VALUES = {
    "maxima": 32.0,
    "long": 16.0,
    "breve": 8.0,
    "whole": 4.0,
    "half": 2.0,
    "quarter": 1.0,
    "eighth": 0.5,
    "16th": 0.25,
    "32nd": 0.125,
    "64th": 0.0625,
    "128th": 0.03125,
    "256th": 0.015625,
}
"""Quarter notes in a note value (MusicXML 4.0, note-type-value)."""
_ALTERATIONS = {0: "", 1: "#", 2: "##", 3: "###", -1: "b", -2: "bb", -3: "bbb"}
MOST_ALTERED = 3
"""Semitones; a triple sharp."""
ACCIDENTALS = {
    "sharp": 1, "natural-sharp": 1, "double-sharp": 2, "sharp-sharp": 2, "natural": 0,
    "flat": -1, "natural-flat": -1, "flat-flat": -2, "double-flat": -2,
}  # fmt: skip
"""Semitones of MusicXML's accidentals."""
_NUMBER = re.compile(r"\s*[+-]?\d{1,12}(?:\.\d{0,9})?\s*")
LONGEST_ENDING_TEXT = 100
"""Characters of the numbers of an ending that are read."""
_SILENT_TECHNICAL = frozenset(["fingering", "pluck", "string", "fret", "handbell", "hole"])
"""Technical marks that say how, not what is played."""


@lru_cache(maxsize=1024)
def number(text: str | None) -> Fraction | None:
    """The number in an element's text; None where it is none, or has an absurd number of digits."""
    if text is None or not _NUMBER.fullmatch(text):
        return None
    return Fraction(text.strip())


@lru_cache(maxsize=1024)
def sounding_pitch(
    step: str, alter: str, octave: str, transposition: tuple[int, int]
) -> tuple[int, str] | None:
    """MIDI pitch as it sounds, and its spelling; None where the texts make no pitch."""
    if step not in STEPS or not re.fullmatch(r"-?\d{1,2}", octave) or not is_alteration(alter):
        return None
    alteration = number(alter) or 0
    semitones = round(alteration)
    pitch = 12 * (int(octave) + 1) + STEPS[step] + semitones
    if transposition != (0, 0):
        return _transposed(step, int(octave), pitch, *transposition)
    return pitch, f"{step}{_ALTERATIONS[semitones]}{int(octave)}"


def is_alteration(text: str | None) -> bool:
    """Whether a note can be altered by as many semitones; an empty text stands for none."""
    value = number(text or "0")
    return value is not None and abs(value) <= MOST_ALTERED


def key_alteration(fifths: int, step: str) -> int:
    """Semitones by which a key signature (-7..7 fifths) alters a step."""
    if fifths >= 0:
        return int(step in "FCGDAEB"[:fifths])
    return -int(step in "BEADGCF"[:-fifths])


def written_pitch(note: Any) -> int | None:
    """MIDI pitch of a <note> as written, None where it has none."""
    texts = [note.findtext(f"pitch/{tag}") or "" for tag in ("step", "alter", "octave")]
    found = sounding_pitch(texts[0], texts[1] or "0", texts[2], (0, 0))
    return None if found is None else found[0]


def staff_number(text: str | None) -> int:
    text = (text or "").strip()
    return int(text) if text.isdecimal() and len(text) < 4 else 1


def time_signature(element: Any) -> tuple[int, int] | None:
    """(beats, beat type); sums such as 3+2 are added up, pairs brought to the smallest beat type."""
    pairs: list[tuple[int, int]] = []
    for beats, beat_type in zip(element.findall("beats"), element.findall("beat-type"), strict=False):
        numbers = re.findall(r"\d{1,3}", beats.text or "")
        kind = re.fullmatch(r"\s*(\d{1,3})\s*", beat_type.text or "")
        if not numbers or kind is None or int(kind.group(1)) == 0:
            return None
        pairs.append((sum(map(int, numbers)), int(kind.group(1))))
    if not pairs or any(beats == 0 for beats, _ in pairs):
        return None
    smallest = math.lcm(*(beat_type for _, beat_type in pairs))
    if smallest > MAX_BEAT_TYPE:
        return None
    return sum(beats * smallest // beat_type for beats, beat_type in pairs), smallest


def key_signature(element: Any) -> tuple[int, Mode] | None:
    fifths = number(element.findtext("fifths"))
    if fifths is None or abs(fifths) > 14:
        return None
    mode = (element.findtext("mode") or "").strip()
    return int(fifths), "major" if mode == "major" else "minor" if mode == "minor" else ""


def steps_of(semitones: int) -> int:
    """Diatonic steps that go with a transposition where only its semitones are given."""
    octaves, rest = divmod(semitones, 12)
    return 7 * octaves + _STEPS_OF_SEMITONES[rest]


_STEPS_OF_SEMITONES = (0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6)


def transposition(element: Any) -> tuple[int, int]:
    """(diatonic steps, semitones) from written to sounding pitch; missing steps follow from the semitones."""
    diatonic, chromatic, octaves = (
        int(number(element.findtext(tag)) or 0) for tag in ("diatonic", "chromatic", "octave-change")
    )
    if diatonic == 0 and abs(chromatic) > 1:
        diatonic = steps_of(chromatic)
    if element.find("double") is not None:
        octaves -= 1
    if not (abs(diatonic) < 50 and abs(chromatic) < 60 and abs(octaves) < 8):
        return 0, 0
    return diatonic + 7 * octaves, chromatic + 12 * octaves


def _transposed(step: str, octave: int, pitch: int, diatonic: int, chromatic: int) -> tuple[int, str]:
    sounding = pitch + chromatic
    octaves, index = divmod("CDEFGAB".index(step) + diatonic, 7)
    new_step = "CDEFGAB"[index]
    alteration = sounding - (12 * (octave + octaves + 1) + STEPS[new_step])
    return sounding, f"{new_step}{_ALTERATIONS.get(alteration, '')}{octave + octaves}"


def ending_numbers(text: str) -> frozenset[int]:
    """{1, 2, 3} for "1, 2, 3", "1.2.3." and "1-3"; empty where nothing is given."""
    numbers: set[int] = set()
    for first, last in re.findall(r"(\d{1,2})(?:\s*\.?\s*[-–]\s*(\d{1,2}))?", text[:LONGEST_ENDING_TEXT]):
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers - {0})


def grace_kind(element: Any) -> Grace:
    """A slashed grace note, or one that takes its time from the note before, is an acciaccatura."""
    if element.get("slash") == "yes" or element.get("steal-time-previous") is not None:
        return "acciaccatura"
    return "appoggiatura"


def ties(element: Any, notations: Sequence[Any]) -> tuple[bool, bool]:
    """(a tie starts, a tie stops), from <tie>, or from <tied> where a file has only that."""
    types = {tie.get("type") for tie in element.iterfind("tie")}
    if not types:
        types = {tied.get("type") for notation in notations for tied in notation.iterfind("tied")}
    return "start" in types or "continue" in types, "stop" in types or "continue" in types


def marks_of(notations: Sequence[Any]) -> set[str]:
    marks: set[str] = set()
    for notation in notations:
        for child in notation:
            tag = child.tag
            if tag == "articulations":
                marks.update(mark.tag for mark in child)
            elif tag == "ornaments":
                marks.update(filter(None, map(_ornament, child)))
            elif tag == "technical":
                marks.update(mark.tag for mark in child if mark.tag not in _SILENT_TECHNICAL)
            elif tag in ("fermata", "non-arpeggiate"):
                marks.add(tag)
            elif tag == "arpeggiate":
                marks.add("arpeggiate-down" if child.get("direction") == "down" else tag)
            elif tag in ("glissando", "slide") and child.get("type") == "start":
                marks.add(tag)
            elif tag == "tied" and child.get("type") == "let-ring":
                marks.add("let-ring")
    return marks


def _ornament(element: Any) -> str | None:
    """ "trill-mark", "tremolo-3", "accidental-mark-flat", ...; None for the end of a wavy line."""
    tag = element.tag
    if tag == "tremolo":
        count = (element.text or "3").strip()
        count = count if count in ("1", "2", "3", "4") else "3"
        kind = element.get("type", "single")
        return f"tremolo-{count}" if kind == "single" else f"tremolo-{kind}-{count}"
    if tag == "wavy-line":
        return tag if element.get("type") in ("start", "continue", None) else None
    if tag == "accidental-mark":
        side = "-below" if element.get("placement") == "below" else ""
        return f"{tag}{side}-{(element.text or '').strip()}"
    return str(tag)
