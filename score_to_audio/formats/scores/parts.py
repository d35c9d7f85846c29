"""Which parts of a score are the piano."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

PIANO_PROGRAMS = range(1, 9)
"""General MIDI programs, counted from 1, of the piano family."""
PERCUSSION_CHANNEL = "10"

_PIANO = re.compile(
    # Latin: piano, pianoforte, fortepiano, Klavier, clavecin, klavír, cembalo, keyboard, zongora, klaver, ...
    r"pi[aā]n|pi[jy]ano|fortepi|pno\b|\bpf\b|pfte?\b|klav[ieí]|klav\b|clav(?!es\b)[ieí]|clav\b|keyb|keys\b|rhodes"
    r"|tastiera|tasten(?:instr|\b)|tastatur|teclado|teclat|toetsen|c[eé]mbalo|csembal|harpsic|spinet|[eé]pinette"
    r"|virginal|fl[üuy]+gel|flygel|vleugel|koskettim|glasovir|zongora|dương cầm|píanó|\bcravo\b|celesta"
    r"|steinway|\bgrand\b"
    # Cyrillic, Greek, Armenian, Georgian
    r"|форт[еі]п|форт\.|пи[јй]?ан|піан|роял|клав[еиі]|чембало|ф-но|\bф\.?\s?-?п\b|πι[αά]νο|τσέμπαλο|դաշնամուր|ფორტეპიანო"
    # Hebrew, Arabic, Persian, Devanagari, Thai
    r"|פסנתר|بيانو|پیانو|पियानो|เปียโน"
    # Chinese, Japanese, Korean
    r"|钢\s*琴|鋼\s*琴|洋琴|键盘|鍵盤|羽管键琴|大键琴|大鍵琴|ピアノ|チェンバロ|ハープシコード|キーボード|クラヴィ"
    r"|피아노|하프시코드|쳄발로|건반",
    re.IGNORECASE,
)
_HAND = re.compile(
    r"(?:left|right)[\s-]*hand|[lr]\.?\s?h\.?|(?:linke|rechte)r?\s+hand|main\s+(?:gauche|droite)|m\.?\s?[gds]\.?"
    r"|mano\s+(?:sinistra|destra|izquierda|derecha)|mão\s+(?:esquerda|direita)|(?:лев|прав)ая\s+рука"
    r"|(?:upper|lower)\s+staff|right|left|rechts|links|droite|gauche|destra|sinistra|左手|右手|왼손|오른손",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"voice|vocal|vox|voix|voce|canto|gesang|stimme|singer|soprano?|alto?\b|contralto|tenor|bar[iy]ton|\bbass"
    r"|choir|chor|coro|violin|viola|cello|contrab|flute|fl[öo]te|oboe|clarinet|klarinette|fagott|bassoon|horn"
    r"|trumpet|trompete|trombone|posaune|tuba|cornet|sax|guitar|gitarre|harp\b|harfe|organ\b|orgel|drum"
    r"|cymbal|percussion|timpani|string|recorder",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Part:
    name: str
    """All names printed beside its staves; "" where none is."""
    instrument: str
    """Name of its instrument in playback."""
    sound: str
    is_in_pair: bool
    """A brace joins it and one other part."""
    program: str
    """General MIDI program, counted from 1; "" where none is given."""
    is_percussion: bool
    has_notes: bool
    """Some of its notes have a pitch."""
    has_text: bool
    """Words are sung to it."""
    is_one_staff: bool


def choose_parts(root: Any, wanted: Literal["piano", "all"]) -> tuple[list[int], list[str]]:
    """Indices of the <part> elements to play, and a sentence each on what is left out or merged."""
    names = part_names(root)
    everything = list(range(len(names)))
    if len(names) == 1 or wanted == "all":
        return everything, []
    parts = _describe(root)
    pianos = [i for i in _pianos(parts) if parts[i].has_notes]
    if len(pianos) == len(names):
        return pianos, []
    left_out = _listed(names[i] for i in everything if i not in pianos)
    if pianos:
        played = _listed(names[i] for i in pianos)
        return pianos, [
            f"left out {left_out} and played {played}; set the score option parts=all to merge them"
        ]
    pitched = [i for i in everything if parts[i].has_notes and not parts[i].is_percussion] or everything
    notices = []
    if drums := [names[i] for i in everything if i not in pitched and parts[i].is_percussion]:
        notices.append(f"left out {_listed(drums)} (percussion)")
    if len(pitched) > 1:
        merged = _listed(names[i] for i in pitched)
        notices.append(f"merged all parts ({merged}), since none is recognisably a piano")
    elif not notices:
        notices.append(f"played {_listed([names[pitched[0]]])}, the only part with notes")
    return pitched, notices


def part_names(root: Any) -> list[str]:
    """The names of the <part> elements, in their order; "part 2" for one without a name."""
    named = {
        element.get("id"): " ".join((element.findtext("part-name") or "").split())
        for element in root.iterfind("part-list/score-part")
    }
    return [named.get(part.get("id")) or f"part {i + 1}" for i, part in enumerate(root.findall("part"))]


def _listed(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names)


# ------------------------------------------------------------------------------- what parts look like


def _describe(root: Any) -> list[_Part]:
    listed = _listed_parts(root)
    sizes = Counter(group for _, groups in listed.values() for group in groups)
    found = []
    for part in root.findall("part"):
        described, groups = listed.get(part.get("id"), (None, []))
        texts = dict.fromkeys(("part-name", "part-abbreviation", *_PLAYBACK), "")
        if described is not None:
            texts = {tag: " ".join((described.findtext(tag) or "").split()) for tag in texts}
        group_names = [group.name for group in groups if group.is_braced or sizes[group] == 2]
        names = filter(None, (texts["part-name"], texts["part-abbreviation"], *group_names))
        notes = part.findall("measure/note")
        has_notes = any(note.find("pitch") is not None for note in notes)
        is_struck = (
            texts["midi-instrument/midi-channel"] == PERCUSSION_CHANNEL
            or texts["midi-instrument/midi-unpitched"] != ""
            or (not has_notes and any(note.find("unpitched") is not None for note in notes))
        )
        found.append(
            _Part(
                name=unicodedata.normalize("NFKC", " ".join(names)),
                instrument=texts["score-instrument/instrument-name"],
                sound=texts["score-instrument/instrument-sound"],
                is_in_pair=any(group.is_braced and sizes[group] == 2 for group in groups),
                program=texts["midi-instrument/midi-program"],
                is_percussion=is_struck,
                has_notes=has_notes,
                has_text=any(note.find("lyric") is not None for note in notes),
                is_one_staff=(part.findtext("measure/attributes/staves") or "1").strip() == "1",
            )
        )
    return found


_PLAYBACK = (
    "score-instrument/instrument-name",
    "score-instrument/instrument-sound",
    "midi-instrument/midi-program",
    "midi-instrument/midi-channel",
    "midi-instrument/midi-unpitched",
)


@dataclass(frozen=True, eq=False)
class _Group:
    name: str
    is_braced: bool


def _listed_parts(root: Any) -> dict[str, tuple[Any, list[_Group]]]:
    """Part id -> its <score-part>, and the groups that it stands in."""
    found: dict[str, tuple[Any, list[_Group]]] = {}
    open_groups: dict[str, _Group] = {}
    for element in root.iterfind("part-list/*"):
        if element.tag == "part-group":
            number = element.get("number") or "1"
            open_groups.pop(number, None)
            if element.get("type") == "start":
                name = (element.findtext("group-name") or "").strip()
                open_groups[number] = _Group(name, element.findtext("group-symbol") == "brace")
        elif element.tag == "score-part":
            found[element.get("id")] = element, list(open_groups.values())
    return found


# ----------------------------------------------------------------------------------- what a piano is


def _pianos(parts: Sequence[_Part]) -> list[int]:
    """Parts with the name of a keyboard or of a hand, else with the sound of one, else two in a brace."""
    named = [i for i, part in enumerate(parts) if _PIANO.search(part.name) or _HAND.fullmatch(part.name)]
    if named:
        return sorted([*named, *_other_hand(parts, named)])
    candidates = [
        i
        for i, part in enumerate(parts)
        if not (part.is_percussion or part.has_text or _OTHER.search(part.name))
    ]
    sounding = [i for i in candidates if _sounds_like_a_piano(parts[i], i, parts)]
    pair = [i for i in candidates if parts[i].is_in_pair and parts[i].is_one_staff and not parts[i].name]
    return sounding or (pair if len(pair) == 2 else [])


def _other_hand(parts: Sequence[_Part], named: Sequence[int]) -> list[int]:
    """The part without a name beside a piano of one staff: below it, else above."""
    if len(named) > 1 or not parts[named[0]].is_one_staff:
        return []
    for i in (named[0] + 1, named[0] - 1):
        if 0 <= i < len(parts) and not parts[i].name:
            part = parts[i]
            is_other = part.is_percussion or part.has_text or (part.program and not _has_program(part))
            if part.is_one_staff and part.has_notes and not is_other:
                return [i]
    return []


def _has_program(part: _Part) -> bool:
    return part.program.isdecimal() and int(part.program[:4]) in PIANO_PROGRAMS


def _sounds_like_a_piano(part: _Part, index: int, parts: Sequence[_Part]) -> bool:
    """By its sound, program or instrument. What all parts have, or only the first, is a mere default."""

    def is_told(value: Callable[[_Part], str]) -> bool:
        given = [value(other) for other in parts if other.has_notes]
        alike = len(given) > 1 and len(set(given)) == 1
        only_first = index == 0 and not any(value(other) for other in parts[1:])
        return not alike and not only_first

    return (
        (part.sound.startswith("keyboard.") and is_told(lambda other: other.sound))
        or (_has_program(part) and is_told(lambda other: other.program))
        or (_PIANO.search(part.instrument) is not None and is_told(lambda other: other.instrument))
    )
