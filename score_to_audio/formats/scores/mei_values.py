"""What single MEI elements and attributes mean (MEI 5 guidelines; the names of MEI 2 to 4 too)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from score_to_audio.formats.scores.musicxml_values import steps_of
from score_to_audio.formats.scores.words import plain_text

XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
NOTE_VALUES = {
    "maxima": Fraction(32), "long": Fraction(16), "longa": Fraction(16), "breve": Fraction(8),
    "brevis": Fraction(8), "semibrevis": Fraction(4), "minima": Fraction(2), "semiminima": Fraction(1),
    "fusa": Fraction(1, 2), "semifusa": Fraction(1, 4),
    **{str(2**power): Fraction(4, 2**power) for power in range(9)},
}  # fmt: skip
"""Quarter notes in a ``dur``; mensural values as in imperfect mensuration."""
TYPES = {
    Fraction(32): "maxima", Fraction(16): "long", Fraction(8): "breve", Fraction(4): "whole",
    Fraction(2): "half", Fraction(1): "quarter", Fraction(1, 2): "eighth", Fraction(1, 4): "16th",
    Fraction(1, 8): "32nd", Fraction(1, 16): "64th", Fraction(1, 32): "128th", Fraction(1, 64): "256th",
}  # fmt: skip
"""Quarter notes -> <type> of MusicXML."""
ALTERATIONS = {
    "s": 1, "f": -1, "ss": 2, "x": 2, "ff": -2, "xs": 3, "sx": 3, "ts": 3, "tf": -3, "n": 0, "nf": -1,
    "ns": 1, "su": 1.5, "sd": 0.5, "fu": -0.5, "fd": -1.5, "nu": 0.5, "nd": -0.5, "1qf": -0.5, "3qf": -1.5,
    "1qs": 0.5, "3qs": 1.5,
}  # fmt: skip
"""Semitones of ``accid`` and ``accid.ges``."""
MOST_DOTS = 4
_MOST_MEASURES_AHEAD = 1000


def children(element: Any) -> Iterator[Any]:
    """The children as they are to be played: one reading of each variant, without what is deleted.

    Of an apparatus the lemma, else the first reading; of a choice the correction, the regularised or the
    expanded text, else the first.
    """
    for child in element:
        tag = child.tag
        if tag in _ALTERNATIVES:
            found = {option.tag: option for option in reversed(child)}
            chosen = next((found[name] for name in _ALTERNATIVES[tag] if name in found), None)
            chosen = next(iter(child), None) if chosen is None else chosen
            if chosen is not None:
                yield from children(chosen)
        elif tag in _TRANSPARENT or (tag == "del" and element.tag == "restore"):
            yield from children(child)
        elif tag != "del":
            yield child


_ALTERNATIVES = {"app": ("lem",), "choice": ("corr", "reg", "expan"), "subst": ("add",)}
_TRANSPARENT = frozenset(
    ["add", "corr", "damage", "expan", "lem", "orig", "rdg", "reg", "restore", "sic", "supplied", "unclear"]
)


def reference(text: str | None) -> str:
    return (text or "").strip().removeprefix("#")


def text_of(element: Any) -> str:
    """All text below the element, line breaks as spaces; "" for None."""
    if element is None:
        return ""
    pieces = []
    for part in element.iter():
        pieces += [" " if part.tag == "lb" else "", _glyph(part), part.text or ""]
        pieces.append((part.tail or "") if part is not element else "")
    return plain_text("".join(pieces))


def _glyph(element: Any) -> str:
    """The character of a <symbol> that is given by its SMuFL number."""
    match = re.fullmatch(r"U\+([0-9A-Fa-f]{4,5})", element.get("glyph.num") or "")
    return chr(int(match.group(1), 16)) if match is not None and element.tag == "symbol" else ""


# ------------------------------------------------------------------------------------------ durations


def count_of(text: str | None) -> int | None:
    """A whole number of at most four digits above 0."""
    return int(text) if text and re.fullmatch(r"\d{1,4}", text.strip()) and int(text) else None


def dots_of(element: Any) -> int:
    text = element.get("dots")
    dots = int(text) if text and text.isdecimal() and len(text) == 1 else len(element.findall("dot"))
    return min(dots, MOST_DOTS)


def written_duration(element: Any) -> Fraction | None:
    """Quarter notes by ``dur`` and its dots; None without a known one."""
    value = NOTE_VALUES.get(element.get("dur") or "")
    if value is None:
        return None
    num, numbase = count_of(element.get("num")), count_of(element.get("numbase"))
    ratio = Fraction(numbase, num) if num and numbase else Fraction(1)
    return value * (2 - Fraction(1, 2 ** dots_of(element))) * ratio


def sounding_duration(element: Any, ticks_per_quarter: int | None) -> Fraction | None:
    """Quarter notes by ``dur.ppq`` or ``dur.ges``, for elements without ``dur``."""
    text = element.get("dur.ppq") or ""
    ges = element.get("dur.ges") or ""
    if not text and ges.endswith("p"):
        text = ges[:-1]
    if ticks_per_quarter and re.fullmatch(r"\d{1,6}", text):
        return Fraction(int(text), ticks_per_quarter)
    return NOTE_VALUES.get(ges)


def tuplet_ratio(element: Any) -> Fraction:
    """By how much a tuplet shortens its notes.

    ``numbase`` is missing in many files, and the note value is written there in others ("3:8" for three
    eighths): then as many notes are replaced as the next smaller power of two says, two by three.
    """
    num = count_of(element.get("num")) or 3
    numbase = count_of(element.get("numbase"))
    if numbase is None or not num < 2 * numbase < 4 * num:
        numbase = {1: 1, 2: 3, 4: 3}.get(num) or 2 ** ((num - 1).bit_length() - 1)
    return Fraction(numbase, num)


def slashes(element: Any, value: Fraction) -> int | None:
    """Strokes of a tremolo on a note of that value, by ``stem.mod`` or ``unitdur``."""
    match = re.fullmatch(r"([1-6])slash", element.get("stem.mod") or "")
    if match is not None:
        return int(match.group(1))
    unit = NOTE_VALUES.get(element.get("unitdur") or "")
    if unit is None:
        return None
    beams = max(0, (Fraction(1) / value).numerator.bit_length() - 1) if value < 1 else 0
    return max(1, unit.denominator.bit_length() - 1 - beams)


# -------------------------------------------------------------------------------------- pitches, keys


def alteration(element: Any, attribute: str) -> float | None:
    """Semitones by ``accid`` or ``accid.ges`` of a note, or of an <accid> in it."""
    for holder in (element, *(child for child in children(element) if child.tag == "accid")):
        if (found := ALTERATIONS.get(holder.get(attribute) or "")) is not None:
            return found
    return None


def key_fifths(element: Any) -> int | None:
    """Fifths of the key signature that a scoreDef, staffDef or keySig gives."""
    inner = element.find("keySig")
    for holder in (element, inner):
        if holder is None:
            continue
        text = holder.get("key.sig") or holder.get("keysig") or holder.get("sig") or ""
        match = re.fullmatch(r"(\d{1,2})([sf])|0", text)
        if match is not None:
            fifths = min(int(match.group(1) or 0), 14)
            return -fifths if match.group(2) == "f" else fifths
    accidentals = [child.get("accid") for child in inner.iterfind("keyAccid")] if inner is not None else []
    return accidentals.count("s") - accidentals.count("f") if accidentals else None


def key_mode(element: Any) -> str:
    inner = element.find("keySig")
    return element.get("key.mode") or element.get("mode") or (inner.get("mode") if inner is not None else "")


def meter_of(element: Any) -> list[tuple[str, str]] | None:
    """[(count, unit), ...] of the time signature that a scoreDef, staffDef or meterSig gives.

    Of a group whose signatures take turns, the first; the lengths of the measures tell the others.
    """
    group = element.find("meterSigGrp")
    if group is not None:
        found = [pair for child in group.iterfind("meterSig") if (pair := _meter(child))]
        return (found if group.get("func") == "mixed" else found[:1]) or None
    for holder in (element, element.find("meterSig")):
        if holder is not None and (pair := _meter(holder)):
            return [pair]
    return None


def _meter(element: Any) -> tuple[str, str] | None:
    count = element.get("meter.count") or element.get("count") or ""
    unit = element.get("meter.unit") or element.get("unit") or ""
    if re.fullmatch(r"[\d+\s*/.]{1,20}", count) and count_of(unit):
        return count, str(int(unit))
    symbol = element.get("meter.sym") or (element.get("sym") if element.tag == "meterSig" else "")
    return {"common": ("4", "4"), "cut": ("2", "2")}.get(symbol or "")


def transposition_of(element: Any) -> tuple[int, int] | None:
    """(diatonic steps, semitones) from written to sounding pitch."""
    semitones = _signed(element.get("trans.semi"))
    if semitones is None:
        return None
    steps = _signed(element.get("trans.diat"))
    return (steps_of(semitones) if steps is None else steps), semitones


def _signed(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[+-]?\d{1,2}(?:\.0+)?", text.strip()) else None


# --------------------------------------------------------------------------------------------- places


def beat_offset(text: str | None, unit: int) -> Fraction | None:
    """Quarter notes from the start of the measure to a time stamp, which counts beats from 1."""
    if text is None or not re.fullmatch(r"\s*\d{1,3}(?:\.\d{1,9})?\s*", text):
        return None
    beats = Fraction(text.strip()).limit_denominator(192) - 1
    return max(Fraction(0), beats * 4 / unit)


def measures_ahead(text: str | None) -> tuple[int, str] | None:
    """(measures ahead, time stamp) of a ``tstamp2`` such as "1m+2.5"."""
    match = re.fullmatch(r"\s*(?:(\d{1,4})m\s*\+\s*)?(\d{1,3}(?:\.\d{1,9})?)\s*", text or "")
    if match is None:
        return None
    return min(int(match.group(1) or 0), _MOST_MEASURES_AHEAD), match.group(2)
