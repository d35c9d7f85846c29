"""Reads scores: MusicXML (plain or compressed), MEI, and MIDI files that are quantised like a score."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from score_to_audio.errors import InputError
from score_to_audio.formats.midi_events import is_midi
from score_to_audio.formats.scores.files import is_mei, open_xml, read_file
from score_to_audio.formats.scores.mei import musicxml_of_mei, name_notes
from score_to_audio.formats.scores.midi import read_midi
from score_to_audio.formats.scores.musicxml import (
    assign_note_ids,
    partwise,
    read_written,
    unify_divisions,
)
from score_to_audio.formats.scores.musicxml_repairs import repair
from score_to_audio.formats.scores.partitura_bridge import load_musicxml, unfold_part
from score_to_audio.formats.scores.parts import choose_parts
from score_to_audio.formats.scores.unfolding import unfold
from score_to_audio.formats.scores.written import Expansion, WrittenScore
from score_to_audio.plugins import Parameters
from score_to_audio.types import ParsedScore, Score

SUFFIXES = (".musicxml", ".xml", ".mxl", ".mei", ".mid", ".midi")
"""Suffixes of the files that ``read_score`` accepts."""


class ScoreOptions(Parameters):
    """How a score is read."""

    parts: Literal["piano", "all"] = Field(
        default="piano", description="Which parts are played: those of the piano, or all merged."
    )
    repeats: bool = Field(default=True, description="Play repeats, second endings, da capo and dal segno.")


def read_score(path: Path, options: ScoreOptions | None = None) -> Score:
    """The score in a file; its bytes now, what they say on demand (``Score.parsed``).

    Raises ``InputError`` at once where the file is missing, empty, too large or of another kind, and from
    ``Score.parsed`` where its content cannot be used.
    """
    path = Path(path)
    content = read_file(path, SUFFIXES)
    options = options or ScoreOptions()
    return Score(path, content, partial(parse_score, options=options), options.model_dump_json())


def parse_score(score: Score, options: ScoreOptions) -> ParsedScore:
    """What the bytes of a score say. Raises ``InputError``."""
    name = str(score.path)
    if is_midi(score.content):
        written = read_midi(score.content, options.parts, name)
    else:
        written = _read_xml(score.content, options, name)
    return unfold(written, repeats=options.repeats, name=name)


def _read_xml(content: bytes, options: ScoreOptions, name: str) -> WrittenScore:
    root, expansions = _musicxml(open_xml(content, name), name)
    repairs = repair(root)
    chosen, notices = choose_parts(root, options.parts)
    written = read_written(root, chosen, name)
    written.expansions = expansions
    written.notices[:0] = [*notices, *repairs]
    if not written.notes:
        raise InputError(f"{name} has no notes to play: {_why_silent(root)}")
    return written


def _musicxml(document: Any, name: str) -> tuple[Any, list[Expansion]]:
    """The <score-partwise> of a MusicXML or MEI document, every note with an id; its expansions.

    Raises ``InputError``.
    """
    expansions: list[Expansion] = []
    if is_mei(document):
        name_notes(document)
        document, expansions = musicxml_of_mei(document, name)
    root = partwise(document, name)
    if root.find("part/measure") is None:
        raise InputError(f"{name} has no measures; export the score again")
    assign_note_ids(root)
    return root, expansions


def load_parts(score: Score, options: ScoreOptions | None = None, *, unfolded: bool = False) -> list[Any]:
    """The played parts as partitura ``Part`` objects, in the order of ``ParsedScore.parts``.

    Not ``unfolded``: every measure once, notes with the ids that the file gives them (``ParsedScore`` adds
    the pass to these: "n12-1"). ``unfolded``: in playing order by partitura, with the same suffixes; the
    two differ where partitura follows jumps in another way (docs/reference/scores.md).
    Raises ``InputError``.
    """
    name = str(score.path)
    root = notated(score)
    chosen, _ = choose_parts(root, (options or ScoreOptions()).parts)
    listed = {part.id: part for part in load_musicxml(root, name).parts}
    parts = []
    for element in (root.findall("part")[i] for i in chosen):
        if element.get("id") not in listed:
            raise InputError(
                f"{name}: its part-list leaves out the part {element.get('id')!r}; export it again"
            )
        parts.append(listed[element.get("id")])
    return [unfold_part(part, name) for part in parts] if unfolded else parts


def load_partitura_score(score: Score) -> Any:
    """The whole score as a partitura ``Score``: all parts, not unfolded, ids as in ``load_parts``.

    As the file has it, without the repairs of ``musicxml_repairs.py``.
    """
    return load_musicxml(notated(score, as_written=True), str(score.path))


def notated(score: Score, *, as_written: bool = False) -> Any:
    """The <score-partwise> (lxml) of a score: notes have ids, each part has one value of <divisions>.

    Repaired as it is played (``musicxml_repairs.py``), unless ``as_written``. Raises ``InputError``.
    """
    name = str(score.path)
    if is_midi(score.content):
        raise InputError(f"{name} is a MIDI file, this renderer needs a notated score; export it as MusicXML")
    root, _ = _musicxml(open_xml(score.content, name), name)
    if not as_written:
        repair(root)
    unify_divisions(root, name)
    return root


def notation(score: Score) -> tuple[str, dict[str, str]]:
    """The document to engrave, as XML text, and the id in it of every note: {id in the score: id there}.

    Ids in the score are those of ``ParsedScore`` without their pass. No entity, comment or processing
    instruction of the file is left. Raises ``InputError``.
    """
    from lxml import etree

    name = str(score.path)
    if is_midi(score.content):
        raise InputError(f"{name} is a MIDI file, which has no notation; give MusicXML or MEI")
    document = open_xml(score.content, name)
    if is_mei(document):
        ids = name_notes(document)
        return etree.tostring(document, encoding="unicode"), {note_id: note_id for note_id in ids}
    root, _ = _musicxml(document, name)
    new_ids = {}
    for number, note in enumerate(root.iter("note"), start=1):
        new_ids[note.get("id")] = f"n{number}"
        note.set("id", f"n{number}")
    names = root.findall("part-list/score-part/part-name")
    if len(names) == 1:
        names[0].set("print-object", "no")
    for part in root.iter("part"):
        _declare_staves(part)
    return etree.tostring(root, encoding="unicode"), new_ids


def _declare_staves(part: Any) -> None:
    """Adds a missing ``staves``: verovio draws notes of undeclared staves on the first one, anywhere."""
    from lxml import etree

    attributes = part.find("measure/attributes")
    named = {(staff.text or "").strip() for staff in part.iterfind("measure/note/staff")} & set("23456789")
    if named and attributes is not None and attributes.find("staves") is None:
        before = [child for child in attributes if child.tag in ("divisions", "key", "time")]
        place = attributes.index(before[-1]) + 1 if before else 0
        staves = etree.Element("staves")
        staves.text = max(named)
        attributes.insert(place, staves)


def _why_silent(root: Any) -> str:
    if next(root.iter("unpitched"), None) is not None:
        return "it is for percussion only; give a score with pitched notes"
    return "it holds rests only, or nothing; give a score with notes"
