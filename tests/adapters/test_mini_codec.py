"""The shipped miniature of a codec."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapters.codec import decode, encode, load_codec, prepared
from adapters.sampled_piano import played
from score_to_audio import checkpoints
from score_to_audio.formats.audio import collect
from score_to_audio.types import Performance
from synthesizers.codecs.encodec import Codec
from synthesizers.codecs.training.losses import spectral_loss

PITCHES = (48, 60, 64, 67, 72, 76)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec(checkpoints.find("mini-codec"))


def test_it_has_the_class_of_the_published_one(codec: Codec) -> None:
    """32 kHz, 50 frames per second, four codebooks; small."""
    config = codec.config
    assert (config.sample_rate, config.frame_rate, config.n_q, config.bins) == (32000, 50, 4, 1024)
    assert sum(file.stat().st_size for file in checkpoints.find("mini-codec").files.values()) < 8e6


def test_it_reconstructs_the_piano(codec: Codec) -> None:
    """Six notes of the sampled piano, half a second apart."""
    onset = 0.1 + 0.5 * np.arange(len(PITCHES))
    performance = Performance(
        onset=onset, offset=onset + 0.45, pitch=np.array(PITCHES), velocity=np.full(len(PITCHES), 72)
    )
    sound = collect(played(performance, "small"))
    codes = encode(codec, sound)
    made, wanted = (
        torch.from_numpy(one[: 3 * codec.config.sample_rate])[None, None]
        for one in (decode(codec, codes).samples[0], prepared(codec, sound))
    )
    distance = spectral_loss(made, wanted, codec.config.sample_rate)
    silent = spectral_loss(torch.zeros_like(wanted), wanted, codec.config.sample_rate)
    # Measured: 0.036, 0.44 and 0.95.
    assert distance < 0.06 < silent / 5
    assert abs(made.norm() / wanted.norm() - 1) < 0.2
