"""Transcription of piano recordings by transkun 2.0.1; needs the extra ``evaluation``.

Y. Yan and Z. Duan, "Scoring time intervals using non-hierarchical transformer for automatic piano
transcription", ISMIR 2024; the weights are in the wheel.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from score_to_audio.errors import InputError
from score_to_audio.imports import importable_torchaudio
from score_to_audio.types import SOFT, SUSTAIN, Controls, Performance, Waveform

if TYPE_CHECKING:
    from torch import Tensor

PEDAL_PITCHES = {-SUSTAIN: SUSTAIN, -SOFT: SOFT}
"""The numbers of pedals among transkun's events."""


def transcribe(waveform: Waveform) -> Performance:
    """Notes as long as their keys are held, and pedals as 127 (down) and 0 (up).

    Raises ``InputError`` where transkun is not installed.
    """
    import torch

    from score_to_audio.formats.resampling import resample

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
        with importable_torchaudio(melscale_fbanks=_empty_filterbank):
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


def _empty_filterbank(*, n_freqs: int, n_mels: int, **_: object) -> Tensor:
    """In place of torchaudio's; the weights contain the same matrix and overwrite it."""
    import torch

    return torch.full((n_freqs, n_mels), torch.nan)
