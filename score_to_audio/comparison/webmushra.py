"""A listening test for webMUSHRA: its configuration, and stimuli as WAV files.

Schoeffler et al., "webMUSHRA: A Comprehensive Framework for Web-based Listening Tests", Journal of Open
Research Software 6(1), 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from score_to_audio import stages
from score_to_audio.comparison import derived
from score_to_audio.comparison.results import CellResult, ComparisonResult, SectionResult
from score_to_audio.store import ArtifactStore

NAME = "comparison"
TASK = "Rate each performance from 0 (bad) to 100 (excellent)."
RATE = 48_000
"""Hz: webMUSHRA needs all stimuli of a page at one rate and of one length."""


def write_webmushra(result: ComparisonResult, folder: Path, store: ArtifactStore) -> Path:
    """Write ``configs/comparison.yaml`` and ``configs/resources/comparison/*.wav``, to be copied over
    webMUSHRA's own; the configuration's path. Rows with two sounds or more become pages; the reference is
    the section's reference column, else the recordings' column, else the first."""
    import yaml  # type: ignore[import-untyped]

    pages: list[Any] = [
        {
            "type": "generic",
            "id": "welcome",
            "name": result.plan.title,
            "content": escape(result.plan.description),
        },
        ["random", *_trials(result, folder, store)],
        {
            "type": "finish",
            "name": "Thank you",
            "content": "Your answers are sent when you press the button.",
            "showResults": False,
            "writeResults": True,
        },
    ]
    config = {
        "testname": result.plan.title,
        "testId": NAME,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": pages,
    }
    path = folder / "configs" / f"{NAME}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _trials(result: ComparisonResult, folder: Path, store: ArtifactStore) -> Iterator[dict[str, Any]]:
    for number, section in enumerate(result.sections, start=1):
        for position, row in enumerate(section.section.rows, start=1):
            cells = [cell for cell in section.cells if cell.row is row and cell.cell]
            if len(cells) < 2:
                continue
            place = f"{number}-{position}"
            reference = _reference(section, cells)
            length = max(_length(cell) for cell in cells)
            stimuli = {cell.condition.key: _stimulus(cell, place, length, folder, store) for cell in cells}
            yield {
                "type": "mushra",
                "id": f"trial-{place}",
                "name": escape(f"{section.section.title}: {row.name}"),
                "content": TASK,
                "showWaveform": False,
                "enableLooping": True,
                "reference": stimuli[reference],
                "createAnchor35": False,
                "createAnchor70": False,
                "randomize": True,
                "showConditionNames": False,
                "strict": False,
                "stimuli": {key: path for key, path in stimuli.items() if key != reference},
            }


def _reference(section: SectionResult, cells: list[CellResult]) -> str:
    keys = [cell.condition.key for cell in cells]
    recordings = [cell.condition.key for cell in cells if cell.condition.method is None]
    wanted = section.section.reference
    return wanted if wanted in keys else (recordings or keys)[0]


def _length(result: CellResult) -> int:
    """Samples at ``RATE``."""
    import soundfile

    assert result.cell is not None
    return round(soundfile.info(result.cell.audio.path).duration * RATE)


def _stimulus(result: CellResult, place: str, length: int, folder: Path, store: ArtifactStore) -> str:
    """The sound's path, relative to webMUSHRA's folder."""
    assert result.cell is not None
    sound = derived.at_rate(result.cell.audio, RATE, length, store)
    assert sound.artifact is not None
    name = f"configs/resources/{NAME}/{place}-{result.condition.key}.wav"
    stages.deliver(sound.artifact, folder / name, store)
    return name
