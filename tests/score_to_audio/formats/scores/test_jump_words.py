"""Words that steer the playing order; most are from real scores."""

from __future__ import annotations

import pytest

from score_to_audio.formats.scores.jump_words import read_jump, section_heading


@pytest.mark.parametrize(
    ("text", "kind", "until", "section"),
    [
        ("D.C. al Fine", "da-capo", "fine", ""),
        ("D.C.", "da-capo", "", ""),
        ("D. C.", "da-capo", "", ""),
        ("DC al Coda", "da-capo", "coda", ""),
        ("Da Capo\nal Fine.", "da-capo", "fine", ""),
        ("Da capo senza replica sin' al fine", "da-capo", "fine", ""),
        ("D.C. al Fine e poi la Coda", "da-capo", "coda", ""),
        ("Menuetto D.C.", "da-capo", "", "menuet"),
        ("Men. D. C. senza replica", "da-capo", "", "menuet"),
        ("D.C. il Minuetto", "da-capo", "", "menuet"),
        ("Scherzo da Capo e poi la Coda", "da-capo", "coda", "scherzo"),
        ("Marcia D.C.", "da-capo", "", "march"),
        ("Vom Anfang bis zum Schluß", "da-capo", "fine", ""),
        ("D.S.", "dal-segno", "", ""),
        ("D. S. al Coda", "dal-segno", "coda", ""),
        ("Dal Segno al Fine", "dal-segno", "fine", ""),
        ("Dal 𝄋 al 𝄌", "dal-segno", "coda", ""),
        ("D.S. \ue04a", "dal-segno", "", ""),
        ("D.S.S. al Fine", "dal-segno", "fine", ""),
        ("D.C. al Segno", "da-capo", "segno", ""),
        ("Da Capo al 𝄋 poi segue la Coda", "da-capo", "segno", ""),
        ("Mazurka D.C. al Fine", "da-capo", "fine", "mazurka"),
        ("Ländler da capo", "da-capo", "", "galop"),
        ("D.C. jusqu'au mot Fin", "da-capo", "fine", ""),
        ("D.C. hasta Fin", "da-capo", "fine", ""),
        ("Fine", "fine", "", ""),
        ("(FINE.)", "fine", "", ""),
        ("To Coda", "to-coda", "", ""),
        ("al Coda", "to-coda", "", ""),
        ("To Coda (2nd time)", "to-coda", "", ""),
        ("To Coda last time only", "to-coda", "", ""),
        ("To Coda ⊕", "to-coda", "", ""),
        ("Coda", "coda", "", ""),
        ("𝄌 CODA", "coda", "", ""),
        ("Segno", "segno", "", ""),
        ("\ue047", "segno", "", ""),
    ],
)
def test_jumps(text: str, kind: str, until: str, section: str) -> None:
    sign = read_jump(text)
    assert sign is not None
    assert (sign.kind, sign.until, sign.section) == (kind, until, section)


def test_a_number_tells_codas_apart() -> None:
    assert [sign.label for sign in map(read_jump, ("To Coda 2", "Coda 2")) if sign] == ["2", "2"]


@pytest.mark.parametrize(
    "text",
    [
        "second time only on D.S.",
        "da capo per l’ordinario",
        "tacet at the D.C.",
        "play trill after D.S.",
        "accelerando sin al fine",
        "dim. e rall. alla fine",
        "without repeat but with Coda, & then 2nd verse",
        "Codetta",
        "diminuendo",
        "scherzando",
        "",
        "*",
        "D.C. " * 40,
    ],
)
def test_remarks(text: str) -> None:
    assert read_jump(text) is None


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("Trio", "trio"),
        ("(Trio)", "trio"),
        ("TRIO. Poco meno mosso", "trio"),
        ("Menuetto II", "trio"),
        ("MENUETTO\n    Allegro", "menuet"),
        ("Menuetto I", "menuet"),
        ("Tempo di Menuetto", "menuet"),
        ("Scherzo", "scherzo"),
        ("scherzando", ""),
        ("Trionfale", ""),
        ("Allegro", ""),
        ("", ""),
    ],
)
def test_headings(text: str, section: str) -> None:
    assert section_heading(text) == section
