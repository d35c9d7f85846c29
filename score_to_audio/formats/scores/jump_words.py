"""Words that steer the playing order: "D.S. al Coda", "To Coda", "Fine", and headings of sections."""

from __future__ import annotations

import re

from score_to_audio.formats.scores.written import Sign, SignKind, Until

LONGEST_JUMP = 80
"""Characters; a longer text is a remark."""

_SEGNO, _CODA = "\U0001d10b", "\U0001d10c"
_GLYPHS = {
    "\ue047": _SEGNO,
    "\ue04a": _SEGNO,
    "\ue04b": _SEGNO,
    "\ue048": _CODA,
    "\ue049": _CODA,
    "⊕": _CODA,
    "\ue045": "D.S.",
    "\U0001d109": "D.S.",
    "\ue046": "D.C.",
    "\U0001d10a": "D.C.",
}
"""SMuFL (range "Repeats") and Unicode characters of the signs."""
_DA_CAPO = re.compile(
    r"\bd\.?\s?c\b\.?|\bda\s?capo\b|\bvo[mn] anfang\b|\bvon vorne?\b"
    r"|\bfrom the (?:beginning|start|top)\b|\b(?:du|au) (?:commencement|début)\b"
)
_DAL_SEGNO = re.compile(
    rf"\bd\.?\s?s\b\.?(?:\s?s\b\.?)?|\bdal\s+(?:segno\b|{_SEGNO}|[%§])|\bvom zeichen\b|\bfrom the sign\b"
    r"|\b[da]u signe\b"
)
_FINE_WORDS = frozenset(["fine", "fin", "finis", "fim", "ende", "end", "schluss", "schluß"])
_CODA_WORDS = frozenset(["coda", _CODA])
_SEGNO_WORDS = frozenset(["segno", _SEGNO, "%", "§"])
_TO = frozenset(["to", "the", "go", "al", "alla", "a", "la", "à", "zur", "zum"])
_WHEN = frozenset(["last", "second", "2nd", "3rd", "4th", "final", "time", "only", "ultima", "volta"])
"""Words that may stand beside "To Coda", which only counts after a jump."""
_REPETITION = re.compile(
    r"\b(?:con|with|mit|avec)\s+(?:all\s+|allen\s+|l[ae]s?\s+)?(?:r[ei]p|wdh|wiederhol|reprise)"
)
_SECTIONS = (
    (re.compile(r"men|men(?:u|uet|uett|uetto|uetti)|min(?:u|ue|uet|uett|uetto)"), "menuet"),
    (re.compile(r"trio|alternativo|musette"), "trio"),
    (re.compile(r"scherz(?:o|ino)"), "scherzo"),
    (re.compile(r"mar(?:cia|ch|che|sch)"), "march"),
    (re.compile(r"pol(?:onaise|acca|onese|ka)"), "polonaise"),
    (re.compile(r"walzer|waltz|valse|valzer"), "waltz"),
    (re.compile(r"mazurk[ae]|mazurek"), "mazurka"),
    (re.compile(r"l[äa]ndler|galop|galopp"), "galop"),
    (
        re.compile(
            r"gavott[ea]|bourr[ée]e|passepied|sarabande?|gigue|rigaudon|loure|anglaise|[ée]cossaise|contredanse"
            r"|allemande|courante|sicilian[ao]|tambourin|intermezzo|tarantell[ae]"
        ),
        "dance",
    ),
    (re.compile(r"aria|air|rond[oò]|rondeau|tema|thema|theme|refrain|ritornello|chorus"), "theme"),
)
"""Titles of sections; those of one row count as the same."""
_HEADING = re.compile(r"\W*(?:tempo d[ei]\s+)?([^\W\d_]+)\W*([ivx\d]+|secondo)?\b", re.IGNORECASE)
_PHRASE = frozenset({
    "al", "alla", "allo", "all", "a", "il", "la", "lo", "l", "le", "e", "et", "ed", "poi", "po", "del",
    "della", "di", "dal", "sin", "sino", "fin", "fino", "segue", "senza", "con", "replica", "repliche",
    "ritornelli", "repetizione", "repetizioni", "ripetizione", "ripetizioni", "ma", "subito", "prima",
    "volta", "attacca", "tempo", "primo", "secondo", "rep", "to", "the", "and", "then", "go", "play",
    "with", "without", "no", "repeat", "repeats", "repeating", "bis", "zum", "zur", "zu", "und", "dann",
    "ohne", "mit", "wiederholung", "wiederholungen", "wdh", "jusqu", "au", "à", "aux", "du", "sans", "puis",
    "reprise", "reprises", "mot", "hasta", "até", "el", "o", "y", "i", "ii", "iii", "iv", "1", "2", "3", "4",
    "1o", "2o",
})  # fmt: skip
"""Words that may stand beside "D.C." or "D.S." in an instruction. Any other word makes it a remark."""


def read_jump(text: str, offset: int = 0) -> Sign | None:
    """The sign that a text stands for; None for a remark, even if it mentions one ("2nd time on D.S.").

    ``offset``: ticks from the start of the measure.
    """
    if len(text) > LONGEST_JUMP:
        return None
    for glyph, name in _GLYPHS.items():
        text = text.replace(glyph, f" {name} ")
    text = " ".join(text.replace("’", "'").split())
    lower = text.lower()
    if (match := _DA_CAPO.search(lower)) is not None:
        return _jump("da-capo", _words(lower[: match.start()]), _words(lower[match.end() :]), offset, text)
    if (match := _DAL_SEGNO.search(lower)) is not None:
        return _jump("dal-segno", _words(lower[: match.start()]), _words(lower[match.end() :]), offset, text)
    kind, label = _mark(_words(lower))
    return None if kind is None else Sign(kind, label, offset, text=text)


def _words(text: str) -> list[str]:
    return re.findall(rf"[^\W_]+|{_SEGNO}|{_CODA}|[%§]", text)


def _mark(words: list[str]) -> tuple[SignKind | None, str]:
    """What words that are no jump stand for, and the number that tells several codas apart."""
    label = next((word for word in words if word.isdecimal()), "")
    said = {word for word in words if not word.isdecimal()}
    if said & _CODA_WORDS:
        others = said - _CODA_WORDS
        is_departure = bool(others & _TO) and others <= _TO | _WHEN
        return ("to-coda" if is_departure else None if others else "coda"), label
    if said and said <= _SEGNO_WORDS:
        return "segno", label
    if said & _FINE_WORDS and said <= _FINE_WORDS | {"il"}:
        return "fine", ""
    return None, ""


def _jump(kind: SignKind, before: list[str], after: list[str], offset: int, text: str) -> Sign | None:
    known = _PHRASE | _FINE_WORDS | _CODA_WORDS | _SEGNO_WORDS
    words = [*before, *after]
    sections = [section for section in map(_section, words) if section]
    if any(word not in known and not _section(word) for word in words):
        return None
    until: Until = ""
    if kind == "da-capo" and _SEGNO_WORDS & set(after) and {"al", "to", "au", "bis"} & set(after):
        until = "segno"
    elif _CODA_WORDS & set(after):
        until = "coda"
    elif _FINE_WORDS & set(after):
        until = "fine"
    with_repeats = _REPETITION.search(text.lower()) is not None
    return Sign(kind, "", offset, until, sections[0] if sections else "", text, with_repeats)


def _section(word: str) -> str:
    return next((section for pattern, section in _SECTIONS if pattern.fullmatch(word)), "")


def section_heading(text: str) -> str:
    """The kind of section that a text announces ("trio" for "Trio. Poco meno mosso"), "" for none.

    The second of two dances is the middle section, as a trio is.
    """
    match = _HEADING.match(text[:LONGEST_JUMP])
    section = _section(match.group(1).lower()) if match is not None else ""
    is_second = match is not None and (match.group(2) or "").lower() in ("ii", "2", "secondo")
    return "trio" if is_second and section in ("menuet", "dance", "march", "waltz") else section
