"""How long a comparison of ten scores in six columns takes, made for the first time and found in the store.

    python -m benchmarks.compare FOLDER [--again]

FOLDER keeps the scores, the store and the page; name a new one to time the first run. ``--again`` times the
second run alone, in the folder of an earlier call. Without the extra ``listening``, engraving is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SCORES, PALETTES = 10, ("neutral", "baroque", "classical", "romantic", "deadpan")


def write_comparison(folder: Path) -> Path:
    """The example scores, four of them a second time under other bytes, so that nothing is shared."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = sorted((PROJECT / "examples" / "scores").glob("*.musicxml"))
    rows = []
    for number in range(SCORES):
        example = examples[number % len(examples)]
        path = folder / f"{number:02}-{example.name}"
        path.write_text(f"{example.read_text('utf-8')}<!-- {number} -->\n", encoding="utf-8")
        rows.append({"score": path.name})
    columns = [{"renderer": "score"}]
    columns += [{"renderer": "kth-rules", "renderer_options": {"palette": name}} for name in PALETTES]
    config = {"measures": ["levels"], "sections": [{"title": "All", "rows": rows, "columns": columns}]}
    path = folder / "comparison.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--again", action="store_true", help="only the run that finds everything")
    chosen = parser.parse_args()
    config = write_comparison(chosen.folder)
    if not chosen.again:
        print(f"made: {timed(config, chosen.folder)}", flush=True)
    print(f"found in the store: {timed(config, chosen.folder)}")


def timed(config: Path, folder: Path) -> str:
    """Seconds of the whole command."""
    command = [sys.executable, "-m", "score_to_audio.cli", "compare", str(config), "-o", str(folder / "out")]
    started, used = time.perf_counter(), processor_seconds()
    subprocess.run(command, env=os.environ | {"SCORE_TO_AUDIO_STORE": str(folder / "store")}, check=True)
    return f"{time.perf_counter() - started:.1f} s, {processor_seconds() - used:.1f} s of processor time"


def processor_seconds() -> float:
    """Of all ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
