"""A comparison for webMUSHRA: a configuration, and stimuli as WAV files.

Schoeffler et al., "webMUSHRA: A Comprehensive Framework for Web-based Listening Tests", Journal of Open
Research Software 6(1), 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from score_to_audio import stages
from score_to_audio.comparison import files
from score_to_audio.comparison.files import File
from score_to_audio.comparison.run import CellResult, ComparisonResult, SectionResult
from score_to_audio.store import ArtifactStore

NAME = "comparison"
TASK = "Rate each performance from 0 (bad) to 100 (excellent)."
RATE = 48_000
"""Hz: webMUSHRA wants all stimuli of a page at one rate, and of one length."""


def write_webmushra(result: ComparisonResult, folder: Path, store: ArtifactStore) -> Path:
    """``configs/comparison.yaml`` and ``configs/resources/comparison/*.wav`` in the folder, to be copied over
    webMUSHRA's own; the configuration's path. Rows with two sounds and more become pages; the reference is
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
    for number, section in enumerate(result.sections):
        for row, source in enumerate(section.section.sources):
            cells = [cell for cell in section.cells if cell.source is source and cell.made]
            if len(cells) < 2:
                continue
            place = f"{number + 1}-{row + 1}"
            reference = _reference(section, cells)
            length = max(_length(cell) for cell in cells)
            stimuli = {cell.condition.key: _stimulus(cell, place, length, folder, store) for cell in cells}
            yield {
                "type": "mushra",
                "id": f"trial-{place}",
                "name": escape(f"{section.section.title}: {source.name}"),
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
    recordings = [cell.condition.key for cell in cells if cell.condition.how is None]
    wanted = section.section.reference
    return wanted if wanted in keys else (recordings or keys)[0]


def _length(cell: CellResult) -> int:
    """Samples at ``RATE``."""
    import soundfile

    assert cell.made is not None
    return round(soundfile.info(cell.made.audio.path).duration * RATE)


def _stimulus(cell: CellResult, place: str, length: int, folder: Path, store: ArtifactStore) -> str:
    """Where webMUSHRA finds the sound, relative to its folder."""
    assert cell.made is not None
    sound = files.at_rate(cell.made.audio, RATE, length, store)
    name = f"configs/resources/{NAME}/{place}-{cell.condition.key}.wav"
    _deliver(sound, folder / name, store)
    return name


def _deliver(file: File, destination: Path, store: ArtifactStore) -> None:
    assert file.artifact is not None
    stages.deliver(file.artifact, destination, store)
