"""Makes synthesizers/sampled_piano/samples from the recordings of Salamander Grand Piano V3.

    python tools/make_piano_samples.py [--packages FOLDER]

Fetches five npm packages (needs npm), or takes them unpacked from FOLDER/<package name without scope>.
Of the 16 recorded strengths four are used. Each recording is cut to start at the hammer's blow, in phase with
the others of its key, and faded out by 10 s; ``index.json`` has the measurements that the synthesizer needs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from score_to_audio.formats.audio import fix_ogg_serial
from score_to_audio.levels import k_weighted

SCOPE = "@audio-samples"
STRENGTHS = (1, 4, 10, 16)
"""Of 16 recorded: from the softest to the strongest, 6 to 8 dB apart."""
REFERENCE = 10
"""The strength with which the others are aligned: free of noise, and not as bright as 16."""
RATE = 48000
"""Hz; that of the source files."""
KEYS = range(21, 109, 3)
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

ATTACK = 0.25
"""Seconds from the start of a source file within which the first peak lies."""
BLOW = 10 ** (-20 / 20)
"""Of the attack's peak: where the hammer's blow stands out from the key's noise."""
CUT, ONSET = 10 ** (-26 / 20), 10 ** (-28 / 20)
"""Of the attack's peak: level at which the sound starts, for cutting off the key's noise and for checking the
written files (the codec shifts the level a little)."""
ONSET_LIMIT = 0.0009
"""Seconds from the start of a written sample within which its sound starts: 0.95 ms a semitone lower."""
FADE_INS = (0.002, 0.0014, 0.001, 0.0007, 0.0004)
"""Seconds; a sample gets the longest of these with which it still starts in time."""
LEAD = 0.0007
"""Seconds from a sample's start within which it sounds, after the shortest fade-in."""
CODEC_LEAD = 2048
"""Samples of silence before each sample, to be skipped: Vorbis extrapolates the time before a file's first
samples, which would blur the attack."""
COHERENCE = 0.3
"""Seconds of sound that the alignment compares."""
MAX_SECONDS = 10.0
"""Of a note."""
SILENT = -70.0
"""dB below the peak: a recording ends where it stays below."""
FADE_OUT = 0.4
"""Part of a sample's length over which it fades."""
LOUDNESS_WINDOW = 0.4
"""Seconds over which a sample's level is measured."""
STORED_PEAK = 0.7
NOTE_QUALITY, NOISE_QUALITY = 0.6, 0.8
"""libsndfile's compression level for Vorbis: 0 best, 1 smallest."""
NOISE_SECONDS, NOISE_FADE_IN = 0.3, 0.005
NOISE_ONSET = 0.1
"""Of the peak; the recordings begin with up to 0.16 s of near silence."""

ATTRIBUTION = """\
The recordings in this folder are from Salamander Grand Piano V3 by Alexander Holm (a Yamaha C5),
https://archive.org/details/SalamanderGrandPianoV3, licensed under Creative Commons Attribution 3.0 Unported
(CC BY 3.0), https://creativecommons.org/licenses/by/3.0/.

Taken from the npm packages {packages} (version {version}), packaged as Ogg
Vorbis by Jan Forst (https://github.com/darosh/samples-piano; the packaging is under the MIT licence).

Changes made here by tools/make_piano_samples.py: 4 of the 16 recorded strengths kept; the silence and key
noise before the hammer's blow removed and the strengths of a key aligned with each other; shortened to at
most {longest:g} s with a fade-out; peaks set to a common level; encoded again as Ogg Vorbis.
"""

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Cut:
    """Where a sample starts in its source recording."""

    strength: int
    source: Samples
    start: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, help="folder with the unpacked packages")
    target = Path(__file__).parents[1] / "synthesizers" / "sampled_piano" / "samples"
    packages = [f"piano-velocity{strength}" for strength in STRENGTHS] + ["piano-release"]
    given = parser.parse_args().packages
    with tempfile.TemporaryDirectory() as folder:
        root = given or fetch(packages, Path(folder))
        version = json.loads((root / packages[0] / "package.json").read_text())["version"]
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        make_notes_and_noises(root, target)
    names = ", ".join(f"{SCOPE}/{name}" for name in packages)
    (target / "ATTRIBUTION.txt").write_text(
        ATTRIBUTION.format(packages=names, version=version, longest=MAX_SECONDS)
    )
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{len(list(target.iterdir()))} files, {size / 1e6:.2f} MB")


def fetch(packages: list[str], folder: Path) -> Path:
    for name in packages:
        command = ["npm", "pack", "--silent", f"{SCOPE}/{name}"]
        packed = subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()
        with tarfile.open(folder / packed.splitlines()[-1]) as archive:
            archive.extractall(folder / f"{name}.unpacked", filter="data")
        (folder / f"{name}.unpacked" / "package").rename(folder / name)
    return folder


def make_notes_and_noises(root: Path, target: Path) -> None:
    notes = [entry for key in KEYS for entry in make_key(root, target, key)]
    noises = [make_noise(root, target, key) for key in range(21, 109)]
    recorded = np.array([entry.pop("recorded_level") for entry in notes]).reshape(len(KEYS), len(STRENGTHS))
    index = {
        "sample_rate": RATE,
        "codec_lead": CODEC_LEAD,
        "strength_levels": strength_levels(recorded),
        "key_levels": key_levels(recorded),
        "notes": notes,
        "release_noises": noises,
    }
    (target / "index.json").write_text(json.dumps(index, indent=1) + "\n")


def strength_levels(recorded: NDArray[np.float64]) -> list[float]:
    """[strengths] dB relative to the strongest: median over the keys of recorded [keys, strengths]."""
    return [round(float(v), 2) for v in np.median(recorded - recorded[:, -1:], axis=0)]


def key_levels(recorded: NDArray[np.float64]) -> list[float]:
    """[88] dB at the strongest blow: the instrument's balance from bass to treble, without the unevenness of
    single keys (a cubic through the mean over the strengths)."""
    at_strongest = recorded - np.array(strength_levels(recorded))
    balance = np.polynomial.Polynomial.fit(np.array(KEYS), at_strongest.mean(axis=1), 3)
    return [round(float(v), 2) for v in balance(np.arange(21, 109))]


# ------------------------------------------------------------------------------------------- the notes


def make_key(root: Path, target: Path, key: int) -> list[dict[str, object]]:
    """Write the four samples of a key; returns their entries in the index."""
    entries: list[dict[str, object]] = []
    written = []
    for cut in aligned(sources(root, key), key):
        name = f"note-{key:03d}-{cut.strength:02d}.ogg"
        kept = trimmed(cut)
        scale = STORED_PEAK / np.abs(kept).max()
        samples = write_and_read(kept * scale, target / name, NOTE_QUALITY)
        check_onset(samples, name)
        written.append(samples)
        entries.append(
            {
                "key": key,
                "strength": cut.strength,
                "file": name,
                "seconds": len(samples) / RATE,
                "level": round(level(samples), 3),
                "recorded_level": level(kept),
            }
        )
    for entry, samples, louder in zip(entries, written, written[1:], strict=False):
        entry["coherence_with_next"] = round(coherence(samples, louder), 4)
    print(key, [entry.get("coherence_with_next") for entry in entries[:-1]], flush=True)
    return entries


def sources(root: Path, key: int) -> dict[int, Samples]:
    name = f"{NAMES[key % 12]}{key // 12 - 1}"
    paths = {v: root / f"piano-velocity{v}" / "audio" / f"{name}v{v}.ogg" for v in STRENGTHS}
    return {strength: read(path) for strength, path in paths.items()}


def read(path: Path) -> Samples:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != RATE:
        raise SystemExit(f"{path}: {rate} Hz, expected {RATE} Hz")
    return np.asarray(samples)


def aligned(recordings: dict[int, Samples], key: int) -> list[Cut]:
    """The recordings cut so that their waves run in phase and the latest of them starts at ``LEAD``."""
    blows = {v: crossing(samples, BLOW) for v, samples in recordings.items()}
    period = RATE / (440 * 2 ** ((key - 69) / 12))
    reach = int(min(0.75 * period, min(blows.values())))
    reference = recordings[REFERENCE][blows[REFERENCE] :]
    origin = {v: best_shift(samples, blows[v], reach, reference) for v, samples in recordings.items()}
    begin = common_onset([(samples, origin[v]) for v, samples in recordings.items()])
    return [Cut(v, samples, origin[v] + begin) for v, samples in recordings.items()]


def common_onset(recordings: list[tuple[Samples, int]]) -> int:
    """The first shift from their origins with which every recording starts in time."""
    earliest, lead = int(FADE_INS[-1] * RATE), int(LEAD * RATE)
    latest = max(crossing(samples, CUT) - origin for samples, origin in recordings)
    sounding = [(loud(samples, CUT), origin) for samples, origin in recordings]
    shifts = range(max(latest - lead, -min(origin for _, origin in recordings)), int(ATTACK * RATE))
    return next(
        s for s in shifts if all(loud_at[o + s + earliest : o + s + lead].any() for loud_at, o in sounding)
    )


def crossing(samples: Samples, part: float) -> int:
    return int(np.argmax(loud(samples, part)))


def loud(samples: Samples, part: float) -> NDArray[np.bool_]:
    """[samples of the attack] above ``part`` of the attack's peak."""
    envelope = np.abs(samples[: int(ATTACK * RATE)]).max(axis=1)
    return np.asarray(envelope > part * envelope.max())


def best_shift(samples: Samples, around: int, reach: int, reference: Samples) -> int:
    length = int(COHERENCE * RATE)
    starts = range(around - reach, around + reach + 1)
    return max(starts, key=lambda start: correlation(samples[start : start + length], reference[:length]))


def correlation(a: Samples, b: Samples) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def trimmed(cut: Cut) -> Samples:
    samples = cut.source[cut.start : cut.start + int(MAX_SECONDS * RATE)].copy()
    samples = samples[: audible_length(samples)]
    samples -= samples.mean(axis=0)
    fade_out = int(FADE_OUT * len(samples))
    samples[-fade_out:] *= raised_cosine(fade_out)[::-1, None]
    faded = (faded_in(samples, seconds) for seconds in FADE_INS)
    return next(one for one in faded if crossing(one, CUT) < LEAD * RATE)


def faded_in(samples: Samples, seconds: float) -> Samples:
    length = int(seconds * RATE)
    result = samples.copy()
    result[:length] *= raised_cosine(length)[:, None]
    return result


def audible_length(samples: Samples) -> int:
    block = RATE // 20
    blocks = samples[: len(samples) // block * block].reshape(-1, block, 2)
    power = (blocks.astype(np.float64) ** 2).mean(axis=(1, 2))
    audible = np.flatnonzero(10 * np.log10(power + 1e-20) > 20 * np.log10(np.abs(samples).max()) + SILENT)
    return int((audible[-1] + 1) * block)


def raised_cosine(length: int) -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)


def check_onset(samples: Samples, name: str) -> None:
    late = crossing(samples, ONSET) / RATE
    if late > ONSET_LIMIT:
        raise SystemExit(f"{name}: starts {late * 1000:.1f} ms late")


def level(samples: Samples) -> float:
    """K-weighted level of the first 0.4 s in dB, over both channels."""
    return float(10 * np.log10(energy(samples, samples)))


def coherence(a: Samples, b: Samples) -> float:
    """Correlation of two samples over the window of ``level``, K-weighted."""
    return energy(a, b) / np.sqrt(energy(a, a) * energy(b, b))


def energy(a: Samples, b: Samples) -> float:
    length = int(LOUDNESS_WINDOW * RATE)
    product = k_weighted(a[:length].T) * k_weighted(b[:length].T)
    return float(product.sum() / length)


# ----------------------------------------------------------------------------------- release noises


def make_noise(root: Path, target: Path, key: int) -> dict[str, object]:
    """Write the noise of a key's release; ``gain`` restores its recorded level."""
    samples = read(root / "piano-release" / "audio" / f"rel{key - 20}.ogg")
    edge = int(NOISE_FADE_IN * RATE)
    audible = np.abs(samples).max(axis=1) > NOISE_ONSET * np.abs(samples).max()
    start = max(0, int(np.argmax(audible)) - edge)
    samples = samples[start : start + int(NOISE_SECONDS * RATE)] - samples.mean(axis=0)
    samples[:edge] *= raised_cosine(edge)[:, None]
    fade_out = int(FADE_OUT * len(samples))
    samples[-fade_out:] *= raised_cosine(fade_out)[::-1, None]
    gain = float(np.abs(samples).max()) / STORED_PEAK
    name = f"release-{key:03d}.ogg"
    written = write_and_read((samples / gain).astype(np.float32), target / name, NOISE_QUALITY)
    return {"key": key, "file": name, "gain": round(gain, 4), "seconds": len(written) / RATE}


DECLICK = raised_cosine(int(FADE_INS[-1] * RATE))
"""The adapter's fade-in after the codec's lead, which removes the start of the codec's noise."""


def write_and_read(samples: Samples, path: Path, compression: float) -> Samples:
    with soundfile.SoundFile(
        path, "w", RATE, 2, format="OGG", subtype="VORBIS", compression_level=compression
    ) as file:
        file.write(np.zeros((CODEC_LEAD, 2), np.float32))
        for start in range(0, len(samples), RATE):
            file.write(samples[start : start + RATE])
    fix_ogg_serial(path)
    written = read(path)[CODEC_LEAD:]
    written[: len(DECLICK)] *= DECLICK[:, None]
    if len(written) != len(samples):
        raise SystemExit(f"{path}: {len(written)} samples came back of {len(samples)}")
    return written


if __name__ == "__main__":
    main()
