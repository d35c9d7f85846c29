"""Fréchet audio distance between the distributions of two sets of sounds.

K. Kilgour et al., "Fréchet Audio Distance: A Reference-Free Metric for Evaluating Music Enhancement
Algorithms" (Interspeech 2019): the Fréchet distance between two Gaussians fitted to embeddings of the sounds'
frames. Values of different embeddings cannot be compared; always name the embedding. MIDI-VALLE's authors
take the quantized latents of Piano-Encodec, the codec that MIDI-VALLE generates through, which favours it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from score_to_audio.types import Waveform

if TYPE_CHECKING:
    from synthesizers.codecs.encodec import Codec

LONGEST = 180.0
"""Seconds of a sound that are embedded, from its beginning (MIDI-VALLE's evaluation)."""
SIXTEEN_BITS = 32_767
"""Full scale: the published evaluation keeps sounds as 16-bit integers before it embeds them."""
ZERO_CROSSINGS, ROLLOFF, KAISER_BETA = 64, 0.9475937167399596, 14.769656459379492
"""Of the resampling in MIDI-VALLE's evaluation ("kaiser_best")."""


@dataclass(frozen=True)
class Moments:
    """Sums over a set of vectors: enough to fit a Gaussian, and to join it with other sets."""

    count: int
    total: NDArray[np.float64]
    """[D] sum of the vectors."""
    products: NDArray[np.float64]
    """[D, D] sum of the vectors' outer products with themselves."""

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.total / self.count

    @property
    def covariance(self) -> NDArray[np.float64]:
        """[D, D] unbiased."""
        centred = self.products - np.outer(self.total, self.total) / self.count
        return centred / (self.count - 1)


def moments(vectors: NDArray[np.floating]) -> Moments:
    """Of [frames, D]."""
    columns = vectors.astype(np.float64)
    return Moments(len(columns), columns.sum(axis=0), columns.T @ columns)


def joined(sets: Sequence[Moments]) -> Moments:
    """Of all the vectors of several sets (one at least)."""
    return reduce(lambda a, b: Moments(a.count + b.count, a.total + b.total, a.products + b.products), sets)


def frechet_distance(one: Moments, other: Moments) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of means m and covariances S; 0 is best.

    nan for sets of fewer than two vectors. Estimates from few vectors are biased upwards: compare sets of
    equal size, of some thousand vectors.
    """
    if min(one.count, other.count) < 2:
        return float("nan")
    means = float(((one.mean - other.mean) ** 2).sum())
    a, b = one.covariance, other.covariance
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # The eigenvalues of S1 S2 are those of the symmetric S1^(1/2) S2 S1^(1/2).
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return max(0.0, means + float(np.trace(a) + np.trace(b) - 2 * shared))


def latents(codec: Codec, sound: Waveform) -> NDArray[np.float32]:
    """[frames, dimensions] a codec's quantized latents (50 frames per second of 128 dimensions for
    Piano-Encodec), as MIDI-VALLE's authors compute them: mean over channels, Kaiser-windowed resampling,
    rounding to 16 bits, first three minutes."""
    import torch

    from adapters.codec import device_of
    from score_to_audio.formats.resampling import SincFilter, resample

    kaiser = SincFilter(ZERO_CROSSINGS, ROLLOFF, KAISER_BETA)
    mono = torch.from_numpy(sound.samples[:, : int(LONGEST * sound.sample_rate)]).mean(dim=0)
    mixed = Waveform(mono[None].numpy(), sound.sample_rate)
    converted = torch.from_numpy(resample(mixed, codec.config.sample_rate, method=kaiser).samples[0])
    rounded = torch.round(converted.clamp(-1, 1) * SIXTEEN_BITS) / SIXTEEN_BITS
    codes = list(codec.encode_blocks([rounded[None, None].to(device_of(codec))]))
    return np.asarray(codec.latent(torch.cat(codes, dim=-1))[0].T.cpu().numpy())
