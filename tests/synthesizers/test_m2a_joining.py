"""Joining M2A's segments: in time to a frame, without seams."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthesizers.m2a import joining, official, spectrum


@given(st.integers(1, 2000))
def test_segments_cover_a_piece(cells: int) -> None:
    segments = joining.overlapping_segments(cells)
    assert segments[0].start == 0
    assert segments[-1].stop == cells
    assert all(1 <= len(segment) <= 200 for segment in segments)
    for before, after in pairwise(segments):
        assert before.stop - after.start == joining.OVERLAP_CELLS


@given(st.integers(1, 900), st.integers(0, 8))
def test_segments_that_agree_join_without_a_trace(cells: int, surplus: int) -> None:
    piece = np.random.default_rng(cells).standard_normal((4 * cells, 2)).astype(np.float32)
    segments = joining.overlapping_segments(cells)
    spectra = [
        np.concatenate([piece[4 * one.start : 4 * one.stop], np.ones((surplus, 2), np.float32)])
        for one in segments
    ]
    np.testing.assert_allclose(joining.joined_spectra(spectra, segments), piece, atol=1e-6)


def test_segments_that_differ_are_crossfaded() -> None:
    segments = joining.overlapping_segments(300)
    spectra = [np.full((4 * len(one), 1), index, np.float32) for index, one in enumerate(segments)]
    joined = joining.joined_spectra(spectra, segments)[:, 0]
    assert (np.diff(joined) >= 0).all()
    assert np.diff(joined).max() < 0.1
    # The next segment counts only where it has context.
    assert not joined[: 4 * segments[1].start + 80].any()


def test_published_joins_move_what_follows_and_refuse_a_short_start() -> None:
    wave = np.sin(np.arange(9000) / 20).astype(np.float32)
    assert len(official.joined([wave, wave[:2000]])) == len(wave)
    silence = np.zeros(9000, np.float32)
    # The defect of the official script: silence correlates best at the first lag, and 31 ms more are cut.
    assert len(official.joined([silence, silence])) == 18000 - official.OVERLAP - 744
    with pytest.raises(ValueError, match="shorter than 98 ms"):
        official.joined([wave[:1000], wave])


def test_sixteen_bits() -> None:
    found = official.as_pcm(np.array([-1.5, -1.0, -1e-5, 0.0, 1e-5, 1.0], np.float32))
    np.testing.assert_array_equal(found * 32768, [-32768, -32768, -1, 0, 0, 32767])


@pytest.mark.parametrize(
    ("bins", "sha256"),
    [
        (4097, "3f58c14fcf3b674e19d2121ceb75e5405172b877d14ad5eb7b033e87d24065c2"),
        (16385, "022128e87b95cae6188cd2b31cfd0b72c6b58d3affca9ebeb7b89f756d6b4b16"),
    ],
)
def test_the_filter_bank_is_the_published_file(bins: int, sha256: str) -> None:
    assert hashlib.sha256(spectrum.filter_bank(bins).astype("<f4").tobytes()).hexdigest() == sha256
