"""What a flow reports about scores: log, manifest and progress as they come, then a table and a state."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.server import ignore_server_outage
from flows.tasks import show_progress
from score_to_audio import jobs, manifest, progress
from score_to_audio.comparison.studio.address import address_of
from score_to_audio.jobs import Outcome

MAX_ROWS = 300
"""Of a table artifact, which is one row of Prefect's database. The manifest has all of them."""
PROGRESS_INTERVAL = 5.0
"""Seconds between updates of the run's progress artifact."""


@dataclass
class Totals:
    """Counts of the results of a run, and the first of them as entries of the manifest."""

    counts: dict[str, int] = field(default_factory=lambda: {"made": 0, "cached": 0, "failed": 0})
    failed: list[Mapping[str, Any]] = field(default_factory=list)
    done: list[Mapping[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, entry: Mapping[str, Any]) -> None:
        result = manifest.result(entry)
        self.counts[result] += 1
        entries = self.failed if result == "failed" else self.done
        if len(entries) < MAX_ROWS:
            entries.append(entry)
        if result == "failed" and len(self.errors) < 4:
            self.errors.append(f"{entry['name']}: {entry['error']}")

    def summary(self) -> str:
        count = sum(self.counts.values())
        scores = "score" if count == 1 else "scores"
        made, cached, failed = (self.counts[result] for result in ("made", "cached", "failed"))
        return f"{count} {scores}: {made} made, {cached} from the store, {failed} failed"

    def final_state(self, output: Path) -> State[None]:
        """Create the table of results; returns the state of the run. The manifest has the outcomes."""
        rest = sum(self.counts.values()) - MAX_ROWS
        cut = f"; {rest} more in the manifest" if rest > 0 else ""
        by_score = itemgetter("score")
        entries = [*sorted(self.failed, key=by_score), *sorted(self.done, key=by_score)][:MAX_ROWS]
        address = address_of(output)
        with ignore_server_outage():
            create_table_artifact(
                key="results",
                table=[_row(entry, output, address) for entry in entries],
                description=f"{self.summary()}; results and manifest.jsonl in {output.absolute()}{cut}",
            )
        if not self.counts["failed"]:
            return Completed(message=self.summary())
        more = "; ..." if len(self.errors) > 3 else ""
        return Failed(message=f"{self.summary()} ({'; '.join(self.errors[:3])}{more})")


def report_progress(done: int, failed: int, total: int) -> None:
    progress.report(done, total, f"scores, {failed} failed" if failed else "scores")


def shown_file(file: Path, output: Path, text: str, address: str | None) -> str:
    """Markdown: a link where the studio serves ``output`` at ``address``, else the path to copy.

    A browser opens no link from a server's page to a file of the disk.
    """
    if address is None:
        return str(file.absolute())
    return f"[{text}]({address}{quote(file.relative_to(output).as_posix())})"


def _row(entry: Mapping[str, Any], output: Path, address: str | None) -> dict[str, str]:
    stem = len(entry["name"]) + 1
    links = " ".join(shown_file(output / file, output, file[stem:], address) for file in entry["files"])
    seconds = entry["sound_seconds"]
    return {
        "score": entry["score"],
        "renderer": entry["renderer"],
        "synthesizer": entry["synthesizer"],
        "duration": "" if seconds is None else f"{round(seconds) // 60}:{round(seconds) % 60:02}",
        "result": manifest.result(entry),
        "notices": " ".join(entry.get("notices", ())),
        "files": entry["error"] or links,
    }


class Report:
    """Records outcomes as they come, within a flow run."""

    def __init__(self, total: int, recorder: jobs.Recorder, output: Path) -> None:
        self.totals = Totals()
        self._total, self._recorder, self._output = total, recorder, output
        self._logger = get_run_logger()
        self._progress: UUID | None = None
        self._last_time = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._show()

    def add(self, outcome: Outcome) -> None:
        entry = self._recorder.add(outcome)
        self.totals.add(entry)
        if outcome.error:
            self._logger.error("%s: %s", outcome.job.name, outcome.error)
        else:
            self._logger.info("%s: %s", outcome.job.name, manifest.result(entry))
        report_progress(sum(self.totals.counts.values()), self.totals.counts["failed"], self._total)
        if time.monotonic() - self._last_time > PROGRESS_INTERVAL:
            self._show()

    def _show(self) -> None:
        done = sum(self.totals.counts.values())
        self._progress = show_progress(
            self._progress, "progress", done / max(self._total, 1), f"{done} of {self._total} scores"
        )
        self._last_time = time.monotonic()
