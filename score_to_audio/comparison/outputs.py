"""The output folder of a comparison: the page, the numbers, and what listening tests need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from score_to_audio.comparison.listening import page
from score_to_audio.comparison.plan import Plan
from score_to_audio.comparison.report import REPORT_FILES, text, write_report
from score_to_audio.comparison.results import ComparisonResult
from score_to_audio.comparison.votes import BlindTestKind
from score_to_audio.comparison.webmushra import write_webmushra
from score_to_audio.files import check_output_folder, writing
from score_to_audio.outputs import check_output_file, record_delivery
from score_to_audio.store import ArtifactStore

PAGE, BLIND_KEY, WEBMUSHRA = "page", "blind-key.json", "webmushra"


@dataclass(frozen=True)
class Outputs:
    page: Path
    """Its index.html."""
    text: str
    """The tables, for a terminal."""
    summary: str
    """One line."""


def check_output(folder: Path, plan: Plan, store: ArtifactStore) -> None:
    """To be called before any work. Raises ``InputError`` where the outputs could not be written, or would
    replace inputs or files that we did not write."""
    check_output_folder(folder)
    page.check_folder(folder / PAGE)
    for name in (*REPORT_FILES, BLIND_KEY):
        check_output_file(folder / name, plan.input_files, store)


def write_outputs(
    result: ComparisonResult,
    folder: Path,
    store: ArtifactStore,
    *,
    blind: BlindTestKind | None = None,
    seed: int = 0,
    listen: float = 0.0,
    webmushra: bool = False,
) -> Outputs:
    """Write everything into ``folder``, which is made.

    ``blind`` hides the names on the page; the key goes beside the page's folder: give listeners the page
    alone. ``listen``: seconds of each sound to be heard before a vote. Raises ``InputError`` where the page's
    folder holds something else, ``OutputError`` where a file cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if blind is None:
            index = page.write_page(result, folder / PAGE, store)
        else:
            index = page.write_blind_test(
                result,
                folder / PAGE,
                store,
                kind=blind,
                seed=seed,
                listen=listen,
                key_file=folder / BLIND_KEY,
            )
        write_report(result, folder)
        for name in (*REPORT_FILES, *([BLIND_KEY] if blind else [])):
            record_delivery(folder / name, store)
        if webmushra:
            write_webmushra(result, folder / WEBMUSHRA, store)
    failed = len(result.failures)
    made = result.plan.cell_count - failed
    return Outputs(
        page=index,
        text=text(result),
        summary=f"{made} of {result.plan.cell_count} cells made, {failed} failed; listen: {index}",
    )
