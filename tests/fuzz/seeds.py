"""Good files of each kind, small and full of features."""

from __future__ import annotations

import io
import os
import zipfile
from functools import cache

import mido
import numpy as np

from tests.paths import EXAMPLE_SCORES
from tests.score_to_audio.formats.scores.score_builder import (
    attributes,
    backup,
    direction,
    document,
    ending,
    note,
    part,
    repeat,
    words,
)
from tests.score_to_audio.formats.scores.test_score_midi_mei import MEI, PPQ, played
from tests.score_to_audio.formats.scores.test_score_midi_mei import midi as midi_file

EXAMPLES = EXAMPLE_SCORES


@cache
def musicxml() -> list[bytes]:
    """Everything that the reader knows, in three short pieces, and the beginning of a real one."""
    slur = '<slur type="{}" number="1"/>'
    rich = [
        words("Allegro", 'tempo="132"')
        + direction("<dynamics><mf/></dynamics>", staff=1)
        + note(
            "C5", 1, notations=slur.format("start") + "<articulations><staccato/><accent/></articulations>"
        )
        + note("D5", 0, grace='slash="yes"')
        + note("E5", 1, notations="<ornaments><trill-mark/><wavy-line type='start'/></ornaments>")
        + note("G5", 1, chord=True, notations="<arpeggiate/>")
        + note("F5", 2, ties="start", notations=slur.format("stop") + "<fermata/>")
        + backup(4)
        + note("C3", 4, voice=5, staff=2)
        + direction('<pedal type="start"/>', staff=2)
        + direction('<wedge type="crescendo"/>'),
        direction('<wedge type="stop"/>')
        + direction('<octave-shift type="down" size="8"/>')
        + note("F5", 1, ties="stop")
        + note("rest", 1)
        + "<note><pitch><step>A</step><octave>4</octave></pitch><duration>4</duration>"
        "<time-modification><actual-notes>3</actual-notes><normal-notes>2</normal-notes></time-modification>"
        '<notations><tuplet type="start"/><ornaments><tremolo>3</tremolo></ornaments></notations></note>'
        + direction('<octave-shift type="stop" size="8"/>')
        + direction('<pedal type="stop"/>', staff=2)
        + direction("<metronome><beat-unit>quarter</beat-unit><per-minute>90</per-minute></metronome>")
        + attributes(3, 8, -3, "<staves>2</staves><transpose><chromatic>-2</chromatic></transpose>"),
    ]
    repeats = [
        repeat("forward")
        + note("C4", 4)
        + "<direction><direction-type><segno/></direction-type></direction>",
        ending("1", "start") + note("D4", 4) + ending("1", "stop", back=True),
        ending("2", "start") + note("E4", 4) + direction("<coda/>", sound='tocoda="c"') + ending("2", "stop"),
        note("F4", 4) + direction("", sound='dalsegno="s" fine="yes"'),
        direction("<coda/>", sound='coda="c"') + note("G4", 4),
    ]
    duo = document(
        part([note("C4", 4)]),
        part([note("E3", 2) + note("F#3", 2, extra="<cue/>")], "P2"),
        names=("Violin", "Pianoforte"),
    )
    beginning = (EXAMPLES / "chopin_prelude_op28_no7.musicxml").read_text("utf-8")
    measures = beginning.split("</measure>")[:3]
    excerpt = "</measure>".join([*measures, "</part></score-partwise>"])
    texts = [document(part(rich)), document(part(repeats)), duo, excerpt]
    return [text.encode() for text in texts]


@cache
def mxl() -> list[bytes]:
    container = '<container><rootfiles><rootfile full-path="score.xml"/></rootfiles></container>'
    packed = []
    for content in musicxml()[:3]:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("META-INF/container.xml", container)
            archive.writestr("score.xml", content)
        packed.append(buffer.getvalue())
    return packed


@cache
def mei() -> list[bytes]:
    return [MEI.encode()]


@cache
def midi() -> list[bytes]:
    """A score, and a performance with pedal and ids as the product writes it."""
    from score_to_audio.formats.midi import performance_to_midi
    from score_to_audio.types import Controls, Performance

    conductor = [
        (0, mido.MetaMessage("time_signature", numerator=3, denominator=4)),
        (0, mido.MetaMessage("key_signature", key="Bb")),
        (0, mido.MetaMessage("set_tempo", tempo=500_000)),
        (3 * PPQ, mido.MetaMessage("set_tempo", tempo=1_000_000)),
    ]
    right = [(0, mido.MetaMessage("track_name", name="Klavier")), *played(70, 0, 1), *played(72, 1, 3)]
    left = [(0, mido.Message("control_change", control=64, value=90)), *played(46, 0, 3), *played(48, 3, 6)]
    onset = np.arange(6) * 0.4
    performance = Performance(
        onset=onset,
        offset=onset + 0.5,
        pitch=60 + np.arange(6),
        velocity=40 + 10 * np.arange(6),
        controls=Controls(onset, np.full(6, 64), np.array([0, 30, 127, 90, 60, 0])),
        score_ids=tuple(f"n{number}-1" for number in range(6)),
    )
    return [
        midi_file(conductor, right, left),
        midi_file([*conductor, *right], kind=0),
        performance_to_midi(performance),
    ]


class Trap:
    """Pickled, it is the call of a program."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch trapped",)


@cache
def checkpoints() -> list[bytes]:
    """State dictionaries, nested configurations, and files that would run something."""
    import torch
    from omegaconf import OmegaConf

    weights = {
        "layer.weight": torch.arange(12.0).reshape(3, 4),
        "layer.bias": torch.zeros(3, dtype=torch.int8),
    }
    contents = [
        weights,
        {"model": weights, "epoch": 7, "config": OmegaConf.create({"width": 4, "names": ["a"]})},
        {"model": weights, "hook": Trap()},
    ]
    saved = []
    for content in contents:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        saved.append(buffer.getvalue())
    return saved


@cache
def safetensors() -> list[bytes]:
    import torch
    from safetensors.torch import save

    return [save({"a": torch.arange(12.0).reshape(3, 4), "b": torch.zeros(2, dtype=torch.float16)})]


@cache
def model_config() -> list[bytes]:
    """As ESPnet writes it, the part that is read."""
    return [b"tts: valle\ntts_conf:\n  n_fft: 1024\n  layers: [1, 2]\n  names: {a: b}\n  win_length: null\n"]


@cache
def statistics() -> list[bytes]:
    """Of features, as ESPnet keeps them."""
    sums = np.arange(4, dtype=np.float32)
    buffer = io.BytesIO()
    np.savez(buffer, count=np.array(10), sum=sums, sum_square=10 * sums**2 + 1)
    return [buffer.getvalue()]


@cache
def comparisons() -> list[bytes]:
    return [path.read_bytes() for path in sorted(EXAMPLES.parent.glob("compare*.yaml"))]


@cache
def audio() -> list[bytes]:
    import soundfile

    samples = np.sin(np.arange(2000) / 10).astype(np.float32)
    encoded = []
    for kind in ("WAV", "FLAC", "OGG"):
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 8000, format=kind)
        encoded.append(buffer.getvalue())
    return encoded
