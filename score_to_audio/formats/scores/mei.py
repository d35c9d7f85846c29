"""MEI document -> MusicXML document, which ``musicxml.py`` reads.

MusicXML's reader knows how repeats, ties, ornaments, tempo and pedal are played; what is left here is what
MEI says in another way. ``mei_movements.py`` walks through the measures and settles places with
``mei_layers.py``, then control events refer to them (``mei_controls.py``), then ``mei_writing.py`` writes.
"""

from __future__ import annotations

from typing import Any

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.files import strip_namespaces
from score_to_audio.formats.scores.mei_movements import MovementReader
from score_to_audio.formats.scores.mei_values import XML_ID, text_of
from score_to_audio.formats.scores.mei_writing import write_musicxml
from score_to_audio.formats.scores.musicxml import LONGEST_ID
from score_to_audio.formats.scores.written import Expansion, UniqueNames


def musicxml_of_mei(document: Any, name: str) -> tuple[Any, list[Expansion]]:
    """The <score-partwise> of a MEI document whose notes have ids, and the playing orders that it spells out.

    All movements follow each other. The namespaces of ``document`` are stripped.
    Raises ``InputError``.
    """
    strip_namespaces(document)
    scores = [score for score in document.iter("score", "parts") if _is_movement(score)]
    if not scores:
        raise InputError(f"{name} is MEI without a score (such as a header alone); give a file with music")
    reader = MovementReader(document, name)
    for score in scores:
        reader.read(score)
    title, composer = _title_and_composer(document)
    return write_musicxml(title, composer, reader.parts, reader.measures), reader.expansions


def _is_movement(element: Any) -> bool:
    parent = element.getparent()
    is_alternative = element.tag == "parts" and parent is not None and parent.find("score") is not None
    return parent is not None and parent.tag == "mdiv" and not is_alternative


def name_notes(document: Any) -> list[str]:
    """Gives every note a unique xml:id, counted in document order where it has none; returns them."""
    unique = UniqueNames()
    ids = []
    for number, note in enumerate(document.iter("{*}note"), start=1):
        ids.append(unique((note.get(XML_ID) or f"n{number}")[:LONGEST_ID]))
        note.set(XML_ID, ids[-1])
    return ids


def _title_and_composer(document: Any) -> tuple[str, str]:
    statement = next(document.iter("titleStmt"), None)
    if statement is None:
        return "", ""
    composers = [
        *statement.iter("composer"),
        *(name for name in statement.iter("persName") if name.get("role") in ("composer", "cmp")),
    ]
    return text_of(next(statement.iter("title"), None)), text_of(next(iter(composers), None))
