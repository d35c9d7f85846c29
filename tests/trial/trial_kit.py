"""What tests need to run the tool on the trial plug-ins: their installation, and scores."""

from __future__ import annotations

import shutil
from pathlib import Path

SCORE = """<?xml version="1.0" encoding="UTF-8"?>
<score-partwise version="4.0">
  <part-list><score-part id="P1"><part-name>Piano</part-name></score-part></part-list>
  <part id="P1"><measure number="1">
    <attributes><divisions>1</divisions><key><fifths>0</fifths></key>
      <time><beats>4</beats><beat-type>4</beat-type></time><clef><sign>G</sign><line>2</line></clef></attributes>
    {notes}
  </measure></part>
</score-partwise>
"""
NOTE = (
    "<note><pitch><step>{}</step><octave>{}</octave></pitch><duration>1</duration><type>quarter</type></note>"
)


def write_scores(folder: Path, count: int) -> Path:
    """Scores ``score-000.musicxml``, ... of four notes each, no two alike (up to 7 ** 4)."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        digits = [number // 7**place % 7 for place in range(4)]
        notes = "".join(NOTE.format("CDEFGAB"[digit], 4) for digit in digits)
        (folder / f"score-{number:03}.musicxml").write_text(SCORE.format(notes=notes))
    return folder


def install_trial_plugins(target: Path) -> Path:
    """A folder for the Python path on which the renderer and the synthesizer ``trial`` are installed."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("trial_plugins.py"), target)
    info = target / "trial_plugins-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trial-plugins\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[score_to_audio.renderers]\ntrial = trial_plugins:TrialRenderer\n"
        "[score_to_audio.synthesizers]\ntrial = trial_plugins:TrialSynthesizer\n"
    )
    return target
