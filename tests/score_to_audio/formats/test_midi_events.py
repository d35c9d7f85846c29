"""MIDI files that break the standard, read as far as they can be."""

from __future__ import annotations

import io

import mido
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from score_to_audio.formats.midi import performance_from_midi
from score_to_audio.formats.midi_events import LONGEST_DELTA, Event, cleaned, is_midi, read_midi_file

NOTE = bytes([0, 0x90, 60, 80, 96, 60, 0])
"""A note of a quarter, its end by running status."""
END = bytes([0, 0xFF, 0x2F, 0])
NOTES = [Event(0, 0x90, bytes([60, 80])), Event(96, 0x90, bytes([60, 0]))]


def chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    return name + (len(body) if length is None else length).to_bytes(4) + body


def header(kind: int = 1, tracks: int = 1, division: int = 96, extra: bytes = b"") -> bytes:
    return chunk(b"MThd", b"".join(number.to_bytes(2) for number in (kind, tracks, division)) + extra)


def track(*events: bytes, length: int | None = None, end: bytes = END) -> bytes:
    return chunk(b"MTrk", b"".join(events) + end, length)


def tracks_of(content: bytes) -> list[list[Event]]:
    """The events without the ends of tracks; the cleaned file says the same, and mido reads it."""
    file = read_midi_file(content)
    again = cleaned(content)
    assert read_midi_file(again) == file
    assert cleaned(again) == again
    assert len(mido.MidiFile(file=io.BytesIO(again)).tracks) == len(file.tracks)
    return [events[:-1] for events in file.tracks]


def test_a_plain_file() -> None:
    assert tracks_of(header() + track(NOTE)) == [NOTES]


@pytest.mark.parametrize(
    "content",
    [
        header(tracks=0) + track(NOTE) + track(NOTE),
        header(tracks=1) + track(NOTE) + track(NOTE),
        header(tracks=9) + track(NOTE) + track(NOTE),
        header(kind=0) + track(NOTE) + track(NOTE),
        header(tracks=2, extra=b"more") + track(NOTE) + track(NOTE),
        header(tracks=2) + chunk(b"XFIH", b"abcd") + track(NOTE) + chunk(b"XFKM", b"") + track(NOTE),
        header(tracks=2) + track(NOTE, length=100) + track(NOTE),
        header(tracks=2) + track(NOTE) + track(NOTE, length=10**6),
        header(tracks=2) + track(NOTE, length=3) + track(NOTE, length=0),
        header(tracks=2) + track(NOTE, end=END + b"padding") + track(NOTE),
        header(tracks=2) + track(NOTE, end=b"") + track(NOTE),
        header(tracks=2) + b"\0garbage\xff" + track(NOTE) + b"\0" + track(NOTE) + b"\0\0\0",
    ],
)
def test_wrong_counts_lengths_and_foreign_chunks(content: bytes) -> None:
    assert tracks_of(content) == [NOTES, NOTES]
    assert read_midi_file(content).format == 1


def test_a_riff_envelope() -> None:
    inside = header() + track(NOTE)
    riff = (
        b"RIFF" + (len(inside) + 12).to_bytes(4, "little") + b"RMIDdata" + len(inside).to_bytes(4, "little")
    )
    assert is_midi(riff + inside)
    assert tracks_of(riff + inside + chunk(b"LIST", b"INFO")) == [NOTES]
    assert not is_midi(b"RIFF\0\0\0\0WAVE")


def test_bytes_before_the_header() -> None:
    content = header() + track(NOTE)
    for before in (bytes(128), b"\r\n"):
        assert is_midi(before + content)
        assert tracks_of(before + content) == [NOTES]
    assert not is_midi(bytes(1000) + content)
    assert not is_midi(b"<!-- MThd -->")


def test_one_pattern_is_a_plain_file() -> None:
    assert read_midi_file(header(kind=2) + track(NOTE)).format == 1
    assert read_midi_file(header(kind=2) + track(NOTE) * 2).format == 2


@pytest.mark.parametrize(
    "bad",
    [
        bytes([0, 0xFF, 0x59, 2, 9, 0]),
        bytes([0, 0xFF, 0x59, 2, 0, 2]),
        bytes([0, 0xFF, 0x59, 1, 0]),
        bytes([0, 0xFF, 0x51, 3, 0, 0, 0]),
        bytes([0, 0xFF, 0x51, 2, 1, 1]),
        bytes([0, 0xFF, 0x58, 4, 0, 2, 24, 8]),
        bytes([0, 0xFF, 0x58, 4, 4, 99, 24, 8]),
        bytes([0, 0xFF, 0x58, 2, 4, 2]),
        bytes([0, 0xFF, 0x54, 5, 99, 99, 99, 99, 99]),
        bytes([0, 0xFF, 0x00, 1, 1]),
        bytes([0, 0xFF, 0x7E, 3, 1, 2, 3]),
        bytes([0, 0xF0, 3, 1, 2, 0xF7]),
        bytes([0, 0xF7, 2, 1, 2]),
        bytes([0, 0xF8]),
        bytes([0, 0xF2, 1, 2]),
        bytes([0, 1]),
    ],
)
def test_a_bad_event_costs_only_itself(bad: bytes) -> None:
    assert tracks_of(header() + track(bad, NOTE)) == [NOTES]
    assert len(performance_from_midi(header() + track(bad, NOTE), name="x")) == 1


def test_what_is_possible_is_kept() -> None:
    metas = [
        bytes([0x51, 7, 161, 32]),
        bytes([0x58, 3, 2, 24, 8]),
        bytes([0x59, 0xFD, 1]),
        b"\x03name",
        b"\x01t",
    ]
    events = [bytes([0, 0xFF, meta[0], len(meta) - 1]) + meta[1:] for meta in metas]
    assert tracks_of(header() + track(*events)) == [[Event(0, 0xFF, meta) for meta in metas]]


def test_data_bytes_above_127_are_clipped() -> None:
    assert tracks_of(header() + track(bytes([0, 0x90, 60, 200]))) == [[Event(0, 0x90, bytes([60, 127]))]]


def test_an_event_longer_than_the_file_ends_it() -> None:
    content = header() + track(NOTE, bytes([0, 0xFF, 1, 0xFF, 0x7F]), end=b"")
    assert tracks_of(content) == [NOTES]


@pytest.mark.parametrize(
    "content", [b"", b"MThd", header()[:-1], b"RIFF\0\0\0\0RMID", header() + track(NOTE)[:-6]]
)
def test_what_is_cut_off_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no header|cut off"):
        read_midi_file(content)


def test_the_end_of_a_track_may_come_later_than_its_last_event() -> None:
    file = read_midi_file(header() + track(NOTE, end=bytes([96, 0xFF, 0x2F, 0])))
    assert file.tracks[0][-1].tick == 192


def test_dropped_events_may_leave_more_ticks_than_a_delta_time_can_tell() -> None:
    far = bytes([0xFF, 0xFF, 0xFF, 0x7F]) + bytes([0xFF, 0x7F, 0])
    assert tracks_of(header() + track(far, far, NOTE)) == [
        [event._replace(tick=event.tick + 2 * LONGEST_DELTA) for event in NOTES]
    ]


@given(st.binary(max_size=200), st.floats(0, 1))
@example(b"\xba\x80\x80\x00\x00\xc6\x80\x80\x00\x00", 0.0)
def test_any_bytes_are_read_or_refused_for_a_reason(noise: bytes, position: float) -> None:
    whole = header(tracks=2) + track(NOTE, NOTE) + track(NOTE)
    place = round(position * len(whole))
    damaged = whole[:place] + noise[:3] + whole[place + 1 :]
    for content in (noise, header() + noise, header() + track(noise), damaged):
        try:
            tracks = tracks_of(content)
        except ValueError as error:
            assert str(error) in REASONS  # noqa: PT017
            continue
        for events in tracks:
            ticks = [event.tick for event in events]
            assert ticks == sorted(ticks)


REASONS = ("it has no header", "its end is cut off")
