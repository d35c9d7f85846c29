"""The listening page and the blind test: one static folder each, which opens from disk without a server."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path

from score_to_audio.comparison.listening import page_data
from score_to_audio.comparison.listening.blind import BlindRow, blind_test
from score_to_audio.comparison.listening.page_data import Json, ShownScore
from score_to_audio.comparison.listening.rows import PageCell, PageRow, gains, page_rows
from score_to_audio.comparison.results import ComparisonResult
from score_to_audio.comparison.votes import BlindTestKind
from score_to_audio.errors import InputError
from score_to_audio.files import replacing
from score_to_audio.store import ArtifactStore

SCRIPTS = (
    "parts.js", "place.js", "player.js", "score.js", "pictures.js", "stage.js", "compare.js", "blind.js",
)  # fmt: skip
GENERATOR = '<meta name="generator" content="score-to-audio">'
"""Marks a folder that holds an earlier page."""
COPIED_AT = 946_684_800
"""The first second of 2000: the time of all recordings in the folder, so that it reveals nothing."""
BLIND_TITLE = "Listening test"
"""The comparison's own title may name what is hidden."""


def write_page(result: ComparisonResult, folder: Path, store: ArtifactStore) -> Path:
    """Write the page and everything it needs into ``folder``; the path of its ``index.html``.

    The folder is made, or replaced if it holds an earlier page. Raises ``InputError`` as ``check_folder``.
    """
    with _new_folder(folder) as page:
        sections = []
        number = 0
        for section in result.sections:
            rows = []
            for row in page_rows(result, section, store):
                number += 1
                rows.append(_write_row(row, number, page))
            sections.append(page_data.section_overview(section, rows))
        page.write_data("page", page_data.overview(result, sections))
        page.write_frame(result.plan.title)
    return folder / "index.html"


def write_blind_test(
    result: ComparisonResult,
    folder: Path,
    store: ArtifactStore,
    *,
    kind: BlindTestKind,
    seed: int,
    listen: float = 0.0,
    key_file: Path,
) -> Path:
    """As ``write_page``, with the names hidden; the page collects votes, each after ``listen`` seconds of
    every sound in its trial.

    ``key_file`` says which neutral id stands for what, and is not for listeners; ``votes.read_key`` reads it.
    Raises ``InputError`` as ``check_folder``, for a key file inside the folder, and where there is nothing to
    compare.
    """
    if folder.resolve() in key_file.resolve().parents:
        raise InputError(f"{key_file}: the key must not lie in the folder for the listeners")
    rows = (row for section in result.sections for row in page_rows(result, section, store))
    tested, key = blind_test(result.plan.title, rows, kind, seed)
    with _new_folder(folder) as page:
        stimuli: dict[str, Json] = {}
        trials = []
        for number, one in enumerate(tested, start=1):
            name = f"row-{number:02}"
            stimuli |= _write_blind_row(one, name, page)
            trials += [
                {"id": trial, "name": one.row.row.name, "data": name, "stimuli": sorted(group)}
                for trial, group in one.trials.items()
            ]
        # Sorted by their random ids, so that their order reveals nothing.
        trials.sort(key=lambda trial: str(trial["id"]))
        blind = {"test": key.test, "kind": kind, "listen": listen}
        blind |= {"trials": trials, "stimuli": dict(sorted(stimuli.items()))}
        page.write_data("page", {"title": BLIND_TITLE, "blind": blind})
        page.write_frame(BLIND_TITLE)
    with replacing(key_file) as temporary:
        temporary.write_text(json.dumps(asdict(key), indent=1, ensure_ascii=False) + "\n", "utf-8")
    return folder / "index.html"


def check_folder(folder: Path) -> None:
    """Raises ``InputError`` where ``folder`` holds anything but an earlier page."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder for the page")
    index = folder / "index.html"
    is_page = index.is_file() and GENERATOR in index.read_text("utf-8", "replace")
    if any(folder.iterdir()) and not is_page:
        raise InputError(f"{folder} holds something else than a listening page; give an empty folder")


def _write_row(row: PageRow, number: int, page: _PageFolder) -> Json:
    name = f"row-{number:02}"
    shown = page_data.shown_score(row, row.cells)
    page.write_score(shown, name)
    page.write_data(name, page_data.row_data(row, shown, name))
    stems = [f"{number:02}-{_slug(row.row.name)}-{_slug(cell.result.condition.label)}" for cell in row.cells]
    return page_data.row_overview(row.row, name, _write_cells(row.cells, stems, page))


def _write_blind_row(one: BlindRow, name: str, page: _PageFolder) -> dict[str, Json]:
    cells = list(one.stimuli.values())
    shown = page_data.shown_score(one.row, cells)
    page.write_score(shown, name)
    page.write_data(name, page_data.blind_row_data(one.row, dict(sorted(one.stimuli.items())), shown, name))
    written = zip(one.stimuli, _write_cells(cells, list(one.stimuli), page), strict=True)
    return {stimulus: {key: cell[key] for key in ("audio", "duration", "gain")} for stimulus, cell in written}


def _write_cells(cells: Sequence[PageCell], stems: Sequence[str], page: _PageFolder) -> list[Json]:
    audio = [page.copy_audio(cell.audio, stem) for cell, stem in zip(cells, stems, strict=True)]
    return [page_data.cell_overview(*one) for one in zip(cells, audio, gains(cells), strict=True)]


# -------------------------------------------------------------------------------------------- the folder


@contextmanager
def _new_folder(folder: Path) -> Iterator[_PageFolder]:
    """A folder that takes the place of ``folder`` once the block is done."""
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        page = _PageFolder(Path(temporary) / "page")
        yield page
        if folder.exists():
            folder.rename(Path(temporary) / "earlier")
        page.path.rename(folder)


class _PageFolder:
    """Writes the files of a page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fonts: set[bytes] = set()
        for name in ("data", "audio"):
            (path / name).mkdir(parents=True)

    def write_data(self, name: str, value: Json) -> None:
        """A script that hands the value to the page; JSON in ASCII is JavaScript."""
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        (self.path / "data" / f"{name}.js").write_text(
            f"listening.data({json.dumps(name)},{text})\n", "ascii"
        )

    def write_score(self, shown: ShownScore, row: str) -> None:
        self._fonts |= {shown.font} - {b""}
        for layout, pages in shown.pages.items():
            for index, page in enumerate(pages):
                self.write_data(page_data.page_name(row, layout, index), page.svg)

    def copy_audio(self, source: Path | None, stem: str) -> str | None:
        """The place of the copy in the folder."""
        if source is None:
            return None
        copy = self.path / "audio" / f"{stem}{source.suffix.lower()}"
        try:
            shutil.copyfile(source, copy)
        except OSError as error:
            raise InputError(f"{source}: cannot be read ({error.strerror}); make it again") from error
        os.utime(copy, (COPIED_AT, COPIED_AT))
        return f"audio/{copy.name}"

    def write_frame(self, title: str) -> None:
        web = files("score_to_audio.comparison.listening") / "web"
        for name in SCRIPTS:
            (self.path / name).write_bytes((web / name).read_bytes())
        style = (web / "page.css").read_text("utf-8") + "".join(map(_font_face, sorted(self._fonts)))
        (self.path / "page.css").write_text(style, "utf-8")
        index = (web / "index.html").read_text("utf-8").replace("{title}", escape(title))
        (self.path / "index.html").write_text(index, "utf-8")


def _font_face(font: bytes) -> str:
    """Inline: a page opened from disk may not load fonts from files."""
    data = base64.b64encode(font).decode("ascii")
    return f'@font-face{{font-family:"Leipzig";src:url(data:font/woff2;base64,{data}) format("woff2")}}\n'


def _slug(text: str) -> str:
    """A piece of a file name, safe in all file systems and addresses."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:40] or "x"
