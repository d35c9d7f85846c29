"""The parts of a MEI score: which staves belong together, their names and how they sound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from score_to_audio.formats.scores.mei_values import children, text_of


@dataclass(slots=True)
class Part:
    name: str
    staves: list[Any]
    """<staffDef> elements."""
    program: str = ""
    channel: str = ""
    instrument: str = ""


def parts_of(definition: Any) -> list[Part]:
    """The parts of a scoreDef: staves with a brace, or with the label of their group alone, are one."""
    groups = [child for child in children(definition) if child.tag == "staffGrp"] or [definition]
    parts = [part for group in groups for part in _parts_of_group(group, "")]
    staves = [staff for part in parts for staff in part.staves]
    if len(staves) == 2 and not any(part.name for part in parts):
        return [replace(parts[0], staves=staves)]
    return parts


def _parts_of_group(group: Any, outer: str) -> list[Part]:
    staves = list(group.iter("staffDef"))
    own = {label for staff in staves if (label := _label(staff))}
    label = _label(group)
    is_braced = group.get("symbol") == "brace" or group.find("grpSym[@symbol='brace']") is not None
    if staves and len(own) < 2 and (is_braced or (label and not own)):
        name = label or outer or next(iter(own), "")
        return [_played_by(Part(name, staves), group.find("instrDef"))]
    inherited = label if is_braced else outer
    parts = []
    for child in children(group):
        if child.tag == "staffDef":
            name = " ".join(filter(None, (inherited, _label(child))))
            parts.append(_played_by(Part(name, [child]), group.find("instrDef")))
        elif child.tag == "staffGrp":
            parts += _parts_of_group(child, inherited)
    return parts


def _label(element: Any) -> str:
    return " ".join((element.get("label") or text_of(element.find("label"))).split())


def _played_by(part: Part, instrument: Any) -> Part:
    """With what an <instrDef> of the first staff, else of the group, says about playback."""
    first = part.staves[0]
    own = first.find("instrDef")
    instrument = instrument if own is None else own
    if instrument is not None:
        program = instrument.get("midi.instrnum") or ""
        part.program = str(int(program) + 1) if program.isdecimal() and len(program) < 4 else ""
        part.channel = instrument.get("midi.channel") or ""
        part.instrument = instrument.get("midi.instrname") or ""
    if first.get("clef.shape") == "perc" or first.find("clef[@shape='perc']") is not None:
        part.channel = "10"
    return part
