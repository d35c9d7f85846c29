"""Changes of sample rate: by soxr, or by the windowed-sinc filters that published models expect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import AudioStream, Waveform

BLOCK = 1 << 20
"""Output positions that ``SincFilter`` convolves at once, to bound the memory of the convolution."""


@dataclass(frozen=True)
class SincFilter:
    """Windowed-sinc interpolation (Smith, "Digital Audio Resampling", CCRMA); the defaults are torchaudio's.

    EnCodec's inputs are prepared with the defaults; MIDI-VALLE's authors compute the Fréchet audio distance
    with a Kaiser window.
    """

    zero_crossings: int = 6
    """Of the sinc on either side (``lowpass_filter_width``)."""
    rolloff: float = 0.99
    """Cut-off as a fraction of the lower Nyquist frequency."""
    kaiser_beta: float | None = None
    """Shape of the Kaiser window; None: a Hann window."""

    def kernel(self, old: int, new: int) -> NDArray[np.float32]:
        """[new, 1, taps]: one filter per output phase, on the input grid, for rates without common factor."""
        base = self.rolloff * min(old, new)
        width = int(np.ceil(self.zero_crossings * old / base))
        taps = np.arange(-width, width + old)[None, :] / old
        phases = np.arange(new)[:, None] / new
        time = np.clip(base * (taps - phases), -self.zero_crossings, self.zero_crossings)
        kernel = np.sinc(time) * self._window(time / self.zero_crossings) * base / old
        return kernel.astype(np.float32)[:, None, :]

    def _window(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """The window at places -1..1."""
        if self.kaiser_beta is None:
            return np.asarray(np.cos(np.pi * place / 2) ** 2)
        return np.asarray(np.i0(self.kaiser_beta * np.sqrt(1 - place**2)) / np.i0(self.kaiser_beta))


Method = Literal["VHQ", "HQ"] | SincFilter
"""A quality of soxr (linear phase), or a filter."""


def resample(waveform: Waveform, rate: int, *, method: Method = "VHQ") -> Waveform:
    """The same sound at ``rate`` Hz: [channels, samples] -> [channels, ceil(samples * rate / old rate)]."""
    if rate == waveform.sample_rate:
        return waveform
    length = -(-waveform.samples.shape[1] * rate // waveform.sample_rate)
    if isinstance(method, SincFilter):
        samples = _convolved(waveform, rate, method)[:, :length]
    else:
        import soxr

        samples = soxr.resample(waveform.samples.T, waveform.sample_rate, rate, quality=method).T[:, :length]
    # soxr rounds the length to the nearest whole number.
    padded = np.pad(samples, ((0, 0), (0, length - samples.shape[1])))
    return Waveform(np.ascontiguousarray(padded, dtype=np.float32), rate)


def resampled(stream: AudioStream, rate: int) -> AudioStream:
    """The same sound at ``rate`` Hz, block by block (soxr HQ)."""
    if rate == stream.sample_rate:
        return stream

    def blocks() -> Iterator[NDArray[np.float32]]:
        import soxr

        resampler = soxr.ResampleStream(stream.sample_rate, rate, stream.channels, dtype="float32")
        for block in stream.blocks:
            yield resampler.resample_chunk(np.ascontiguousarray(block.T)).reshape(-1, stream.channels).T
        rest = np.zeros((0, stream.channels), np.float32)
        yield resampler.resample_chunk(rest, last=True).reshape(-1, stream.channels).T

    return AudioStream(rate, stream.channels, blocks())


def _convolved(waveform: Waveform, rate: int, sinc: SincFilter) -> NDArray[np.float32]:
    """[channels, ceil(samples * rate / old rate) or more]"""
    import torch

    factor = gcd(waveform.sample_rate, rate)
    old, new = waveform.sample_rate // factor, rate // factor
    kernel = torch.from_numpy(sinc.kernel(old, new))
    width = (kernel.shape[-1] - old) // 2
    rows = torch.nn.functional.pad(torch.from_numpy(waveform.samples)[:, None], (width, width + old))
    steps = (rows.shape[-1] - kernel.shape[-1]) // old + 1
    pieces = []
    for start in range(0, steps, BLOCK):
        stop = min(start + BLOCK, steps)
        piece = rows[..., start * old : (stop - 1) * old + kernel.shape[-1]]
        pieces.append(torch.nn.functional.conv1d(piece, kernel, stride=old))  # [channels, new, steps]
    interleaved = torch.cat(pieces, dim=-1).transpose(1, 2).reshape(len(rows), -1)
    return np.asarray(interleaved.numpy())
