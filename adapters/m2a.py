"""The synthesizer ``m2a``: performance -> piano roll -> acoustic model -> vocoder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, Parameters, Prompt, Spec
from score_to_audio.progress import cached_part, report
from score_to_audio.types import SUSTAIN, AudioStream, Performance, Waveform
from score_to_audio.wording import reason

if TYPE_CHECKING:
    from torch import Tensor

    from synthesizers.m2a.decoding import Redraw
    from synthesizers.m2a.network import AcousticConfig, AcousticModel
    from synthesizers.m2a.piano_roll import Losses, PedalledNotes
    from synthesizers.vocoders.hifigan import HifiGan, HifiGanConfig

    Samples = NDArray[np.float32]
    ReportShare = Callable[[float], None]
    """Takes the share of a part of the work that is done, 0..1."""

Value = TypeVar("Value")

SAMPLE_RATE = 24_000
"""Hz."""
BATCH_SIZE = 16
"""Segments decoded together: bounds the memory of a long piece; larger batches are not faster."""
BLOCK_FRAMES = 1600
"""Frames per call of the vocoder, 19 s; the 16 frames of context on either side cost 2 %."""
TAIL = 1.5
"""Seconds of sound after the last release; the published piano roll ends with it and cuts the sound off."""
FADE_OUT = 0.05
"""Seconds over which the recorded room goes silent at the end."""
MAX_SECONDS = 4 * 3600.0
"""Of a performance; a roll of that length takes 0.3 GB and its spectrum 0.6 GB."""
DECODING_SHARE = 0.1
"""Share of the time that the spectra take; the vocoder takes the rest."""
EARLY_STOP = 4
"""Cells (0.2 s) before a segment's end: a stop rule that fires earlier is reported."""
CONFIG_FILE, MAX_CONFIG_SIZE = "config.yaml", 2**20

log = logging.getLogger(__name__)


class M2AParameters(Parameters):
    """Options of the synthesizer ``m2a``."""

    checkpoint: CheckpointName = Field("m2a", description="Weights: a name of the table, or a file.")
    performer: int = Field(
        0, ge=0, description="Number of the performer to sound like, 0: unknown (needs `m2a-baseline`)."
    )
    environment: int = Field(
        0, ge=0, description="Number of the recording environment, 0: unknown (needs `m2a-baseline`)."
    )
    dropout: Literal["frame", "step"] = Field(
        "frame",
        description="The prenet's dropout: one mask per frame, as in training, or new masks for all frames "
        "at every step, as published (slower).",
    )
    compatibility: Literal["none", "official"] = Field(
        "none",
        description="official: the piano roll, stop rule, dropout and joins of the published scripts, with "
        "what they lose.",
    )


class M2A:
    """A Transformer from piano rolls to spectra and a HiFi-GAN, trained together; 24 kHz, mono."""

    spec: ClassVar[Spec] = Spec(
        name="m2a",
        version="2",
        summary="M2A: Transformer-TTS and HiFi-GAN on piano rolls; the concert recordings of ATEPP.",
        parameters=M2AParameters,
        paper="Tang et al., Towards an Integrated Approach for Expressive Piano Performance Synthesis from "
        "Music Scores, ICASSP 2025, arXiv 2501.10222; Shi et al., ICASSP 2023",
        code_licence="Apache-2.0 (re-implemented from the papers)",
        weights_licence="CC BY 4.0",
        limits="sees keys on a grid of 48 ms, no onsets: fast repeated notes merge; 24 kHz, mono",
        uses_seed=True,
        runs_on_gpu=True,
    )

    def __init__(
        self, parameters: M2AParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        checkpoint = checkpoints["checkpoint"]
        model, generator = read_model(checkpoint.files)
        _check_table("performer", parameters.performer, model.config.performers, checkpoint)
        _check_table("environment", parameters.environment, model.config.environments, checkpoint)
        self._parameters = parameters
        self._official = parameters.compatibility == "official"
        self._redraw: Redraw = "step" if self._official else parameters.dropout
        self._device = device
        self._model = model.to(device)
        self._hop = generator.config.hop
        self._context = generator.config.context()
        self._vocoder = vocoder(generator, device)

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        from score_to_audio.formats.audio import collect

        return collect(self.stream(performance, prompt=prompt, seed=seed))

    def stream(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> AudioStream:
        """The same samples as ``synthesize``, in blocks. Raises ``InputError`` for hours of playing."""
        from score_to_audio.formats.audio import stream_of
        from synthesizers.limiter import limit_peaks

        if performance.end > MAX_SECONDS:
            raise InputError(
                f"a performance of {performance.end / 3600:.1f} hours; m2a takes up to "
                f"{MAX_SECONDS / 3600:.0f}, cut it into pieces"
            )
        if not len(performance):
            silence = np.zeros((1, int(SAMPLE_RATE * (performance.end + TAIL))), np.float32)
            return stream_of(Waveform(silence, SAMPLE_RATE))
        if self._official:
            return stream_of(Waveform(self._official_sound(performance, seed)[None], SAMPLE_RATE))
        return limit_peaks(AudioStream(SAMPLE_RATE, 1, self._blocks(performance, seed)))

    # ---------------------------------------------------------------------------------------- default

    def _blocks(self, performance: Performance, seed: int) -> Iterator[Samples]:
        """[1, samples] each: cells -> overlapping segments -> one spectrum -> one sound."""
        from synthesizers.m2a.joining import joined_spectra, overlapping_segments
        from synthesizers.m2a.piano_roll import encoder_input, losses, piano_roll

        notes = notes_of(performance)
        cells = piano_roll(notes, performance.end + TAIL)
        _warn_of_losses(losses(cells, notes))
        segments = overlapping_segments(len(cells))
        inputs = [encoder_input(cells[segment.start : segment.stop]) for segment in segments]
        seconds = len(cells) * 4 * self._hop / SAMPLE_RATE
        decoded = self._decoded(inputs, seed, _share_reporter(0, DECODING_SHARE, seconds))
        _warn_of_stops([int(one["first_stop"]) for one in decoded], [len(rows) for rows in inputs])
        spectrum = joined_spectra([one["frames"] for one in decoded], segments)
        yield from self._sound(spectrum, _share_reporter(DECODING_SHARE, 1, seconds))

    def _sound(self, spectrum: Samples, report_share: ReportShare) -> Iterator[Samples]:
        """Spectrum [F, bins] -> [1, F * hop] in blocks, faded out."""
        for start in range(0, len(spectrum), BLOCK_FRAMES):
            end = min(start + BLOCK_FRAMES, len(spectrum))
            first = max(0, start - self._context)
            window = spectrum[first : end + self._context]
            samples = cached_part(f"sound-{start}", partial(self._vocoded, window))["samples"]
            block = samples[(start - first) * self._hop : (end - first) * self._hop]
            report_share(end / len(spectrum))
            yield (_faded_out(block) if end == len(spectrum) else block)[None]

    # --------------------------------------------------------------------------------------- official

    def _official_sound(self, performance: Performance, seed: int) -> Samples:
        """[samples]: segment by segment through 16-bit files, as the published scripts work."""
        from synthesizers.m2a import official
        from synthesizers.m2a.piano_roll import FRAMES_PER_CELL, losses

        notes = notes_of(performance)
        roll = official.piano_roll(notes, performance.end)
        _warn_of_losses(losses(roll[::FRAMES_PER_CELL], notes))
        inputs = official.encoder_inputs(roll)
        if not inputs:
            return np.zeros(0, np.float32)
        seconds = len(roll) * self._hop / SAMPLE_RATE
        decoded = self._decoded(inputs, seed, _share_reporter(0, DECODING_SHARE, seconds))
        waves, report_share = [], _share_reporter(DECODING_SHARE, 1, seconds)
        for index, one in enumerate(decoded):
            wave = cached_part(f"sound-{index}", partial(self._vocoded, one["frames"]))
            waves.append(official.as_pcm(wave["samples"]))
            report_share((index + 1) / len(decoded))
        try:
            return official.as_pcm(official.joined(waves))
        except ValueError as error:
            log.warning("m2a: %s, where the published script fails; segments are put end to end", error)
            return np.concatenate(waves)

    # ------------------------------------------------------------------------------------ the networks

    def _decoded(
        self, inputs: Sequence[Samples], seed: int, report_share: ReportShare
    ) -> list[dict[str, NDArray[Any]]]:
        """Per encoder input [rows, bins] its ``frames`` [S r, bins] and ``first_stop`` (a step, 0: never)."""
        decoded: list[dict[str, NDArray[Any]]] = []
        for first in range(0, len(inputs), BATCH_SIZE):
            batch = range(first, min(first + BATCH_SIZE, len(inputs)))
            part = cached_part(f"spectra-{first}", partial(self._decoded_batch, inputs, batch, seed))
            decoded += [{name: part[f"{name}-{i}"] for name in ("frames", "first_stop")} for i in batch]
            report_share(batch.stop / len(inputs))
        return decoded

    def _decoded_batch(self, inputs: Sequence[Samples], batch: range, seed: int) -> dict[str, NDArray[Any]]:
        import torch

        from score_to_audio.seeding import generator
        from synthesizers.m2a import decoding, official

        model, r = self._model, self._model.config.reduction_factor
        lengths = [len(inputs[index]) for index in batch]
        limits = [
            official.step_limits(length, r) if self._official else decoding.StepLimits(length, length)
            for length in lengths
        ]
        masks = decoding.drawn_masks(
            model.config,
            [generator(seed, index) for index in batch],
            [limit.maximum for limit in limits],
            self._redraw,
        )
        with torch.inference_mode():
            memories = [self._memory(inputs[index]) for index in batch]
            decoded = decoding.decode(model, memories, masks, limits, redraw=self._redraw)
        part: dict[str, NDArray[Any]] = {}
        for index, one in zip(batch, decoded, strict=True):
            part[f"frames-{index}"] = one.frames.cpu().numpy()
            part[f"first_stop-{index}"] = np.array(one.first_stop(r) or 0)
        return part

    def _memory(self, rows: Samples) -> Tensor:
        import torch

        roll = torch.from_numpy(rows).to(self._device)[None]
        return self._model.memory(roll, self._parameters.performer, self._parameters.environment)[0]

    def _vocoded(self, spectrum: Samples) -> dict[str, Samples]:
        import torch

        with torch.inference_mode():
            samples = self._vocoder(torch.from_numpy(spectrum).to(self._device))
        return {"samples": samples.cpu().numpy()}


def _share_reporter(start: float, end: float, seconds: float) -> ReportShare:
    """Reports a part of the work, from share ``start`` to ``end`` of the whole, as seconds of sound."""
    return lambda done: report((start + (end - start) * done) * seconds, seconds, "seconds of sound")


def _faded_out(samples: Samples) -> Samples:
    count = min(len(samples), int(FADE_OUT * SAMPLE_RATE))
    fade = np.linspace(1, 0, count, dtype=np.float32)
    return np.concatenate([samples[: len(samples) - count], samples[len(samples) - count :] * fade])


def notes_of(performance: Performance) -> PedalledNotes:
    from synthesizers.m2a.piano_roll import PedalledNotes

    controls = performance.controls
    sustain = controls.number == SUSTAIN
    return PedalledNotes(
        performance.onset,
        performance.offset,
        performance.pitch,
        performance.velocity,
        pedal_time=controls.time[sustain],
        pedal_value=controls.value[sustain],
    )


def _warn_of_losses(lost: Losses) -> None:
    if lost.vanished or lost.merged:
        log.warning(
            "m2a: of %d notes %d vanish between the piano roll's cells of 48 ms and %d merge with the sound "
            "before them",
            lost.notes,
            lost.vanished,
            lost.merged,
        )


def _warn_of_stops(stops: Sequence[int], ends: Sequence[int]) -> None:
    """``stops``: steps at which the stop rule fired first, 0: never; the piano roll alone ends segments."""
    never = sum(stop == 0 for stop in stops)
    early = sum(0 < stop < end - EARLY_STOP for stop, end in zip(stops, ends, strict=True))
    if never or early:
        log.warning(
            "m2a: in %d of %d segments the stop rule never fired, in %d it fired early; all were played to "
            "the end of their piano roll",
            never,
            len(stops),
            early,
        )


def vocoder(generator: HifiGan, device: str) -> Callable[[Tensor], Tensor]:
    """Spectrum [T, bins] -> samples [T * hop], the fastest way on the device."""
    if device == "cpu":
        from synthesizers.vocoders.hifigan_cpu import CpuHifiGan

        return CpuHifiGan(generator)
    on_device = generator.to(device)
    return lambda spectrum: on_device(spectrum.t()[None])[0]


def _check_table(option: str, value: int, rows: int, checkpoint: Checkpoint) -> None:
    if value and value >= rows:
        known = f"0 to {rows - 1} (got {value})" if rows else f"no {option}s"
        hint = "" if rows else "; leave it 0, or use synthesizer.checkpoint=m2a-baseline"
        raise InputError(f"synthesizer.{option}: checkpoint {checkpoint.name!r} knows {known}{hint}")


# ---------------------------------------------------------------------------------------- checkpoint


def read_model(files: Mapping[str, Path]) -> tuple[AcousticModel, HifiGan]:
    """The networks of an ESPnet checkpoint, ready for inference on the CPU.

    ``files``: "weights"; optional "config" (default: ``config.yaml`` beside the weights, else the released
    configuration) and "statistics". Raises ``InputError``.
    """
    from score_to_audio.weights import load_checkpoint, load_strictly
    from synthesizers.m2a import espnet
    from synthesizers.m2a.network import AcousticModel
    from synthesizers.vocoders.hifigan import HifiGan, folded_weight_norm

    weights = files["weights"]
    content = load_checkpoint(weights)
    settings = read_config(files.get("config", weights.with_name(CONFIG_FILE)))
    try:
        acoustic, vocoder_tensors = espnet.generator_tensors(content if isinstance(content, Mapping) else {})
        model = AcousticModel(espnet.acoustic_config(acoustic, settings.get("text2mel_params") or {}))
        generator = HifiGan(espnet.vocoder_config(vocoder_tensors, settings.get("vocoder_params") or {}))
    except ValueError as error:
        raise InputError(f"{weights}: not a checkpoint of M2A (it {error})") from error
    _check_fit(model.config, generator.config, weights)
    load_strictly(model, acoustic, source=f"{weights} (acoustic model)")
    load_strictly(generator, folded_weight_norm(vocoder_tensors), source=f"{weights} (vocoder)")
    if "statistics" in files:
        _check_statistics(files["statistics"], content)
    return model.eval().requires_grad_(False), generator.eval().requires_grad_(False)


def _check_fit(acoustic: AcousticConfig, vocoder: HifiGanConfig, weights: Path) -> None:
    from synthesizers.m2a import piano_roll, spectrum

    found = (acoustic.roll_bins, acoustic.feature_bins, acoustic.reduction_factor, vocoder.hop)
    known = (piano_roll.KEYS, vocoder.in_channels, piano_roll.FRAMES_PER_CELL, spectrum.HOP)
    if found != known:
        raise InputError(
            f"{weights}: has keys, bands, frames per step and samples per frame {found}; m2a needs {known}"
        )


def read_config(path: Path) -> Mapping[str, Any]:
    """``tts_conf`` of ESPnet's ``config.yaml``; empty where there is no such file. Raises ``InputError``."""
    import yaml  # type: ignore[import-untyped]

    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_CONFIG_SIZE:
        raise InputError(
            f"{path}: larger than {MAX_CONFIG_SIZE >> 20} MB; is it the checkpoint's {CONFIG_FILE}?"
        )
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except Exception as error:  # PyYAML's own errors, and others for impossible dates and numbers
        raise InputError(f"{path}: not a readable YAML file ({reason(error)}); get it again") from error
    settings = content.get("tts_conf") if isinstance(content, Mapping) else None
    if not isinstance(settings, Mapping):
        raise InputError(f"{path}: has no tts_conf; give the {CONFIG_FILE} that came with the checkpoint")
    return settings


def read_statistics(path: Path) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [bins] of ESPnet's ``feats_stats.npz``. Raises ``InputError``."""
    from synthesizers.m2a import espnet

    return _from_arrays(path, espnet.statistics)


def statistics_frames(path: Path) -> int:
    """How many frames ``feats_stats.npz`` was made of. Raises ``InputError``."""
    return _from_arrays(path, lambda arrays: int(arrays["count"]))


def _from_arrays(path: Path, read: Callable[[Any], Value]) -> Value:
    try:
        with ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_CONFIG_SIZE:
                raise ValueError(f"it unpacks to more than {MAX_CONFIG_SIZE >> 20} MB")
        with np.load(path, allow_pickle=False) as arrays:
            return read(arrays)
    except Exception as error:  # damaged archives and headers raise errors of many kinds
        raise InputError(f"{path}: not a readable feats_stats.npz ({reason(error)}); get it again") from error


def _check_statistics(path: Path, content: Mapping[str, Any]) -> None:
    """The weights contain the same numbers; others belong to another training."""
    import torch

    for name, ours in zip(("normalize.mean", "normalize.std"), read_statistics(path), strict=True):
        theirs = content.get(name)
        if isinstance(theirs, torch.Tensor) and not _same(theirs, ours):
            raise InputError(f"{path}: does not belong to these weights ({name} differs); get both again")


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one - other).abs() <= 1e-4 + 1e-3 * other.abs()).all())
