"""The output folder of a comparison: the page, the numbers, and what listening tests need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from score_to_audio.comparison.listening.comparison import Blind
from score_to_audio.comparison.listening.page import write_page
from score_to_audio.comparison.page import listening_comparison
from score_to_audio.comparison.report import text, write_results
from score_to_audio.comparison.run import ComparisonResult
from score_to_audio.comparison.webmushra import write_webmushra
from score_to_audio.store import ArtifactStore

PAGE, BLIND_KEY, WEBMUSHRA = "page", "blind-key.json", "webmushra"


class CellsFailed(RuntimeError):
    """Some cells could not be made; everything else is there. One line."""


@dataclass(frozen=True)
class Produced:
    """What is there now."""

    page: Path
    """Its index.html."""
    files: tuple[Path, ...]
    """Beside the page."""
    text: str
    """The tables, for a terminal."""
    summary: str
    """One line."""


def produce(
    result: ComparisonResult,
    folder: Path,
    store: ArtifactStore,
    *,
    blind: Literal["pairs", "mushra"] | None = None,
    seed: int = 0,
    webmushra: bool = False,
) -> Produced:
    """Write everything into ``folder``, which is made. Raises ``InputError`` where it holds something else.

    With ``blind`` the key goes beside the page's folder, not into it: give listeners the page alone.
    """
    comparison = listening_comparison(result, store)
    folder.mkdir(parents=True, exist_ok=True)
    test = Blind(kind=blind, key_file=folder / BLIND_KEY, seed=seed) if blind else None
    page = write_page(comparison, folder / PAGE, blind=test)
    written = [*write_results(result, folder), *([folder / BLIND_KEY] if blind else [])]
    if webmushra:
        written.append(write_webmushra(result, folder / WEBMUSHRA, store))
    count = sum(len(section.cells) for section in result.sections)
    failed = len(result.failures)
    return Produced(
        page=page,
        files=tuple(written),
        text=text(result),
        summary=f"{count - failed} of {count} cells made, {failed} failed; listen: {page}",
    )
