"""What is put right in a MusicXML document before its notes are read.

Every repair edits the tree, so that this reader and partitura see the same notes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from score_to_audio.formats.scores.musicxml_values import (
    ACCIDENTALS,
    NOTE_VALUES,
    is_alteration,
    key_alteration,
    marks_of,
    number,
    staff_number,
    written_pitch,
)
from score_to_audio.formats.scores.ornaments import (
    ORNAMENTS,
    WIDEST_STEP,
    PlacedNote,
    consecutive,
    plays_out_an_ornament,
)
from score_to_audio.wording import counted

PLACES_PER_QUARTER = 10080
"""Grid of the places that are compared here; divisible by all tuplets up to 10."""
MAX_REPEATED_MEASURES = 8
"""Longest passage that a measure-repeat sign repeats."""


def repair(root: Any) -> list[str]:
    """Repairs a <score-partwise> whose notes have ids; a sentence each on what a listener may notice."""
    for part in root.iterfind("part"):
        _begin_with_divisions(part, root)
        _mark_whole_cue_chords(part)
        _mark_played_out_ornaments(part)
    alterations = sum(map(_correct_alterations, root.iterfind("part")))
    slashes = sum(map(_silence_slashes, root.iterfind("part")))
    written_out = sum(map(_write_out_measure_repeats, root.iterfind("part")))
    notices = []
    if alterations:
        notices.append(
            f"played {counted(alterations, 'note')} with an impossible alteration by accidental and key"
        )
    if slashes:
        notices.append(f"left out {counted(slashes, 'rhythm slash', 'rhythm slashes')} without a pitch")
    if written_out:
        notices.append(f"wrote out {counted(written_out, 'measure')} with a measure-repeat sign")
    return notices


# ------------------------------------------------------------------------------------------ divisions


def _begin_with_divisions(part: Any, root: Any) -> None:
    """Divisions that come after the first note, or not at all, are put before it."""
    from lxml import etree

    for element in part.iterfind("measure/*"):
        if element.tag == "attributes" and element.find("divisions") is not None:
            return
        if element.find("duration") is not None:
            break
    else:
        return
    text = (
        part.findtext("measure/attributes/divisions")
        or _divisions_by_note_values(part)
        or root.findtext("part/measure/attributes/divisions")
        or "1"
    )
    attributes = etree.Element("attributes")
    etree.SubElement(attributes, "divisions").text = text
    part.find("measure").insert(0, attributes)


def _divisions_by_note_values(part: Any) -> str | None:
    for note in part.iterfind("measure/note"):
        quarters = NOTE_VALUES.get((note.findtext("type") or "").strip())
        duration = number(note.findtext("duration"))
        is_plain = note.find("dot") is None and note.find("time-modification") is None
        if quarters and duration and duration > 0 and is_plain:
            return str(max(1, round(duration / Fraction(quarters))))
    return None


# ---------------------------------------------------------------------------------------- alterations


def _correct_alterations(part: Any) -> int:
    """Replaces alterations that no note can have by the note's accidental, else by that of the key."""
    corrected = fifths = 0
    for element in part.iterfind("measure/*"):
        if element.tag == "attributes":
            fifths = int(number(element.findtext("key/fifths")) or fifths)
        alter = element.find("pitch/alter")
        if alter is None or is_alteration(alter.text):
            continue
        accidental = ACCIDENTALS.get((element.findtext("accidental") or "").strip())
        if accidental is None:
            accidental = key_alteration(fifths, (element.findtext("pitch/step") or "").strip())
        alter.text = str(accidental)
        corrected += 1
    return corrected


# -------------------------------------------------------------------------------------- small notes


def _mark_whole_cue_chords(part: Any) -> None:
    """Marks all notes of a hidden chord as cue notes where only the first is (as MuseScore writes them)."""
    first_is_cue = False
    for note in part.iterfind("measure/note"):
        is_cue = note.find("cue") is not None and note.get("print-object") == "no"
        if note.find("chord") is None:
            first_is_cue = is_cue
        elif first_is_cue and not is_cue:
            _make_cue(note)


def _make_cue(note: Any) -> None:
    from lxml import etree

    note.insert(0, etree.Element("cue"))


def _mark_played_out_ornaments(part: Any) -> None:
    """Marks hidden notes as cue notes where they play out an ornament, so that the sign alone is played."""
    divisions = Fraction(1)
    for measure in part.iterfind("measure"):
        notes = measure.findall("note")
        if any(_is_hidden(note) for note in notes):
            _mark_in_measure(measure, divisions)
            _mark_grace_notes(notes)
        for text in measure.iterfind("attributes/divisions"):
            divisions = number(text.text) or divisions


def _is_hidden(note: Any) -> bool:
    is_pitched = note.find("pitch") is not None
    return note.get("print-object") == "no" and is_pitched and note.find("cue") is None


def _mark_in_measure(measure: Any, divisions: Fraction) -> None:
    notes = list(_placed(measure, divisions))
    hidden = [note for note in notes if _is_hidden(note.element)]
    visible = [note for note in notes if note.element.get("print-object") != "no"]
    for group in consecutive(hidden):
        if plays_out_an_ornament(group, visible):
            for note in group:
                _make_cue(note.element)


def _placed(measure: Any, divisions: Fraction) -> Iterator[PlacedNote]:
    """The pitched notes of a measure that have a length, with their places."""
    position = onset = 0
    for element in measure:
        if element.tag == "attributes":
            divisions = number(element.findtext("divisions")) or divisions
        value = number(element.findtext("duration")) or Fraction(0)
        ticks = round(value * PLACES_PER_QUARTER / divisions)
        if element.tag == "backup":
            position -= ticks
        elif element.tag == "forward":
            position += ticks
        elif element.tag == "note" and element.find("grace") is None:
            if element.find("chord") is None:
                onset = position
                position += ticks
            if (pitch := written_pitch(element)) is not None:
                marks = frozenset(marks_of(element.findall("notations")))
                staff, voice = staff_number(element.findtext("staff")), element.findtext("voice") or ""
                yield PlacedNote(onset, ticks, pitch, staff, voice, marks, element)


def _mark_grace_notes(notes: list[Any]) -> None:
    """Hidden grace notes before a note with the sign of an ornament play that out."""
    for index, note in enumerate(notes):
        if note.find("grace") is None or not _is_hidden(note):
            continue
        main = next((other for other in notes[index:] if other.find("grace") is None), None)
        if main is None or main.get("print-object") == "no" or main.find("voice") is None:
            continue
        pitch, goal = written_pitch(note), written_pitch(main)
        is_near = pitch is not None and goal is not None and abs(pitch - goal) <= WIDEST_STEP
        if is_near and ORNAMENTS & marks_of(main.findall("notations")):
            _make_cue(note)


# --------------------------------------------------------------------- signs that stand for music


def _silence_slashes(part: Any) -> int:
    """Rhythm slashes become rests: they say when to play, not what."""
    slashes = [note for note in part.iterfind("measure/note") if note.findtext("notehead") == "slash"]
    for note in slashes:
        pitch = note.find("pitch")
        if pitch is not None and note.find("chord") is not None:
            note.getparent().remove(note)
        elif pitch is not None:
            pitch.clear()
            pitch.tag = "rest"
    return len(slashes)


def _write_out_measure_repeats(part: Any) -> int:
    """Measures without notes below a measure-repeat sign get those of the measures before."""
    measures = part.findall("measure")
    written_out = repeated = 0
    for index, measure in enumerate(measures):
        sign = measure.find("attributes/measure-style/measure-repeat")
        if sign is not None:
            length = number(sign.text) if sign.get("type") == "start" else None
            repeated = int(length) if length and 0 < length <= MAX_REPEATED_MEASURES else 0
        if repeated and index >= repeated and measure.find("note/pitch") is None:
            _copy_notes(measures[index - repeated], measure, index)
            written_out += 1
    return written_out


def _copy_notes(source: Any, target: Any, index: int) -> None:
    for element in target.findall("*"):
        if element.tag in _MUSIC:
            target.remove(element)
    place = max((i + 1 for i, element in enumerate(target) if element.tag == "attributes"), default=0)
    copies = [copy.deepcopy(element) for element in source if element.tag in _MUSIC]
    for element in copies:
        if element.get("id"):
            element.set("id", f"{element.get('id')}_{index}")
    target[place:place] = copies


_MUSIC = ("note", "backup", "forward")
