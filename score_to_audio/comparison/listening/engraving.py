"""Scores as pages of SVG with identified notes, by verovio (extra ``listening``).

Verovio runs in its own process, with a time limit: a score that breaks it costs one engraving. Only known
elements and attributes of its drawings are kept, since their texts come from the score.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from score_to_audio.errors import InputError
from score_to_audio.formats.scores.files import parse_xml
from score_to_audio.formats.scores.reader import notation
from score_to_audio.types import Score

TIME_LIMIT = 120.0
"""Seconds for one score in all its layouts; a sonata movement of 30 pages takes about 5."""
LAYOUTS = {"wide": 2400, "narrow": 1000}
"""Page widths in tenths of a millimetre: about five measures in a system, and two for phones."""
PAGE_HEIGHT = 1500
"""In the same unit: short, because pages are loaded one by one."""
MARGIN = 50
OPTIONS = {
    "pageHeight": PAGE_HEIGHT,
    "pageMarginTop": MARGIN,
    "pageMarginBottom": MARGIN,
    "pageMarginLeft": MARGIN,
    "pageMarginRight": MARGIN,
    "adjustPageHeight": True,
    "breaks": "auto",
    "mdivAll": True,
    "header": "none",
    "footer": "none",
    "smuflTextFont": "embedded",
    "svgFormatRaw": True,
    "svgRemoveXlink": True,
    "svgViewBox": True,
    "xmlIdSeed": 1,
}

MISSING = "engraving needs the extra 'listening' (pip install score-to-audio[listening])"


@dataclass(frozen=True)
class Page:
    """A page of the score; width and height in units of its view box."""

    svg: str
    width: float
    height: float
    notes: frozenset[str]
    """Ids of the drawn notes, as in ``Engraving.ids``."""


@dataclass(frozen=True)
class Engraving:
    layouts: Mapping[str, tuple[Page, ...]]
    """Name in ``LAYOUTS`` -> pages."""
    ids: Mapping[str, str]
    """Id of a note in the score, without its pass -> id of its drawing."""
    font: bytes
    """WOFF2 with the music symbols within texts; empty where there are none."""


def can_engrave() -> bool:
    return find_spec("verovio") is not None


def engrave(score: Score) -> Engraving:
    """Raises ``InputError`` where the score has no notation or verovio fails on it."""
    if not can_engrave():
        raise InputError(MISSING)
    text, ids = notation(score)
    drawn = _draw(text, str(score.path))
    known = {given: f"n{number}" for number, given in enumerate(ids.values(), start=1)}
    font = _font("".join(svg for pages in drawn.values() for svg in pages))
    layouts = {
        layout: tuple(sanitized_page(svg, known, str(score.path)) for svg in pages)
        for layout, pages in drawn.items()
    }
    return Engraving(layouts, {note_id: known[given] for note_id, given in ids.items()}, font)


def _draw(text: str, name: str) -> dict[str, list[str]]:
    """Layout -> SVG pages as verovio draws them."""
    command = [sys.executable, "-c", DRAW_SCRIPT, json.dumps({"options": OPTIONS, "layouts": LAYOUTS})]
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=TIME_LIMIT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{name}: engraving took longer than {TIME_LIMIT:.0f} seconds") from error
    if done.returncode != 0 or not done.stdout:
        raise InputError(f"{name}: verovio could not engrave it; the piano roll is shown alone")
    drawn: dict[str, list[str]] = json.loads(done.stdout)
    return drawn


DRAW_SCRIPT = """
import json, sys
import verovio
verovio.enableLog(verovio.LOG_OFF)
task = json.loads(sys.argv[1])
text = sys.stdin.buffer.read().decode()
drawn = {}
for layout, width in task["layouts"].items():
    toolkit = verovio.toolkit()
    toolkit.setOptions(task["options"] | {"pageWidth": width})
    if not toolkit.loadData(text):
        sys.exit(1)
    drawn[layout] = [toolkit.renderToSVG(page + 1) for page in range(toolkit.getPageCount())]
json.dump(drawn, sys.stdout)
"""


# ------------------------------------------------------------------------------------------- the drawing

_SVG = "{http://www.w3.org/2000/svg}"
_SHAPES = frozenset({"g", "path", "polygon", "polyline", "rect", "ellipse", "circle", "use", "text", "tspan"})
_NUMBERS = frozenset(
    {
        "d", "points", "transform", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "ry", "dx", "dy",
        "width", "height", "stroke-width", "stroke-dasharray", "font-size", "fill-opacity", "opacity",
        "stroke-opacity",
    }
)  # fmt: skip
_WORDS = frozenset(
    {
        "text-anchor", "font-style", "font-weight", "stroke-linecap", "stroke-linejoin", "fill", "stroke",
        "font-family", "visibility",
    }
)  # fmt: skip
_PLAIN_NUMBERS = re.compile(r"[\s\w.,()+-]*")
_PLAIN_WORDS = re.compile(r"[\w, #-]{0,40}")
_CLASSES = frozenset(
    {"note", "system", "measure", "ending", "fing", "reh", "tempo", "dir", "dynam", "mNum", "rend"}
)
"""Verovio's classes that the page's scripts and style use."""
_FONT = re.compile(r"@font-face\s*\{[^}]*?url\(data:[\w/;=+-]*;base64,([A-Za-z0-9+/=]+)\)")


def sanitized_page(svg: str, known: Mapping[str, str], name: str) -> Page:
    """A new page made of the harmless parts of a drawing."""
    from lxml import etree

    root = parse_xml(svg, name)
    drawing = next(root.iter(f"{_SVG}svg"))
    inner = drawing.find(f"{_SVG}svg")
    inner = drawing if inner is None else inner
    _, _, width, height = (float(number) for number in (inner.get("viewBox") or "0 0 0 0").split())
    page = etree.Element("svg", viewBox=f"0 0 {width:g} {height:g}", nsmap={None: _SVG[1:-1]})
    glyphs = {glyph.get("id"): glyph for glyph in root.iterfind(f"{_SVG}defs/{_SVG}g")}
    names = {glyph_id: "glyph-" + glyph_id.split("-")[0] for glyph_id in glyphs}
    definitions = etree.SubElement(page, "defs")
    for glyph_id, glyph in glyphs.items():
        _copy_children(glyph, etree.SubElement(definitions, "g", id=names[glyph_id]), {}, {})
    found = _copy_children(inner, page, known, names)
    return Page(etree.tostring(page, encoding="unicode"), width, height, frozenset(found))


def _copy_children(source: Any, target: Any, known: Mapping[str, str], glyphs: Mapping[str, str]) -> set[str]:
    """Copies the harmless parts; the ids of the notes among them."""
    from lxml import etree

    notes = set()
    for child in source:
        tag = child.tag.removeprefix(_SVG) if isinstance(child.tag, str) else ""
        classes = (child.get("class") or "").split()
        if tag not in _SHAPES or "placeholder" in classes:
            continue
        copy = etree.SubElement(target, tag, dict(_attributes(child, tag, glyphs)))
        copy.text, copy.tail = child.text, child.tail
        note = known.get(child.get("id") or "")
        if note is not None and "note" in classes:
            copy.set("id", note)
            notes.add(note)
        notes |= _copy_children(child, copy, known, glyphs)
        if tag == "g" and not len(copy):
            target.remove(copy)
    return notes


def _attributes(element: Any, tag: str, glyphs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in element.attrib.items():
        if (key in _NUMBERS and _PLAIN_NUMBERS.fullmatch(value)) or (
            key in _WORDS and _PLAIN_WORDS.fullmatch(value)
        ):
            yield key, value
        elif key == "class" and (classes := [name for name in value.split() if name in _CLASSES]):
            yield "class", " ".join(classes)
        elif tag == "use" and key == "href" and value[1:] in glyphs:
            yield "href", "#" + glyphs[value[1:]]


def _font(svg: str) -> bytes:
    found = _FONT.search(svg)
    try:
        return base64.b64decode(found.group(1), validate=True) if found else b""
    except binascii.Error:
        return b""
