"""Writes small MusicXML scores for tests, and reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from score_to_audio.formats.scores.reader import ScoreOptions, parse_score, read_score
from score_to_audio.types import ParsedScore, Score

DIVISIONS = 12
"""Of a quarter note, in every score written here."""


def note(
    pitch: str = "C4",
    quarters: float = 1,
    *,
    id: str = "",
    voice: str | int = 1,
    staff: int | None = None,
    chord: bool = False,
    grace: str | None = None,
    ties: str = "",
    notations: str = "",
    extra: str = "",
    attributes: str = "",
) -> str:
    """A <note>; ``pitch``: "Bb3" or "rest"; ``grace``: attributes of <grace>; ``ties``: "stop start"."""
    if pitch == "rest":
        what = "<rest/>"
    else:
        step, accidental, octave = re.fullmatch(r"([A-G])([#b]*)(-?\d+)", pitch).groups()  # type: ignore[union-attr]
        alter = accidental.count("#") - accidental.count("b")
        what = f"<pitch><step>{step}</step><alter>{alter}</alter><octave>{octave}</octave></pitch>"
    return (
        f"<note{f' id={chr(34)}{id}{chr(34)}' if id else ''} {attributes}>"
        + (f"<grace {grace}/>" if grace is not None else "")
        + extra
        + ("<chord/>" if chord else "")
        + what
        + ("" if grace is not None else f"<duration>{round(quarters * DIVISIONS)}</duration>")
        + "".join(f'<tie type="{kind}"/>' for kind in ties.split())
        + (f"<voice>{voice}</voice>" if voice != "" else "")
        + (f"<staff>{staff}</staff>" if staff else "")
        + (f"<notations>{notations}</notations>" if notations else "")
        + "</note>"
    )


def backup(quarters: float) -> str:
    return f"<backup><duration>{round(quarters * DIVISIONS)}</duration></backup>"


def forward(quarters: float) -> str:
    return f"<forward><duration>{round(quarters * DIVISIONS)}</duration></forward>"


def direction(kind: str, *, sound: str = "", staff: int | None = None, offset: str = "") -> str:
    """A <direction> with the given <direction-type> content and attributes of <sound>."""
    return (
        "<direction>"
        + (f"<direction-type>{kind}</direction-type>" if kind else "")
        + offset
        + (f"<staff>{staff}</staff>" if staff else "")
        + (f"<sound {sound}/>" if sound else "")
        + "</direction>"
    )


def words(text: str, sound: str = "") -> str:
    return direction(f"<words>{text}</words>", sound=sound)


def repeat(direction: str, attributes: str = "") -> str:
    side = "left" if direction == "forward" else "right"
    return f'<barline location="{side}"><repeat direction="{direction}" {attributes}/></barline>'


def ending(number: str, kind: str, *, back: bool = False) -> str:
    side = "left" if kind == "start" else "right"
    sign = '<repeat direction="backward"/>' if back else ""
    return f'<barline location="{side}"><ending number="{number}" type="{kind}"/>{sign}</barline>'


def measure(content: str, number: str | int = "", attributes: str = "") -> str:
    return f'<measure number="{number}" {attributes}>{content}</measure>'


def attributes(beats: int = 4, beat_type: int = 4, fifths: int = 0, extra: str = "") -> str:
    return (
        f"<attributes><divisions>{DIVISIONS}</divisions><key><fifths>{fifths}</fifths></key>"
        f"<time><beats>{beats}</beats><beat-type>{beat_type}</beat-type></time>{extra}</attributes>"
    )


def part(
    measures: Sequence[str], id: str = "P1", *, beats: int = 4, beat_type: int = 4, fifths: int = 0
) -> str:
    """A <part>; contents of measures, numbered from 1, or whole <measure> elements."""
    whole = [
        content if content.startswith("<measure") else measure(content, number)
        for number, content in enumerate(measures, start=1)
    ]
    head, _, rest = whole[0].partition(">")
    whole[0] = f"{head}>{attributes(beats, beat_type, fifths)}{rest}"
    return f'<part id="{id}">{"".join(whole)}</part>'


def document(*parts: str, names: Sequence[str] = ("Piano",), header: str = "") -> str:
    ids = re.findall(r'<part id="([^"]*)"', "".join(parts))
    listed = "".join(
        f'<score-part id="{id}"><part-name>{name}</part-name></score-part>'
        for id, name in zip(ids, names, strict=True)
    )
    content = f"{header}<part-list>{listed}</part-list>{''.join(parts)}"
    return f'<?xml version="1.0" encoding="UTF-8"?><score-partwise version="4.0">{content}</score-partwise>'


def parse(text: str | bytes, name: str = "test.musicxml", **options: object) -> ParsedScore:
    """What a document says, without a file."""
    content = text.encode() if isinstance(text, str) else text
    return parse_score(Score(Path(name), content, parse_score), ScoreOptions(**options))  # type: ignore[arg-type]


def score_of(*measures: str, beats: int = 4, beat_type: int = 4, **options: object) -> ParsedScore:
    """The parsed score of one piano part with the given measures."""
    return parse(document(part(measures, beats=beats, beat_type=beat_type)), **options)


def read_text(folder: Path, text: str | bytes, name: str = "test.musicxml") -> ParsedScore:
    """As ``parse``, through a file."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_score(path).parsed


def rows(parsed: ParsedScore) -> list[tuple[str, float, float]]:
    """(spelling, onset, duration) of the notes."""
    notes = parsed.notes
    return list(zip(notes.spelling, notes.onset.tolist(), notes.duration.tolist(), strict=True))
