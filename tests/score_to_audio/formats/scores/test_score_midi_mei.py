"""MIDI and MEI files as scores."""

from __future__ import annotations

import io
from typing import Any

import mido
import pytest

from score_to_audio.errors import InputError
from score_to_audio.types import Direction, Slur
from tests.score_to_audio.formats.scores.score_builder import parse

PPQ = 480


def midi(*tracks: list[tuple[int, mido.Message | mido.MetaMessage]], ppq: int = PPQ, kind: int = 1) -> bytes:
    """A MIDI file; each track is a list of (absolute tick, message)."""
    file = mido.MidiFile(type=kind, ticks_per_beat=ppq)
    for events in tracks:
        track = mido.MidiTrack()
        before = 0
        for tick, message in sorted(events, key=lambda event: event[0]):
            track.append(message.copy(time=tick - before))
            before = tick
        file.tracks.append(track)
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def played(pitch: int, start: float, end: float, channel: int = 0) -> list[tuple[int, mido.Message]]:
    """A note from ``start`` to ``end`` quarter notes."""
    return [
        (round(start * PPQ), mido.Message("note_on", note=pitch, velocity=50, channel=channel)),
        (round(end * PPQ), mido.Message("note_off", note=pitch, channel=channel)),
    ]


def test_notes_signatures_and_tempo_map() -> None:
    conductor = [
        (0, mido.MetaMessage("time_signature", numerator=3, denominator=4)),
        (0, mido.MetaMessage("key_signature", key="Bb")),
        (0, mido.MetaMessage("set_tempo", tempo=500_000)),
        (3 * PPQ, mido.MetaMessage("set_tempo", tempo=1_000_000)),
    ]
    right = [(0, mido.MetaMessage("track_name", name="Klavier")), *played(70, 0, 1), *played(72, 1, 3)]
    left = [*played(46, 0, 3), *played(48, 3, 6)]
    parsed = parse(midi(conductor, right, left), "a.mid")
    notes = parsed.notes
    assert notes.onset.tolist() == [0, 0, 1, 3]
    assert notes.duration.tolist() == [3, 1, 2, 3]
    assert notes.pitch.tolist() == [46, 70, 72, 48]
    assert notes.staff.tolist() == [2, 1, 1, 2]
    assert notes.voice.tolist() == [2, 1, 1, 2]
    assert notes.spelling == ("Bb2", "Bb4", "C5", "C3")
    assert notes.id == ("t2n1-1", "t1n1-1", "t1n2-1", "t2n2-1")
    assert [(m.onset, m.end) for m in parsed.measures] == [(0, 3), (3, 6)]
    assert [(t.beats, t.beat_type) for t in parsed.time_signatures] == [(3, 4)]
    assert [(k.fifths, k.mode) for k in parsed.key_signatures] == [(-2, "major")]
    assert parsed.directions == (Direction("tempo", 0, 0, "", 120), Direction("tempo", 3, 3, "", 60))
    assert parsed.parts == ("Klavier",)
    assert parsed.notices == ()


def test_keys_released_early_are_held_for_their_written_duration() -> None:
    parsed = parse(midi([*played(60, 0, 0.95), *played(62, 1, 1.3), *played(64, 2, 2.98)]), "a.mid")
    assert parsed.notes.duration.tolist() == pytest.approx([1, 1 / 3, 1], abs=1 / PPQ)


def test_a_single_track_is_divided_at_middle_c() -> None:
    assert parse(midi([*played(59, 0, 1), *played(60, 1, 2)]), "a.mid").notes.staff.tolist() == [2, 1]


def test_a_repeated_pitch_ends_in_the_order_of_its_starts() -> None:
    parsed = parse(midi([*played(60, 0, 2), *played(60, 1, 3)]), "a.mid")
    assert parsed.notes.duration.tolist() == [2, 2]


def test_pedal_spans() -> None:
    pedals = [(0, 100), (PPQ, 127), (2 * PPQ, 0), (3 * PPQ, 64)]
    events = [(tick, mido.Message("control_change", control=64, value=value)) for tick, value in pedals]
    parsed = parse(midi([*events, *played(60, 0, 4)]), "a.mid")
    assert [(d.onset, d.end) for d in parsed.directions if d.kind == "pedal"] == [(0, 2), (3, 4)]


def test_tracks_of_other_instruments_are_left_out() -> None:
    voice = [(0, mido.Message("program_change", program=52, channel=1)), *played(72, 0, 1, 1)]
    drums = played(35, 0, 1, 9)
    content = midi(voice, played(60, 0, 1), drums)
    parsed = parse(content, "a.mid")
    assert parsed.notes.pitch.tolist() == [60]
    assert parsed.notices == (
        "left out the percussion",
        "left out 1 channel without a piano sound; set the score option parts=all to merge them",
    )
    assert parse(content, "a.mid", parts="all").notes.pitch.tolist() == [60, 72]


def test_a_recorded_performance_is_told() -> None:
    events = [event for i in range(50) for event in played(60, i * 0.31731, i * 0.31731 + 0.2)]
    assert parse(midi(events), "a.mid").notices == (
        "its onsets lie on no grid, as in a recorded performance, not a score",
    )


TINY = mido.MetaMessage("time_signature", numerator=1, denominator=128)
TINY_MEASURES = midi([(0, TINY), *played(60, 0, 90_000)])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"MThd", "damaged MIDI file"),
        (midi(played(60, 0, 1))[:-12], "damaged MIDI file"),
        (b"MThd\0\0\0\6\0\1\0\1\xe2\x50MTrk\0\0\0\0", "video frames"),
        (b"MThd\0\0\0\6\0\1\0\1\0\0MTrk\0\0\0\0", "video frames|damaged"),
        (midi(played(60, 0, 1), played(62, 0, 1), kind=2), "format 2"),
        (midi([]), "has no notes"),
        (midi(played(36, 0, 1, 9)), "percussion only"),
        (midi(played(60, 0, 200_000)), "longer than 100,000 quarter notes"),
        (TINY_MEASURES, "more than 20,000 measures"),
        (b"MThd" + b"x" * 2**23, "MiB"),
    ],
)
def test_bad_midi_files(content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        parse(content, "a.mid")
    assert "a.mid" in str(caught.value)
    assert "\n" not in str(caught.value)


MEI = """<?xml version="1.0" encoding="UTF-8"?>
<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0">
 <meiHead><fileDesc><titleStmt><title>Probe</title>
  <respStmt><persName role="composer">N. N.</persName></respStmt></titleStmt><pubStmt/></fileDesc></meiHead>
 <music><body><mdiv><score>
  <scoreDef meter.count="4" meter.unit="4" key.sig="1f" midi.bpm="96">
   <staffGrp symbol="brace"><label>Piano</label>
    <staffDef n="1" lines="5" clef.shape="G" clef.line="2"/>
    <staffDef n="2" lines="5" clef.shape="F" clef.line="4"/>
   </staffGrp>
  </scoreDef>
  <section>
   <measure n="1" right="rptend">
    <staff n="1"><layer n="1">
     <note xml:id="a" dur="4" pname="c" oct="5" artic="stacc"/>
     <note xml:id="g" grace="unacc" dur="8" pname="d" oct="5"/>
     <note xml:id="b" dur="4" pname="e" oct="5"/>
     <chord dur="2"><artic artic="acc ten"/>
      <note xml:id="c" pname="f" oct="5"/><note xml:id="d" pname="a" oct="5"/></chord>
    </layer></staff>
    <staff n="2"><layer n="1"><note xml:id="e" dur="1" pname="b" oct="3" accid.ges="f"/></layer></staff>
    <slur startid="#a" endid="#b"/><dynam tstamp="1">mf</dynam><dynam tstamp="4">sfz</dynam>
    <hairpin form="cres" tstamp="2" tstamp2="0m+4"/><tempo tstamp="1" mm="66" mm.unit="2">Allegro</tempo>
    <fermata startid="#c"/><trill startid="#b"/><mordent form="upper" startid="#a"/>
    <pedal dir="down" tstamp="1"/><pedal dir="up" tstamp="3"/><arpeg startid="#c"/><dir tstamp="3">rit.</dir>
   </measure>
   <measure n="2" right="end">
    <staff n="1"><layer n="1"><note xml:id="h" dur="1" pname="c" oct="5"/></layer></staff>
    <staff n="2"><layer n="1"><note dur="1" pname="f" oct="3"/></layer></staff>
   </measure>
  </section></score></mdiv></body></music></mei>"""


def test_mei_notes_and_marks() -> None:
    parsed = parse(MEI, "a.mei", repeats=False)
    notes = parsed.notes
    assert notes.id == ("e", "a", "g", "b", "c", "d", "n8", "h")
    assert notes.onset.tolist() == [0, 0, 1, 1, 2, 2, 4, 4]
    assert notes.duration.tolist() == [4, 1, 0, 1, 2, 2, 4, 4]
    assert notes.spelling == ("Bb3", "C5", "D5", "E5", "F5", "A5", "F3", "C5")
    assert notes.staff.tolist() == [2, 1, 1, 1, 1, 1, 2, 1]
    assert notes.part.tolist() == [0] * 8
    assert notes.grace == ("", "", "acciaccatura", "", "", "", "", "")
    chord = {"accent", "tenuto", "arpeggiate"}
    assert [set(marks) for marks in notes.marks[:4]] == [
        set(),
        {"staccato", "inverted-mordent"},
        set(),
        {"trill-mark"},
    ]
    assert [set(marks) for marks in notes.marks[4:]] == [chord | {"fermata"}, chord, set(), set()]
    assert parsed.slurs == (Slur(1, 3),)
    assert parsed.directions == (
        Direction("tempo", 0, 0, "Allegro", 132),
        Direction("dynamic", 0, 0, "mf", part=0),
        Direction("pedal", 0, 2, "sustain", part=0),
        Direction("hairpin", 1, 3, "crescendo", part=0),
        Direction("tempo-change", 2, 8, "rit."),
        Direction("impulse", 3, 3, "sfz", part=0),
    )
    assert (parsed.title, parsed.composer, parsed.parts) == ("Probe", "N. N.", ("Piano",))
    assert [(k.fifths, k.mode) for k in parsed.key_signatures] == [(-1, "")]


def test_mei_repeats_are_unfolded() -> None:
    parsed = parse(MEI, "a.mei")
    assert [m.written for m in parsed.measures] == [0, 0, 1]
    assert parsed.notes.id[0] == "e-1"
    assert parsed.slurs == (Slur(1, 3), Slur(7, 9))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('<mei xmlns="http://www.music-encoding.org/ns/mei"/>', "without a score"),
        ("<mei/>", "without a score"),
        ('<perfMedium xmlns="http://www.music-encoding.org/ns/mei"/>', "without a score"),
        (MEI.replace("<note", "<rest"), "holds rests only"),
        (MEI[:600], "not well-formed"),
        (MEI.replace("<mei ", '<!DOCTYPE mei [<!ENTITY a "b">]><mei ', 1), "declares XML entities"),
        (MEI.replace('pname="', 'pname="x'), "measure 1: a note has the step 'XC'"),
    ],
)
def test_bad_mei_files(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        parse(text, "a.mei")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("exponent", [8, 34, 255])
def test_beats_that_nobody_can_count_are_passed_over(exponent: int) -> None:
    """A MIDI file tells the beat type as a power of two."""
    signature = mido.MetaMessage("time_signature", numerator=3, denominator=4)
    content = midi([(0, signature), *played(60, 0, 4)])
    damaged = content.replace(b"\xff\x58\x04\x03\x02", b"\xff\x58\x04\x03" + bytes([exponent]))
    assert damaged != content
    parsed = parse(damaged, "a.mid")
    assert [(sign.beats, sign.beat_type) for sign in parsed.time_signatures] == [(4, 4)]


def test_an_impossible_key_is_passed_over() -> None:
    content = midi([(0, mido.MetaMessage("key_signature", key="Bb")), *played(60, 0, 4)])
    damaged = content.replace(b"\xff\x59\x02\xfe\x00", b"\xff\x59\x02\xfe\xff")
    assert damaged != content
    parsed = parse(damaged, "a.mid")
    assert parsed.notes.pitch.tolist() == [60]
    assert parsed.key_signatures == ()


def test_without_a_tempo_it_is_120() -> None:
    assert parse(midi(played(60, 0, 1)), "a.mid").directions == (Direction("tempo", 0, 0, "", 120),)
    late = midi([(PPQ, mido.MetaMessage("set_tempo", tempo=10**6)), *played(60, 0, 4)])
    assert [(d.onset, d.value) for d in parse(late, "a.mid").directions] == [(0, 120), (1, 60)]


def program(channel: int, number: int, beat: float = 0) -> tuple[int, mido.Message]:
    return round(beat * PPQ), mido.Message("program_change", channel=channel, program=number)


def pitches(*tracks: list[Any]) -> list[int]:
    return parse(midi(*tracks), "a.mid").notes.pitch.tolist()


def test_programs_belong_to_channels() -> None:
    """Also where one track has several, and where another track sets them."""
    assert pitches([program(1, 73), *played(60, 0, 1), *played(72, 0, 1, 1)]) == [60]
    assert pitches([program(1, 73)], [*played(60, 0, 1)], [*played(72, 0, 1, 1)]) == [60]
    assert pitches([program(0, 73), *played(60, 0, 1)], [program(1, 4), *played(72, 0, 1, 1)]) == [72]


def test_a_program_holds_from_where_it_stands() -> None:
    assert pitches([program(0, 48, 2), *played(60, 0, 1), *played(72, 2, 3)]) == [60]
    assert pitches([program(0, 48), program(0, 0, 2), *played(60, 0, 1), *played(72, 2, 3)]) == [72]


def test_two_channels_of_one_track_are_two_voices() -> None:
    notes = parse(midi([*played(72, 0, 1, 0), *played(48, 0, 1, 1)]), "a.mid").notes
    assert notes.staff.tolist() == [2, 1]


def test_the_pedal_of_a_channel_without_notes_counts() -> None:
    press = mido.Message("control_change", control=64, value=100, channel=5)
    parsed = parse(midi([(0, press), *played(60, 0, 4)]), "a.mid")
    assert [d.kind for d in parsed.directions] == ["tempo", "pedal"]
