"""Events of standard MIDI files, read so that no bad event, length or count costs more than itself.

mido and pretty_midi give up a whole file for one key signature of nine sharps, and believe a header that
tells too few tracks. ``cleaned`` gives them a file that they can read (Standard MIDI Files 1.0, RP-001).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

NOTE_OFF, NOTE_ON, CONTROL_CHANGE, PROGRAM_CHANGE = 0x80, 0x90, 0xB0, 0xC0
"""Status of channel messages; the lower four bits are the channel."""
META = 0xFF
END_OF_TRACK, TEMPO, TIME_SIGNATURE, KEY_SIGNATURE, TRACK_NAME = 0x2F, 0x51, 0x58, 0x59, 0x03
PERCUSSION_CHANNEL = 9
"""Of General MIDI, counted from 0."""
DEFAULT_TEMPO = 120.0
"""Quarter notes per minute where a file gives none (Standard MIDI Files 1.0)."""
LONGEST_BEAT_EXPONENT = 7
"""Shortest beat of a time signature that is believed, as a power of 1/2 of a whole note."""
MOST_FOREIGN_BYTES = 256
"""Before the header of a MIDI file."""
LONGEST_DELTA = 2**28 - 1
"""Ticks that a delta time can tell: four groups of seven bits."""
_FILLER = bytes([META, 0x7F, 0])
"""A sequencer-specific event without content, which says nothing."""
_DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
_SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}


class Event(NamedTuple):
    tick: int
    """From the start of the track."""
    status: int
    """0x80..0xEF for a channel message, ``META`` for a meta event."""
    data: bytes
    """The data bytes of a channel message, each below 128; of a meta event its type and content."""


@dataclass(frozen=True)
class MidiFile:
    format: int
    division: int
    """Ticks per quarter note; 0x8000 and above count time in video frames."""
    tracks: list[list[Event]]
    """Channel messages and the meta events whose content is possible, the end of the track last."""


def is_midi(content: bytes) -> bool:
    """Whether it is a standard MIDI file, plain, in a RIFF envelope or behind a few bytes (MacBinary)."""
    is_riff = content.startswith(b"RIFF") and content[8:12] == b"RMID"
    return is_riff or (b"MThd" in content[:MOST_FOREIGN_BYTES] and not content.startswith((b"<", b"PK")))


def read_midi_file(content: bytes) -> MidiFile:
    """The events of a MIDI file. Raises ``ValueError`` where there is no header, or its end is cut off."""
    start = content.find(b"MThd")
    if start < 0 or len(content) < start + 14:
        raise ValueError("it has no header")
    header = content[start + 8 : start + 14]
    kind, division = int.from_bytes(header[:2]), int.from_bytes(header[4:])
    tracks = []
    position = start + 8 + max(6, int.from_bytes(content[start + 4 : start + 8]))
    while (chunk := _next_track(content, position)) is not None:
        events, position = _read_track(content, chunk)
        tracks.append(events)
    if (kind == 0 and len(tracks) > 1) or (kind == 2 and len(tracks) == 1):
        kind = 1
    return MidiFile(kind, division, tracks)


def cleaned(content: bytes) -> bytes:
    """The same music as a MIDI file that keeps to the standard. Raises ``ValueError`` as above."""
    file = read_midi_file(content)
    chunks = [
        _chunk(b"MThd", b"".join(n.to_bytes(2) for n in (file.format, len(file.tracks), file.division)))
    ]
    for track in file.tracks:
        body = bytearray()
        tick = 0
        for event in track:
            body += _delta(event.tick - tick) + bytes([event.status])
            if event.status == META:
                body += event.data[:1] + _variable(len(event.data) - 1) + event.data[1:]
            else:
                body += event.data
            tick = event.tick
        chunks.append(_chunk(b"MTrk", bytes(body)))
    return b"".join(chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4) + body


def _delta(ticks: int) -> bytes:
    """A delta time. Where events between two others were dropped, it may take several."""
    fillers, rest = divmod(ticks, LONGEST_DELTA)
    return (_variable(LONGEST_DELTA) + _FILLER) * fillers + _variable(rest)


def _variable(number: int) -> bytes:
    """A variable-length quantity."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(0x80 | (number & 0x7F))
    return bytes(reversed(groups))


def _next_track(content: bytes, position: int) -> int | None:
    """Where the next track begins; foreign chunks are passed over."""
    while position + 8 <= len(content):
        if content[position : position + 4] == b"MTrk":
            return position
        stop = position + 8 + int.from_bytes(content[position + 4 : position + 8])
        if _is_chunk(content, position) and (stop == len(content) or _is_chunk(content, stop)):
            position = stop
            continue
        found = content.find(b"MTrk", position + 1)
        return None if found < 0 else found
    return None


def _is_chunk(content: bytes, position: int) -> bool:
    name = content[position : position + 4]
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _read_track(content: bytes, start: int) -> tuple[list[Event], int]:
    """The events of a track, and where the next chunk begins, whatever length the track claims."""
    declared = start + 8 + int.from_bytes(content[start + 4 : start + 8])
    stream = _Stream(content, start + 8)
    events: list[Event] = []
    tick = 0
    for event in _events(stream, declared):
        tick = event.tick
        if event.status == META and event.data[0] == END_OF_TRACK:
            events.append(event._replace(data=bytes([END_OF_TRACK])))
            is_padded = declared == len(content) or content[declared : declared + 4] == b"MTrk"
            is_next = content[stream.position : stream.position + 4] == b"MTrk"
            return events, declared if is_padded and not is_next else stream.position
        if event.status != META or _is_possible(event.data):
            events.append(event)
    if declared > len(content):
        raise ValueError("its end is cut off")
    events.append(Event(tick, META, bytes([END_OF_TRACK])))
    return events, max(declared, stream.position)


def _is_possible(meta: bytes) -> bool:
    """Whether the content of a meta event can be what its type says."""
    kind, content = meta[0], meta[1:]
    if kind == TEMPO:
        return len(content) == 3 and any(content)
    if kind == TIME_SIGNATURE:
        return len(content) == 4 and content[0] > 0 and content[1] <= LONGEST_BEAT_EXPONENT
    if kind == KEY_SIGNATURE:
        return len(content) == 2 and (content[0] <= 7 or content[0] >= 0xF9) and content[1] <= 1
    return kind < 0x10 and kind != 0


@dataclass
class _Stream:
    content: bytes
    position: int

    def byte(self) -> int:
        if self.position >= len(self.content):
            raise EOFError
        self.position += 1
        return self.content[self.position - 1]

    def variable(self) -> int:
        number = 0
        for _ in range(4):
            byte = self.byte()
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                break
        return number

    def take(self, count: int) -> bytes:
        if self.position + count > len(self.content):
            raise EOFError
        self.position += count
        return self.content[self.position - count : self.position]


def _events(stream: _Stream, declared: int) -> Iterator[Event]:
    """Channel messages and meta events up to the end of the track; other messages are passed over.

    A track whose end is not marked stops where it says, if another chunk or the end of the file follows.
    """
    tick = status = 0
    content = stream.content
    try:
        while True:
            at_end = stream.position == declared
            if at_end and (declared == len(content) or _is_chunk(content, declared)):
                return
            tick += stream.variable()
            first = stream.byte()
            if first == META:
                kind = stream.byte()
                yield Event(tick, META, bytes([kind]) + stream.take(stream.variable()))
            elif first in (0xF0, 0xF7):
                stream.take(stream.variable())
            elif first > 0xF0:
                stream.take(_SYSTEM_DATA_BYTES.get(first, 0))
            else:
                if first >= 0x80:
                    status = first
                else:
                    stream.position -= 1
                if status:
                    data = stream.take(_DATA_BYTES[status & 0xF0])
                    yield Event(tick, status, bytes(min(byte, 0x7F) for byte in data))
                else:
                    stream.position += 1
    except EOFError:
        return
