"""How well an independent transcriber hears the bundled miniatures, beside what they imitate.

    python -m benchmarks.miniatures FOLDER [--codec mini-codec] [--midi-valle mini-midi-valle]
        [--m2a mini-m2a] [--seconds 10] [--threads 1]

``FOLDER`` holds recordings with their MIDI files, as ``benchmarks.played_recordings --split test`` writes
them. Of each: the recording itself, its reconstruction by the codec, and the synthesizers. Prints the onset
F1 of transkun's transcription against the MIDI file, and the distance of the mel spectra from the recording.
Needs the extra ``evaluation``; an empty name leaves a part out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from adapters.codec import load_codec, prepared, reconstruct
from adapters.transcription import transcribe
from score_to_audio import checkpoints
from score_to_audio.adjustments import cut_notes
from score_to_audio.comparison.evaluation.transcription import scores
from score_to_audio.formats.audio import read_audio
from score_to_audio.formats.midi import read_performance
from score_to_audio.registry import build, resolve
from score_to_audio.types import Performance, Waveform
from synthesizers.codecs.encodec import Codec
from synthesizers.codecs.training.losses import spectral_loss

ROW = "{:6} {:16} {:>6} {:>9} {:>8} {:>9} {:>9} {:>7}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--codec", default="mini-codec")
    parser.add_argument("--midi-valle", default="mini-midi-valle")
    parser.add_argument("--m2a", default="mini-m2a")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each recording, from its start")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    codec = load_codec(checkpoints.find(given.codec))
    print(ROW.format("", "", "notes", "precision", "recall", "onset F1", "distance", "CPU s"), flush=True)
    means: dict[str, list[float]] = {}
    for path in sorted(given.folder.glob("*.wav")):
        recording = read_audio(path, seconds=given.seconds)
        performance = cut_notes(read_performance(path.with_suffix(".mid")), 0.0, given.seconds)
        for name, sound, seconds in sounds(recording, performance, codec, given):
            found = scores(performance, transcribe(sound))
            measured = distance(codec, sound, recording)
            figures = found.onset_precision, found.onset_recall, found.onset_f1, measured
            printed = (f"{one:.3f}" for one in figures)
            print(ROW.format(path.stem, name, found.notes, *printed, f"{seconds:.1f}"), flush=True)
            means.setdefault(name, []).append(found.onset_f1)
    for name, values in means.items():
        print(f"{name}: mean onset F1 {np.mean(values):.3f}")


def sounds(
    recording: Waveform, performance: Performance, codec: Codec, given: argparse.Namespace
) -> Iterator[tuple[str, Waveform, float]]:
    """Names, sounds, and the seconds of processor time that each took."""
    yield "recording", recording, 0.0
    start = time.process_time()
    yield "reconstruction", reconstruct(codec, recording), time.process_time() - start
    options = {
        "midi-valle": {"checkpoint": given.midi_valle, "codec": given.codec},
        "m2a": {"checkpoint": given.m2a},
    }
    for name, chosen in options.items():
        if chosen["checkpoint"]:
            start = time.process_time()
            sound = build(resolve("synthesizer", name, chosen)).synthesize(performance, prompt=None, seed=0)
            yield name, sound, time.process_time() - start


def distance(codec: Codec, sound: Waveform, recording: Waveform) -> float:
    ours, theirs = (torch.from_numpy(prepared(codec, one))[None, None] for one in (sound, recording))
    length = min(ours.shape[-1], theirs.shape[-1])
    return float(spectral_loss(ours[..., :length], theirs[..., :length], codec.config.sample_rate))


if __name__ == "__main__":
    main()
