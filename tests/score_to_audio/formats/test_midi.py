from __future__ import annotations

import io
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_to_audio import Controls, Performance
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import (
    SECONDS_PER_TICK,
    performance_from_midi,
    performance_to_midi,
    read_performance,
    write_performance,
)


@st.composite
def performances(draw: st.DrawFn) -> Performance:
    """Notes on the file's grid; no key is struck while it is down (MIDI cannot say that)."""
    rows, busy_until = [], dict[int, int]()
    for gap, length, pitch, velocity in draw(
        st.lists(
            st.tuples(st.integers(0, 500), st.integers(1, 3000), st.integers(21, 108), st.integers(1, 127)),
            min_size=1,
            max_size=40,
        )
    ):
        start = (rows[-1][0] if rows else 0) + gap
        if start >= busy_until.get(pitch, 0):
            rows.append((start, pitch, start + length, velocity))
            busy_until[pitch] = start + length
    rows.sort()
    control = sorted(
        draw(
            st.lists(
                st.tuples(st.integers(0, 5000), st.integers(0, 127)), max_size=20, unique_by=lambda c: c[0]
            )
        )
    )
    table = np.array(rows)
    events = np.array(control, dtype=np.int64).reshape(-1, 2)
    return Performance(
        onset=table[:, 0] * SECONDS_PER_TICK,
        offset=table[:, 2] * SECONDS_PER_TICK,
        pitch=table[:, 1],
        velocity=table[:, 3],
        controls=Controls(events[:, 0] * SECONDS_PER_TICK, np.full(len(events), 64), events[:, 1]),
        score_ids=tuple(f"ñ{i}-1" for i in range(len(table))),
    )


@given(performances())
def test_a_performance_on_the_grid_survives_the_file(performance: Performance) -> None:
    content = performance_to_midi(performance)
    again = performance_from_midi(content, name="x.mid")
    np.testing.assert_allclose(again.onset, performance.onset, atol=1e-9)
    np.testing.assert_allclose(again.offset, performance.offset, atol=1e-9)
    np.testing.assert_array_equal(again.pitch, performance.pitch)
    np.testing.assert_array_equal(again.velocity, performance.velocity)
    np.testing.assert_array_equal(again.controls.value, performance.controls.value)
    np.testing.assert_allclose(again.controls.time, performance.controls.time, atol=1e-9)
    assert again.score_ids == performance.score_ids
    assert performance_to_midi(again) == content


def test_a_key_struck_again_while_it_is_down_is_released_first(tmp_path: Path) -> None:
    overlapping = Performance(
        onset=np.array([0.0, 1.0]),
        offset=np.array([3.0, 2.0]),
        pitch=np.array([60, 60]),
        velocity=np.array([50, 90]),
    )
    write_performance(overlapping, tmp_path / "x.mid")
    again = read_performance(tmp_path / "x.mid")
    np.testing.assert_allclose(again.offset, [1.0, 2.0])
    np.testing.assert_array_equal(again.velocity, [50, 90])


def test_all_tracks_but_drums_are_one_performance(tmp_path: Path) -> None:
    midi = mido.MidiFile(ticks_per_beat=480)
    for channel, note in ((0, 60), (1, 40), (9, 50), (2, 15)):
        track = mido.MidiTrack()
        track.append(mido.Message("note_on", channel=channel, note=note, velocity=64, time=0))
        track.append(mido.Message("note_off", channel=channel, note=note, time=480))
        midi.tracks.append(track)
    midi.save(tmp_path / "x.mid")
    np.testing.assert_array_equal(read_performance(tmp_path / "x.mid").pitch, [40, 60])


@pytest.mark.parametrize(
    "content",
    [b"", b"MThd", b"not midi at all", b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0MTrk\xff\xff\xff\xff"],
)
def test_what_is_not_midi_is_refused_in_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.mid"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.mid: not a readable MIDI file") as caught:
        read_performance(path)
    assert "\n" not in str(caught.value)


def test_a_file_without_notes_is_refused() -> None:
    buffer = io.BytesIO()
    midi = mido.MidiFile()
    midi.tracks.append(mido.MidiTrack())
    midi.save(file=buffer)
    with pytest.raises(InputError, match="has no piano notes"):
        performance_from_midi(buffer.getvalue(), name="x.mid")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere\.mid: cannot be read"):
        read_performance(Path("nowhere.mid"))
