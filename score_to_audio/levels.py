"""True peak and loudness of a sound (ITU-R BS.1770-4)."""

from __future__ import annotations

from collections.abc import Iterator

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
    from scipy.signal import lfilter  # a second of processor time, which a first sound should not wait for

    shelved = lfilter(*HIGH_SHELF, samples.astype(np.float64), axis=-1)
    return np.asarray(lfilter(*HIGH_PASS, shelved, axis=-1))


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
    from scipy.signal import lfilter

    step = round(GATE_STEP * MEASURING_RATE)
    filters = [(*one, np.zeros((stream.channels, 2))) for one in (HIGH_SHELF, HIGH_PASS)]
    pending = np.zeros(0)
    for block in resampled(stream, MEASURING_RATE).blocks:
        samples = block.astype(np.float64)
        for numerator, denominator, state in filters:
            samples, state[:] = lfilter(numerator, denominator, samples, axis=-1, zi=state)
        pending = np.concatenate([pending, (samples**2).sum(axis=0)])
        whole = len(pending) // step * step
        yield from pending[:whole].reshape(-1, step).mean(axis=1).tolist()
        pending = pending[whole:]


def loudness(power: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """LUFS of a K-weighted power, not gated."""
    return LOUDNESS_OFFSET + 10 * np.log10(np.maximum(power, 1e-20))
