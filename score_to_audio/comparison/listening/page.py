"""The listening page: a comparison as one static folder that opens from disk, without a server."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from html import escape
from importlib.resources import files
from pathlib import Path

from score_to_audio.comparison.listening import page_data
from score_to_audio.comparison.listening.blind import BlindRow, blind_test, shown_trials
from score_to_audio.comparison.listening.comparison import Blind, Cell, Comparison, Row, Section
from score_to_audio.comparison.listening.page_data import Json, RowScore
from score_to_audio.errors import InputError
from score_to_audio.files import replace_atomically

SCRIPTS = (
    "parts.js", "place.js", "player.js", "score.js", "pictures.js", "stage.js", "compare.js", "blind.js",
)  # fmt: skip
PLAYABLE = (".mp3", ".ogg", ".flac", ".wav")
SIGN = '<meta name="generator" content="score-to-audio">'
"""By which a folder is known to hold an earlier page."""
COPIED_AT = 946_684_800
"""The first second of 2000: the time of all recordings in the folder, so that it says nothing about them."""
BLIND_TITLE = "Listening test"
"""The comparison's own title may name what is hidden."""


def write_page(comparison: Comparison, folder: Path, *, blind: Blind | None = None) -> Path:
    """Write the page and everything it needs into ``folder``; the path of its ``index.html``.

    ``folder`` is made, or replaced if it holds an earlier page. With ``blind`` names are hidden, votes are
    collected, and the key goes to ``blind.key_file``. Raises ``InputError`` for a folder that holds something
    else, for a key inside the folder, and for a comparison that contradicts itself.
    """
    folder = Path(folder)
    _check_folder(folder)
    _check(comparison)
    comparison = _with_known_failures(comparison)
    if blind and folder.resolve() in blind.key_file.resolve().parents:
        raise InputError(f"{blind.key_file}: the key must not lie in the folder for the listeners")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        made = Path(temporary) / "page"
        for name in ("data", "audio"):
            (made / name).mkdir(parents=True)
        if blind is None:
            _write_comparison(comparison, made)
        else:
            _write_blind(comparison, made, blind)
        if folder.exists():
            folder.rename(Path(temporary) / "earlier")
        made.rename(folder)
    return folder / "index.html"


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder for the page")
    index = folder / "index.html"
    earlier = index.is_file() and SIGN in index.read_text("utf-8", "replace")
    if any(folder.iterdir()) and not earlier:
        raise InputError(f"{folder} holds something else than a listening page; give an empty folder")


def _check(comparison: Comparison) -> None:
    for section in comparison.sections:
        keys = [condition.key for condition in section.conditions]
        if len(set(keys)) < len(keys):
            raise InputError(f"the section {section.title!r} has a condition twice")
        for row in section.rows:
            used = [cell.condition for cell in row.cells]
            if len(set(used)) < len(used):
                raise InputError(f"{row.name!r} has two cells of one condition")
            if unknown := set(used) - set(keys):
                raise InputError(f"{row.name!r} has a cell of the unknown condition {min(unknown)!r}")
            for cell in row.cells:
                if cell.audio is not None and cell.audio.suffix.lower() not in PLAYABLE:
                    raise InputError(f"{cell.audio}: browsers play {', '.join(PLAYABLE)}")


def _with_known_failures(comparison: Comparison) -> Comparison:
    """Recordings that cannot be read are failures of their cells alone."""
    sections = tuple(
        replace(
            section,
            rows=tuple(
                replace(row, cells=tuple(page_data.heard(cell) for cell in row.cells)) for row in section.rows
            ),
        )
        for section in comparison.sections
    )
    return replace(comparison, sections=sections)


# -------------------------------------------------------------------------------------------- the folder


def _write_comparison(comparison: Comparison, folder: Path) -> None:
    number = 0
    sections = []
    fonts: set[bytes] = set()
    for section in comparison.sections:
        rows = []
        for row in section.rows:
            number += 1
            rows.append(_write_row(section, row, number, folder, fonts))
        sections.append(page_data.section_overview(section, rows))
    _write_data(folder, "page", page_data.overview(comparison, sections))
    _write_frame(folder, comparison.title, fonts)


def _write_row(section: Section, row: Row, number: int, folder: Path, fonts: set[bytes]) -> Json:
    name = f"row-{number:02}"
    by_condition = {cell.condition: cell for cell in row.cells}
    cells = [
        by_condition.get(condition.key, Cell(condition.key, failure="not part of this row"))
        for condition in section.conditions
    ]
    score = page_data.read_row_score(row)
    pages = _write_pages(score, cells, name, folder, fonts)
    _write_data(folder, name, page_data.row_data(score, cells, pages))
    audio = [
        _copy_audio(cell.audio, folder, f"{number:02}-{_slug(row.name)}-{_slug(condition.label)}")
        for cell, condition in zip(cells, section.conditions, strict=True)
    ]
    shown = [page_data.cell_overview(*one) for one in zip(cells, audio, page_data.gains(cells), strict=True)]
    return page_data.row_overview(row, name, shown)


def _write_blind(comparison: Comparison, folder: Path, blind: Blind) -> None:
    test = blind_test(comparison, blind)
    stimuli: dict[str, Json] = {}
    fonts: set[bytes] = set()
    named = [(one, f"row-{number:02}") for number, one in enumerate(test.rows, start=1)]
    for one, name in named:
        stimuli |= _write_blind_row(one, name, folder, fonts)
    page = {
        "title": BLIND_TITLE,
        "blind": {
            "test": test.key.test,
            "kind": blind.kind,
            "most": blind.most_trials,
            # Sorted by their random ids, so that nothing follows from their order.
            "trials": sorted(shown_trials(named), key=lambda trial: str(trial["id"])),
            "stimuli": dict(sorted(stimuli.items())),
        },
    }
    _write_data(folder, "page", page)
    _write_frame(folder, BLIND_TITLE, fonts)
    _write_key(blind.key_file, json.dumps(asdict(test.key), indent=1, ensure_ascii=False))


def _write_blind_row(one: BlindRow, name: str, folder: Path, fonts: set[bytes]) -> dict[str, Json]:
    cells = list(one.stimuli.values())
    score = page_data.read_row_score(one.row)
    pages = _write_pages(score, cells, name, folder, fonts)
    _write_data(folder, name, page_data.blind_row_data(score, dict(sorted(one.stimuli.items())), pages))
    shown = {}
    for (stimulus, cell), gain in zip(one.stimuli.items(), page_data.gains(cells), strict=True):
        audio = _copy_audio(cell.audio, folder, stimulus)
        overview = page_data.cell_overview(cell, audio, gain)
        shown[stimulus] = {key: overview[key] for key in ("audio", "duration", "gain")}
    return shown


def _write_key(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text + "\n")
    replace_atomically(Path(file.name), path)


def _write_pages(
    score: RowScore, cells: Sequence[Cell], name: str, folder: Path, fonts: set[bytes]
) -> Mapping[str, Sequence[Json]]:
    if score.engraving is None:
        return {}
    fonts.add(score.engraving.font)
    written: dict[str, list[Json]] = {}
    for layout, pages in page_data.shown_pages(score, cells).items():
        written[layout] = []
        for number, page in enumerate(pages, start=1):
            data = f"{name}-{layout}-{number}"
            _write_data(folder, data, page.svg)
            written[layout].append({"data": data, "width": page.width, "height": page.height})
    return written


def _write_data(folder: Path, name: str, value: Json) -> None:
    """A script that hands the value to the page; JSON in ASCII is JavaScript."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    (folder / "data" / f"{name}.js").write_text(f"listening.data({json.dumps(name)},{text})\n", "ascii")


def _write_frame(folder: Path, title: str, fonts: set[bytes]) -> None:
    web = files("score_to_audio.comparison.listening") / "web"
    for name in SCRIPTS:
        (folder / name).write_bytes((web / name).read_bytes())
    style = (web / "page.css").read_text("utf-8")
    (folder / "page.css").write_text(
        style + "".join(_font_face(font) for font in sorted(fonts) if font), "utf-8"
    )
    index = (web / "index.html").read_text("utf-8").replace("{title}", escape(title))
    (folder / "index.html").write_text(index, "utf-8")


def _font_face(font: bytes) -> str:
    """Inline, since a page opened from disk may not load fonts from files."""
    data = base64.b64encode(font).decode("ascii")
    return f'@font-face{{font-family:"Leipzig";src:url(data:font/woff2;base64,{data}) format("woff2")}}\n'


def _copy_audio(source: Path | None, folder: Path, stem: str) -> str | None:
    """Copy a recording; its place in the folder."""
    if source is None:
        return None
    name = f"audio/{stem}{source.suffix.lower()}"
    try:
        shutil.copyfile(source, folder / name)
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}); make it again") from error
    os.utime(folder / name, (COPIED_AT, COPIED_AT))
    return name


def _slug(text: str) -> str:
    """A piece of a file name that every system and address takes."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:40] or "x"
