"""What the words in a score mean for tempo, dynamics and pedal: Italian, German, French terms."""

from __future__ import annotations

import html
import re
from typing import NamedTuple

from score_to_audio.formats.scores.written import Kind


class Meaning(NamedTuple):
    kind: Kind
    text: str
    lasts: bool = False
    """True where it goes on until something ends it."""


LONGEST_TEXT = 500
"""Characters of a text that are read."""
LONGEST_TERM = 60
"""Characters; longer text is a remark, not a term (titles, footnotes, translations)."""


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile(r"(?<![\w'’])(?:" + "|".join(alternatives) + ")", re.IGNORECASE)


_RESET = _pattern(
    r"a\s+tempo\b",
    r"in\s+tempo\b(?!\s+d)",
    r"al\s+tempo\b",
    r"im\s+(?:ersten\s+)?(?:tempo|zeitma(?:ß|ss))",
    r"tempo\s*(?:primo|prim\b|imo\b|1|i\b|iº|i°|io\b)",
    r"(?:primo|erstes|1(?:o|er|re|º|°)?\.?)\s+tempo",
    r"au\s+mouv",
    r"1?\s*(?:er|re|º|°)\s+mouv",
    r"repren\w*\s+le\s+mouv",
    r"en\s+mesure",
    r"come\s+prima",
    r"^\W*tempo\W*$",
)
_MORE = r"(?:più|piu|meno|plus|moins)"
_PACE = r"(?:mosso|animato|lento|largo|presto|allegro|agitato|stretto|vite|lent|animé|schneller|langsamer)"
_GRADUAL_TEMPO = _pattern(
    r"rit(?:\b|ard|ar\b|en)",
    r"rall?en?t?(?:\b|a)",
    r"rall\b",
    r"slent",
    r"allarg",
    r"accel",
    r"string(?:\b|endo)",
    r"strett[oa]\b",
    r"affrett",
    r"calando",
    r"smorz",
    r"morendo",
    r"perdend",
    r"c[ée]de[zr]",
    r"serre[zr]",
    r"presse[zr]",
    r"(?<!sans )ralenti",
    r"(?:en\s+)?reten(?:ant|u)",
    r"en\s+(?:élargissant|animant|accélérant|serrant|pressant)",
    r"zurückhalt",
    r"zögern",
    r"nachlassen",
    r"verbreitern",
    r"beschleunig",
    r"eilen",
    rf"(?:poco\s+a\s+poco|peu\s+à\s+peu|nach\s+und\s+nach)\s+(?:{_MORE}\s+)?{_PACE}",
    rf"(?:sempre|toujours)\s+{_MORE}\s+{_PACE}",
    r"immer\s+(?:schneller|langsamer|lebhafter|ruhiger)",
    r"(?:schneller|langsamer|bewegter|lebhafter|ruhiger)\s+werden",
)
_TEMPO = _pattern(
    r"larg(?:o|hetto|amente)\b",
    r"lent(?:o|issimo|amente)?\b",
    r"grave\b",
    r"adagi(?:o|etto|ssimo)\b",
    r"andant(?:e|ino)\b",
    r"moderat[oi]",
    r"modéré",
    r"allegr(?:o|etto|issimo|amente)\b",
    r"vivac(?:e|issimo|issimamente)\b",
    r"viv[oe]\b",
    r"vif\b",
    r"prest(?:o|issimo)\b",
    r"animat[oa]\b",
    r"animé",
    r"agitato\b",
    r"tranquill[oa]\b",
    r"maestoso\b",
    r"comodo\b",
    r"mosso\b",
    r"più\s+moto\b",
    r"con\s+moto\b",
    r"doppio\s+movimento",
    r"tempo\s+(?:di|d['’]|giusto|rubato)",
    r"large\b",
    r"lively\b",
    r"slow(?:er|ly)?\b",
    r"fast(?:er)?\b",
    r"langsam(?:er)?\b",
    r"schnell(?:er)?\b",
    r"rasch(?:er)?\b",
    r"lebhaft(?:er|esten)?\b",
    r"lebhaftig\b",
    r"mäßig|mässig",
    r"bewegt(?:er)?\b",
    r"geschwind",
    r"gehend(?:er)?\b",
    r"ruhig(?:er)?\b",
)
_LOUDER = _pattern(r"cresc", r"cre\b", r"(?:sempre|poco a poco)\s+pi[ùu]\s+forte", r"augment")
_SOFTER = _pattern(
    r"dim(?:\b|in)",
    r"decres",
    r"decr\b",
    r"smorz",
    r"morendo",
    r"perdend",
    r"calando",
    r"mancando",
    r"diluendo",
    r"raddolc",
    r"(?:sempre|poco a poco)\s+pi[ùu]\s+(?:piano|dolce)",
)
_SFORZANDO = _pattern(r"sforz(?:ando|ato)", r"sfz\b", r"sf\b")
_RINFORZANDO = _pattern(r"rinf(?:\b|orz)", r"rfz?\b")
_SIGN = re.compile(r"(?<![\w.])(p{1,6}|f{1,6}|mp|mf)(?![\w'’])")
_NAMED_LEVEL = {
    "pianissimo": "pp",
    "mezzo piano": "mp",
    "mezzo forte": "mf",
    "fortissimo": "ff",
    "piano": "p",
    "forte": "f",
}
_LEVEL_NAME = re.compile(
    r"(?<!più )(?<!piu )(?<!meno )(?<!\w)(pianissimo|mezzo piano|mezzo forte|fortissimo|piano|forte)\b",
    re.IGNORECASE,
)
_SOFT_PEDAL_ON = _pattern(r"una\s+cord[ao]")
_SOFT_PEDAL_OFF = _pattern(r"tre\s+cord", r"tutte\s+le\s+cord", r"due\s+cord")
_REMARK = _pattern(r"attacca", r"fine\b", r"d\.\s?[cs]\.", r"var\b")

_GLYPHS = {"\ue650": "Ped.", "\ue655": "*"}
"""SMuFL glyphs that some programs write as words: keyboardPedalPed, keyboardPedalUp."""


def plain_text(text: str) -> str:
    """The text on one line, without markup and without the dashes that draw an extension."""
    text = re.sub(r"</?[a-z][^>]*>", "", html.unescape(text[:LONGEST_TEXT]))
    text = " ".join(text.split())
    return text.rstrip(" -–_") if re.search(r"[^\W_]", text) else text


def meanings(text: str) -> list[Meaning]:
    """What a text says, as directions; [("words", text)] where it is none of the terms known here."""
    if len(text) > LONGEST_TERM or _REMARK.match(text.lstrip("( ")):
        return [Meaning("words", text)]
    found = [*_tempo_meanings(text), *_dynamic_meanings(text)]
    return found or [Meaning("words", text)]


def _tempo_meanings(text: str) -> list[Meaning]:
    found: list[Meaning] = []
    reset = _RESET.search(text) is not None
    gradual = _GRADUAL_TEMPO.search(text) is not None
    if reset:
        found.append(Meaning("tempo-reset", text))
    if gradual:
        found.append(Meaning("tempo-change", text, lasts=True))
    if not reset and not gradual and _TEMPO.search(text):
        found.append(Meaning("tempo", text))
    return found


def _dynamic_meanings(text: str) -> list[Meaning]:
    found: list[Meaning] = []
    found.extend(Meaning("dynamic", match.group(1)) for match in _SIGN.finditer(text))
    if _LOUDER.search(text):
        found.append(Meaning("hairpin", "crescendo", lasts=True))
    elif _SOFTER.search(text):
        found.append(Meaning("hairpin", "diminuendo", lasts=True))
    elif named := _LEVEL_NAME.search(text):
        found.append(Meaning("dynamic", _NAMED_LEVEL[named.group(1).lower()]))
    if _RINFORZANDO.search(text):
        found.append(Meaning("impulse", "rf"))
    elif _SFORZANDO.search(text):
        found.append(Meaning("impulse", "sfz"))
    return found


def pedal_action(text: str) -> tuple[str, bool] | None:
    """(pedal, down) for words that press or release a pedal: "Ped.", "*", "una corda", "tre corde"."""
    bare = _GLYPHS.get(text, text).strip("() ")
    if re.fullmatch(r"ped\.?", bare, re.IGNORECASE):
        return "sustain", True
    if bare == "*":
        return "sustain", False
    if _SOFT_PEDAL_ON.search(text):
        return "soft", True
    if _SOFT_PEDAL_OFF.search(text):
        return "soft", False
    return None


_NOTE_GLYPHS = {
    "𝅝": 4.0,
    "\ueca2": 4.0,
    "\ue1d2": 4.0,
    "𝅗𝅥": 2.0,
    "\ueca3": 2.0,
    "\ue1d3": 2.0,
    "♩": 1.0,
    "𝅘𝅥": 1.0,
    "\ueca5": 1.0,
    "\ue1d5": 1.0,
    "♪": 0.5,
    "𝅘𝅥𝅮": 0.5,
    "\ueca7": 0.5,
    "\ue1d7": 0.5,
    "\ueca9": 0.25,
    "\ue1d9": 0.25,
}
"""Unicode and SMuFL (metronome marks, individual notes) characters of note values, in quarter notes."""
_METRONOME = re.compile(
    "(" + "|".join(map(re.escape, _NOTE_GLYPHS)) + r")\s*([.\uecb7\ue1e7·]*)\s*=\s*(.+)", re.DOTALL
)


def metronome_in_words(text: str) -> float | None:
    """Quarter notes per minute of a metronome mark that is written as text, such as "(♩. = 80)"."""
    match = _METRONOME.search(text)
    if match is None:
        return None
    per_minute = beats_per_minute(match.group(3))
    return (
        None if per_minute is None else per_minute * dotted(_NOTE_GLYPHS[match.group(1)], len(match.group(2)))
    )


def beats_per_minute(text: str) -> float | None:
    """The number in "120", "ca. 120", "c. 60.5"; the middle of "112-120"."""
    numbers = [float(number) for number in re.findall(r"\d{1,4}(?:\.\d{1,12})?", text[:40])][:2]
    numbers = [number for number in numbers if number > 0]
    if not numbers:
        return None
    is_range = len(numbers) == 2 and re.search(r"\d\s*[-–—]\s*\d", text) is not None
    return sum(numbers) / 2 if is_range else numbers[0]


def dotted(quarters: float, dots: int) -> float:
    return quarters * (2 - 0.5 ** min(dots, 4))
