"""The compact note lists from which ``tools/typeset.py`` makes MusicXML, and how to read them.

A measure gives each voice as a line of tokens; the voice's name says the staff it belongs to (``R1``, ``R2``:
the upper; ``L1`` to ``L3``: the lower). Octaves are those of scientific pitch notation (C4 is middle C), and
alterations are always written, whatever the key.

========================  =====================================================================
``C4/4``                  a note: pitch, then the duration (1, 2, 4, 8, 16, 32) with dots; ``8t`` in triplets
``C4+Eb4+G4/4``           a chord
``C4~/4``                 tied to the same pitch where this one ends, in whichever voice that is
``C4!/4``                 with an accidental even where none is needed
``C4/8*4``                four times the same
``r/4``, ``s/4``          a rest, an empty space
``a:B4/8``                a grace note with a stroke; ``g:`` without
``( )``, ``[ ]``          after the duration: a slur starts or ends (two levels)
``@1``                    after the duration: written on the other staff
``:fermata:accent``       after the duration: marks, of ``ARTICULATIONS``, ``ORNAMENTS``, ``fermata``, or
                          ``below-double-sharp`` for the lower note of a turn
``\\p \\pp \\f \\ff``         a dynamic mark
``\\< \\> \\!``             a hairpin opens, closes, ends here
``\\ped \\*``              the pedal goes down, up
``\\t:dolce``              words below the staff; ``\\T:`` above; ``_`` for a space
``\\tempo:a_tempo=108``    words above the staff, and the tempo they stand for (quarter notes per minute)
``\\dashes \\enddashes``    a dashed line after words
``\\clef:G2``              another clef for the voice's staff
========================  =====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

ARTICULATIONS = ("accent", "staccato", "tenuto")
ORNAMENTS = ("turn", "mordent", "inverted-mordent")
"""``inverted-mordent`` is what MusicXML calls the short trill with the upper note."""


@dataclass(frozen=True)
class Measure:
    """One measure: its voices, and the repeat signs at its bar lines."""

    voices: dict[str, str]
    repeat_starts: bool = False
    repeat_ends: bool = False


def measure(repeat_starts: bool = False, repeat_ends: bool = False, **voices: str) -> Measure:
    """A measure with its voices as keyword arguments; they are written to the file in this order."""
    return Measure(voices, repeat_starts, repeat_ends)


@dataclass(frozen=True)
class Piece:
    """A complete piece for piano.

    ``quarters`` is the length of a full measure, ``beam`` that of the groups that beams join, both in quarter
    notes, and ``tempo`` is in quarter notes per minute. With ``pickup`` the first measure has one quarter.
    ``metronome`` says that the tempo is the composer's own mark, to be printed.
    """

    file: str
    title: str
    number: str
    composer: str
    source: str
    fifths: int
    mode: str
    time: tuple[int, int]
    tempo: float
    measures: tuple[Measure, ...]
    beam: float
    words: str = ""
    metronome: bool = False
    time_symbol: str = ""
    pickup: bool = False
    upper_clef: str = "G2"
    tuplet_numbers: bool = True

    @property
    def quarters(self) -> float:
        return self.time[0] * 4 / self.time[1]
