"""Hearing a performance back: transcription by transkun 2.0.1, and how close it is to what was played.

Needs the extra ``evaluation``. The transcriber is Y. Yan and Z. Duan, "Scoring time intervals using
non-hierarchical transformer for automatic piano transcription" (ISMIR 2024), with the weights in its wheel;
the measures are those of mir_eval.transcription (Raffel et al., ISMIR 2014).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from score_to_audio.errors import InputError
from score_to_audio.types import SOFT, SUSTAIN, Controls, Performance, Waveform

ONSET_TOLERANCE = 0.05
"""Seconds; mir_eval's default, and that of the transcription literature."""
OFFSET_RATIO, OFFSET_TOLERANCE = 0.2, 0.05
"""Part of the note's duration, and at least so many seconds."""
PEDAL_DOWN = 64
"""CC64 value from which a pedal holds notes (Hawthorne et al., "Onsets and Frames", ISMIR 2018)."""
PEDAL_FRAME = 0.01
"""Seconds."""
PEDAL_PITCHES = {-SUSTAIN: SUSTAIN, -SOFT: SOFT}
"""How transkun numbers pedals among its events."""


@dataclass(frozen=True)
class Scores:
    """How well an estimate matches a reference; every figure is at best 1."""

    notes: int
    """In the reference."""
    onset_precision: float
    onset_recall: float
    onset_f1: float
    """Same pitch and an onset within 50 ms."""
    offset_f1: float
    """And an offset within the larger of 50 ms and 20 % of the duration, the notes of both extended by the
    pedal of each."""
    velocity_f1: float
    """Same pitch, an onset within 50 ms, and a velocity within 0.1 of the reference's (of its whole range)
    once the estimate's velocities are scaled to fit (mir_eval.transcription_velocity)."""
    velocity_correlation: float
    """Pearson's r over the notes that match by onset; not a number for fewer than two."""
    onset_error: float
    """Median of |difference| in seconds over the notes that match by onset."""
    pedal_f1: float
    """Frames of 10 ms in which the sustain pedal is down (CC64 >= 64) in both, against those in which it is
    down in either (Kong et al., "High-resolution piano transcription with pedals", TASLP 29, 2021); not a
    number where it is down in neither."""


# ------------------------------------------------------------------------------------- transcription


def transcribe(waveform: Waveform) -> Performance:
    """What transkun hears: notes as long as their keys are held, and pedals as 127 (down) and 0 (up).

    Raises ``InputError`` where transkun is not installed.
    """
    import torch

    from score_to_audio.formats.audio import resample

    model = _model()
    samples = resample(waveform, model.fs).samples.T
    with torch.inference_mode():
        events = model.transcribe(torch.from_numpy(np.ascontiguousarray(samples)))
    notes = sorted((e.start, e.pitch, max(e.end, e.start + 1e-3), e.velocity) for e in events if e.pitch > 0)
    columns = np.array(notes, np.float64).reshape(-1, 4)
    return Performance(
        onset=columns[:, 0],
        offset=columns[:, 2],
        pitch=columns[:, 1].astype(np.int64),
        velocity=np.clip(np.rint(columns[:, 3]), 1, 127).astype(np.int64),
        controls=_pedals([(PEDAL_PITCHES[e.pitch], e.start, e.end) for e in events if e.pitch < 0]),
    )


def _pedals(presses: list[tuple[int, float, float]]) -> Controls:
    rows = [(start, number, 127) for number, start, _ in presses]
    rows += [(end, number, 0) for number, _, end in presses]
    columns = np.array(sorted(rows), np.float64).reshape(-1, 3)
    return Controls(columns[:, 0], columns[:, 1].astype(np.int64), columns[:, 2].astype(np.int64))


@cache
def _model() -> Any:
    import torch

    try:
        with _loadable_torchaudio():
            from transkun.ModelTransformer import TransKun

            folder = files("transkun") / "pretrained"
            config = TransKun.Config()
            vars(config).update(json.loads((folder / "2.0.conf").read_text())["Model"]["config"])
            model = TransKun(conf=config)
    except ModuleNotFoundError as error:
        raise InputError(
            f"transcription needs {error.name}; install it with `pip install score-to-audio[evaluation]`"
        ) from error
    with (folder / "2.0.pt").open("rb") as file:
        model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True)["state_dict"])
    return model.eval()


@contextmanager
def _loadable_torchaudio() -> Iterator[None]:
    """While torchaudio cannot be imported (its Linux build needs CUDA libraries), a stand-in for the one
    function that transkun calls; the weights hold the same matrix and overwrite what it returns."""
    try:
        import torchaudio.functional  # noqa: F401
    except (ImportError, OSError):
        before = {name: module for name, module in sys.modules.items() if _is_torchaudio(name)}
        stand_in = ModuleType("torchaudio")
        stand_in.functional = ModuleType("torchaudio.functional")  # type: ignore[attr-defined]
        stand_in.functional.melscale_fbanks = _empty_filterbank
        sys.modules["torchaudio"] = stand_in
        try:
            yield
        finally:
            for name in [name for name in sys.modules if _is_torchaudio(name)]:
                del sys.modules[name]
            sys.modules.update(before)
    else:
        yield


def _is_torchaudio(name: str) -> bool:
    return name == "torchaudio" or name.startswith("torchaudio.")


def _empty_filterbank(*, n_freqs: int, n_mels: int, **_: object) -> Any:
    import torch

    return torch.full((n_freqs, n_mels), torch.nan)


# ------------------------------------------------------------------------------------------ measures


def scores(reference: Performance, estimate: Performance) -> Scores:
    """How close ``estimate`` is to ``reference``."""
    from mir_eval import transcription_velocity
    from mir_eval.transcription import match_notes, precision_recall_f1_overlap
    from mir_eval.util import midi_to_hz

    wanted = np.stack([reference.onset, pedal_extended(reference)], axis=1)
    heard = np.stack([estimate.onset, pedal_extended(estimate)], axis=1)
    wanted_hz, heard_hz = midi_to_hz(reference.pitch), midi_to_hz(estimate.pitch)
    both = (wanted, wanted_hz, heard, heard_hz)
    precision, recall, onset_f1, _ = precision_recall_f1_overlap(
        *both, onset_tolerance=ONSET_TOLERANCE, offset_ratio=None
    )
    *_, offset_f1, _ = precision_recall_f1_overlap(
        *both,
        onset_tolerance=ONSET_TOLERANCE,
        offset_ratio=OFFSET_RATIO,
        offset_min_tolerance=OFFSET_TOLERANCE,
    )
    _, _, velocity_f1, _ = transcription_velocity.precision_recall_f1_overlap(
        wanted,
        wanted_hz,
        reference.velocity,
        heard,
        heard_hz,
        estimate.velocity,
        onset_tolerance=ONSET_TOLERANCE,
        offset_ratio=None,
    )
    pairs = np.array(match_notes(*both, onset_tolerance=ONSET_TOLERANCE, offset_ratio=None), np.int64)
    played, found = pairs.reshape(-1, 2).T
    error = np.abs(reference.onset[played] - estimate.onset[found])
    return Scores(
        notes=len(reference),
        onset_precision=precision,
        onset_recall=recall,
        onset_f1=onset_f1,
        offset_f1=offset_f1,
        velocity_f1=velocity_f1,
        velocity_correlation=_correlation(reference.velocity[played], estimate.velocity[found]),
        onset_error=float(np.median(error)) if len(error) else np.nan,
        pedal_f1=_pedal_f1(reference, estimate),
    )


def _pedal_f1(reference: Performance, estimate: Performance) -> float:
    frames = np.arange(0, max(reference.end, estimate.end), PEDAL_FRAME)
    wanted, heard = _pedal_down(reference, frames), _pedal_down(estimate, frames)
    down = int(wanted.sum() + heard.sum())
    return 2 * int((wanted & heard).sum()) / down if down else np.nan


def _pedal_down(performance: Performance, seconds: NDArray[np.float64]) -> NDArray[np.bool_]:
    mine = performance.controls.number == SUSTAIN
    time, value = performance.controls.time[mine], performance.controls.value[mine]
    return np.append(value >= PEDAL_DOWN, False)[np.searchsorted(time, seconds, side="right") - 1]


def _correlation(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    if len(a) < 2 or not a.std() or not b.std():
        return np.nan
    return float(np.corrcoef(a, b)[0, 1])


def pedal_extended(performance: Performance) -> NDArray[np.float64]:
    """[N] seconds at which each note stops sounding: its offset, or the end of the pedal (CC64 >= 64) that
    is down then, but no later than the next note of the same pitch."""
    controls = performance.controls
    mine = controls.number == SUSTAIN
    time, down = controls.time[mine], controls.value[mine] >= PEDAL_DOWN
    lifts = np.append(time[~down], np.inf)
    last = np.searchsorted(time, performance.offset, side="right") - 1
    held = np.append(down, False)[last]
    end = np.where(held, lifts[np.searchsorted(lifts, performance.offset)], performance.offset)
    end = np.minimum(end, max(performance.end, float(performance.offset.max(initial=0))))
    return np.maximum(np.minimum(end, _next_onset(performance)), performance.onset + 1e-3)


def _next_onset(performance: Performance) -> NDArray[np.float64]:
    following = np.full(len(performance), np.inf)
    order = np.lexsort((performance.onset, performance.pitch))
    same = np.diff(performance.pitch[order]) == 0
    following[order[:-1][same]] = performance.onset[order[1:][same]]
    return following
