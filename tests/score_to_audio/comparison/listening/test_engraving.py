from __future__ import annotations

from pathlib import Path

import pytest

from score_to_audio.comparison.listening import engraving
from score_to_audio.comparison.listening.engraving import LAYOUTS, engrave
from score_to_audio.comparison.listening.page_data import drawn_notes
from score_to_audio.errors import InputError
from score_to_audio.formats.scores.reader import read_score
from tests.score_to_audio.comparison.listening.comparisons import SCORES

MEI = """<?xml version="1.0" encoding="UTF-8"?>
<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0"><music><body><mdiv><score>
<scoreDef meter.count="4" meter.unit="4"><staffGrp>
<staffDef n="1" lines="5" clef.shape="G" clef.line="2"/></staffGrp></scoreDef>
<section><measure n="1"><staff n="1"><layer n="1"><note xml:id="first" dur="2" oct="5" pname="c"/>
<note xml:id="second" dur="2" oct="5" pname="d"/></layer></staff></measure></section></score></mdiv></body>
</music></mei>
"""


@pytest.mark.parametrize("path", sorted(SCORES.glob("*.musicxml")), ids=lambda path: path.stem)
def test_every_note_that_is_played_is_drawn_in_both_layouts(path: Path) -> None:
    score = read_score(path)
    engraved = engrave(score)
    names = drawn_notes(score.parsed, engraved)
    assert all(names)
    for layout in LAYOUTS:
        pages = engraved.layouts[layout]
        assert set(names) <= frozenset().union(*(page.notes for page in pages))
        for page in pages:
            assert all(f'id="{note}"' in page.svg for note in page.notes)
    assert len(engraved.layouts["narrow"]) >= len(engraved.layouts["wide"])


def test_a_repeated_note_has_one_drawing() -> None:
    score = read_score(SCORES / "petzold_minuet_bwv_anh114.musicxml")
    names = dict(zip(score.parsed.notes.id, drawn_notes(score.parsed, engrave(score)), strict=True))
    stem = next(name for name in names if name.endswith("-2"))[:-2]
    assert names[f"{stem}-1"] == names[f"{stem}-2"]


def test_staves_that_a_file_does_not_declare_are_drawn(tmp_path: Path) -> None:
    declared = SCORES / "petzold_minuet_bwv_anh114.musicxml"
    text = declared.read_text()
    assert "<staves>2</staves>" in text
    path = tmp_path / declared.name
    path.write_text(text.replace("<staves>2</staves>", ""))
    one, other = (engrave(read_score(score)).layouts["narrow"] for score in (declared, path))
    assert [(page.width, page.height) for page in one] == [(page.width, page.height) for page in other]


def test_metronome_marks_bring_their_font() -> None:
    assert engrave(read_score(SCORES / "schumann_kinderszenen_op15_no1.musicxml")).font.startswith(b"wOF2")


def test_mei_is_engraved_from_its_own_notation(tmp_path: Path) -> None:
    path = tmp_path / "score.mei"
    path.write_text(MEI)
    score = read_score(path)
    assert all(drawn_notes(score.parsed, engrave(score)))


def test_of_a_drawing_only_what_is_known_is_kept() -> None:
    drawing = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10" onload="x()"><script>x()</script>
    <defs><g id="E0A4-a"><path d="M0 0" onclick="x()"/></g></defs><svg viewBox="0 0 100 100">
    <style>@import "http://x.example";</style><foreignObject><p>x</p></foreignObject>
    <g class="note evil" id="a" onclick="x()" style="fill:red"><use href="#E0A4-a" transform="scale(2)"/>
    <use href="http://x.example/y.svg#a" x="1"/><a href="javascript:x()"><path d="M1 1"/></a></g>
    <g class="note" id="unknown"><path d="M0 0" fill="url(http://x.example)"/></g></svg></svg>"""
    page = engraving.sanitized_page(drawing, {"a": "n1"}, "x")
    assert page.notes == {"n1"}
    assert (page.width, page.height) == (100, 100)
    for evil in (
        "script",
        "onclick",
        "onload",
        "style",
        "example",
        "javascript",
        "foreign",
        "unknown",
        "evil",
    ):
        assert evil not in page.svg
    assert '<use href="#glyph-E0A4" transform="scale(2)"/>' in page.svg


def test_without_verovio_the_reason_and_the_way_out_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engraving, "can_engrave", lambda: False)
    with pytest.raises(InputError, match=r"score-to-audio\[listening\]"):
        engrave(read_score(SCORES / "chopin_prelude_op28_no7.musicxml"))


def test_an_engraver_that_fails_or_hangs_costs_one_score(monkeypatch: pytest.MonkeyPatch) -> None:
    score = read_score(SCORES / "chopin_prelude_op28_no7.musicxml")
    monkeypatch.setattr(engraving, "DRAW_SCRIPT", "import os; os.abort()")
    with pytest.raises(InputError, match="could not engrave"):
        engrave(score)
    monkeypatch.setattr(engraving, "DRAW_SCRIPT", "import time; time.sleep(60)")
    monkeypatch.setattr(engraving, "TIME_LIMIT", 0.5)
    with pytest.raises(InputError, match="took longer"):
        engrave(score)
