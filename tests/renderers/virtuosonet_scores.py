"""Small MusicXML documents for tests of VirtuosoNet's reader."""

from __future__ import annotations

from typing import Any

from lxml import etree

from renderers.virtuosonet.notation import Compatibility, PlayedMeasure
from renderers.virtuosonet.score import NoteScore, read_note_score

TIME = "<time><beats>4</beats><beat-type>4</beat-type></time>"


def attributes(divisions: int = 2, time: str = TIME, fifths: int = 0) -> str:
    key = f"<key><fifths>{fifths}</fifths></key>"
    return f"<attributes><divisions>{divisions}</divisions>{key}{time}</attributes>"


def note(
    pitch: str = "C4",
    duration: int = 2,
    *,
    notations: str = "",
    voice: str = "1",
    before: str = "",
    **flags: Any,
) -> str:
    """``pitch``: step and octave, "" for a rest. ``flags``: attributes of <note>."""
    written = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in flags.items())
    sounding = f"<pitch><step>{pitch[0]}</step><octave>{pitch[1:]}</octave></pitch>" if pitch else "<rest/>"
    length = "" if "<grace" in before else f"<duration>{duration}</duration>"
    marks = f"<notations>{notations}</notations>" if notations else ""
    return f"<note{written}>{before}{sounding}{length}<voice>{voice}</voice><staff>1</staff>{marks}</note>"


def direction(content: str, *, sound: str = "", placement: str = "above") -> str:
    return (
        f'<direction placement="{placement}"><direction-type>{content}</direction-type>'
        f"<staff>1</staff>{sound}</direction>"
    )


def document(*parts: list[str], namespace: str = "") -> str:
    """A score of parts, each a list of measures' contents; a measure may start with its attributes in {}."""
    names = "".join(
        f'<score-part id="P{i}"><part-name>Piano {i}</part-name></score-part>'
        for i in range(1, len(parts) + 1)
    )
    body = "".join(
        f'<part id="P{i}">'
        + "".join(f'<measure number="{number}">{m}</measure>' for number, m in enumerate(measures, 1))
        + "</part>"
        for i, measures in enumerate(parts, 1)
    )
    return f"<score-partwise{namespace}><part-list>{names}</part-list>{body}</score-partwise>"


def read(
    text: str, *, order: list[PlayedMeasure] | None = None, compatibility: Compatibility = "none"
) -> NoteScore:
    return read_note_score(
        etree.fromstring(text), name="test.musicxml", order=order, compatibility=compatibility
    )


def four_quarters(*pitches: str) -> str:
    return "".join(note(pitch) for pitch in (pitches or ("C4", "D4", "E4", "F4")))
