"""True peak and loudness of a sound (ITU-R BS.1770-4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from score_to_audio.formats.audio import stream_of
from score_to_audio.formats.resampling import resampled
from score_to_audio.types import AudioStream, Waveform

CEILING = 10 ** (-1.2 / 20)
"""Of full scale: 0.2 dB below the promised -1 dBTP, because meters with other filters read slightly more."""
MEASURING_RATE = 48000
"""Hz: the rate for which BS.1770-4 tabulates its filters; sounds at other rates are resampled."""

# BS.1770-4, Annex 1, tables 1 and 2 (numerator, denominator): the K-weighting's two filters.
HIGH_SHELF = (
    np.array([1.53512485958697, -2.69169618940638, 1.19839281085285]),
    np.array([1.0, -1.69065929318241, 0.73248077421585]),
)
HIGH_PASS = (
    np.array([1.0, -2.0, 1.0]),
    np.array([1.0, -1.99004745483398, 0.99007225036621]),
)
LOUDNESS_OFFSET = -0.691
"""dB; cancels the K-weighting's gain at 997 Hz (BS.1770-4, Annex 1, equation 2)."""
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0
"""LUFS, and LU below the loudness of what passes the absolute gate."""
GATE_BLOCK, GATE_STEP = 0.4, 0.1
"""Seconds."""
ROW = 60
"""Samples that the K-weighting takes at once; GATE_STEP is a multiple."""

# BS.1770-4, Annex 2: the first two of the four phases of the 4x oversampling filter; the others mirror them.
# fmt: off
_FIRST_PHASES = np.array([
    [0.0017089843750, 0.0109863281250, -0.0196533203125, 0.0332031250000, -0.0594482421875, 0.1373291015625,
     0.9721679687500, -0.1022949218750, 0.0476074218750, -0.0266113281250, 0.0148925781250, -0.0083007812500],
    [-0.0291748046875, 0.0292968750000, -0.0517578125000, 0.0891113281250, -0.1665039062500, 0.4650878906250,
     0.7797851562500, -0.2003173828125, 0.1015625000000, -0.0582275390625, 0.0330810546875, -0.0189208984375],
])
# fmt: on
TRUE_PEAK_PHASES = np.concatenate([_FIRST_PHASES, _FIRST_PHASES[::-1, ::-1]])
TRUE_PEAK_TAPS = TRUE_PEAK_PHASES.shape[1]
MAX_OVERSHOOT = float(np.abs(TRUE_PEAK_PHASES).sum(axis=1).max())
"""No sound's true peak exceeds its sample peak by more than this factor (the filter's largest L1 norm)."""


def true_peak_envelope(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """[channels, n] -> [n]: the highest magnitude at and around each sample, over all channels; linear.

    Silence is assumed before and after, which the first and last 6 samples depend on.
    """
    envelope = np.abs(samples).max(axis=0)
    for phase in TRUE_PEAK_PHASES.astype(np.float32):
        for channel in samples:
            np.maximum(envelope, np.abs(np.convolve(channel, phase, mode="same")), out=envelope)
    return envelope


def true_peak(samples: NDArray[np.float32]) -> float:
    """Linear; [channels, n], 0 for no samples. In dBTP: ``20 * log10``."""
    if not samples.shape[1]:
        return 0.0
    block = 1 << 18
    starts = range(0, samples.shape[1], block)
    lead = TRUE_PEAK_TAPS
    return max(
        float(true_peak_envelope(samples[:, max(0, a - lead) : a + block + lead]).max()) for a in starts
    )


def k_weighted(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Samples at 48 kHz through the K-weighting; same shape."""
    channels, length = samples.shape
    filled = np.zeros((channels, -(-length // ROW) * ROW))
    filled[:, :length] = samples
    return _KWeighting(channels)(filled)[:, :length]


class _KWeighting:
    """Filters the consecutive parts of a sound at 48 kHz; [channels, a multiple of ROW] each.

    Cut into rows, a recursion is a product of matrices and a short recursion over the states at the rows'
    ends. ``scipy.signal.lfilter`` gives the same, but takes 0.7 s of processor time to import.
    """

    def __init__(self, channels: int) -> None:
        self._filters = [_RowFilter.of(*one) for one in (HIGH_SHELF, HIGH_PASS)]
        self._states = [np.zeros((channels, 2)) for _ in self._filters]

    def __call__(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        for number, one in enumerate(self._filters):
            samples, self._states[number] = one(samples, self._states[number])
        return samples


@dataclass(frozen=True)
class _RowFilter:
    """A filter of second order in state space, with a row of samples as its step."""

    direct: NDArray[np.float64]
    """[ROW, ROW] samples -> samples, from silence."""
    fading: NDArray[np.float64]
    """[2, ROW] state before the row -> samples."""
    driven: NDArray[np.float64]
    """[ROW, 2] samples -> state after the row, from silence."""
    kept: NDArray[np.float64]
    """[2, 2] state before the row -> state after it."""

    @classmethod
    def of(cls, numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> _RowFilter:
        """Of the coefficients; the state is that of the transposed direct form II."""
        step = np.array([[-denominator[1], 1], [-denominator[2], 0]])
        powers = [np.eye(2)]
        for _ in range(ROW):
            powers.append(step @ powers[-1])
        into = numerator[1:] - denominator[1:] * numerator[0]
        fading = np.stack([power[0] for power in powers[:ROW]], axis=1)
        response = np.concatenate([numerator[:1], into @ fading[:, :-1]])
        lag = np.arange(ROW) - np.arange(ROW)[:, None]
        direct = np.where(lag >= 0, response[lag], 0)
        return cls(direct, fading, np.array([power @ into for power in powers[ROW - 1 :: -1]]), powers[ROW].T)

    def __call__(
        self, samples: NDArray[np.float64], state: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[channels, n], [channels, 2] -> the same, filtered, and the state after it."""
        rows = samples.reshape(len(samples), -1, ROW)
        states = np.concatenate([state[:, None], rows @ self.driven], axis=1)
        kept, distance = self.kept, 1
        while distance < states.shape[1]:  # after each turn, states sum up twice as many rows
            states[:, distance:] += states[:, :-distance] @ kept
            kept, distance = kept @ kept, 2 * distance
        filtered = rows @ self.direct + states[:, :-1] @ self.fading
        return filtered.reshape(samples.shape), states[:, -1]


def integrated_loudness(samples: NDArray[np.float32], sample_rate: int) -> float:
    """LUFS of mono or stereo [channels, n]; minus infinity for silence and for less than 0.4 s."""
    return gated_loudness(step_powers(stream_of(Waveform(samples, sample_rate))))


def gated_loudness(powers: NDArray[np.float64]) -> float:
    """LUFS of the ``step_powers`` of a sound; minus infinity where no block passes the gates."""
    steps_per_block = round(GATE_BLOCK / GATE_STEP)
    if len(powers) < steps_per_block:
        return -np.inf
    block = np.convolve(powers, np.full(steps_per_block, 1 / steps_per_block), mode="valid")
    gated = block[loudness(block) > ABSOLUTE_GATE]
    if not len(gated):
        return -np.inf
    gated = gated[loudness(gated) > loudness(gated.mean()) + RELATIVE_GATE]
    return float(loudness(gated.mean()))


def step_powers(stream: AudioStream) -> NDArray[np.float64]:
    """[steps] K-weighted power of each whole 0.1 s, summed over the channels."""
    return np.array(list(_step_powers(stream)))


def _step_powers(stream: AudioStream) -> Iterator[float]:
    step = round(GATE_STEP * MEASURING_RATE)
    weighted = _KWeighting(stream.channels)
    pending = np.zeros((stream.channels, 0))
    for block in resampled(stream, MEASURING_RATE).blocks:
        pending = np.concatenate([pending, block], axis=1)
        whole = pending.shape[1] // step * step
        power = (weighted(pending[:, :whole]) ** 2).sum(axis=0)
        yield from power.reshape(-1, step).mean(axis=1).tolist()
        pending = pending[:, whole:]


def loudness(power: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """LUFS of a K-weighted power, not gated."""
    return LOUDNESS_OFFSET + 10 * np.log10(np.maximum(power, 1e-20))
