"""The renderer ``dexter``: score and options -> codec windows -> denoiser and sampler -> performance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, InputFile, Parameters, Spec
from score_to_audio.progress import report
from score_to_audio.types import HIGHEST_PITCH, LOWEST_PITCH, SUSTAIN, Controls, Performance, Score

if TYPE_CHECKING:
    from torch import Tensor

    from renderers.dexter.network import DenoiserConfig
    from renderers.dexter.performance_codec import DecodedNotes
    from renderers.dexter.sampler import Schedule
    from renderers.dexter.score_codec import ScoreColumns

WINDOWS_AT_ONCE = 8
"""Bounds the memory of a long piece; beyond it a batch gains no speed."""
SHORTEST_NOTE = 0.03
"""Seconds; grace notes have no notated length, and a model may predict none."""
BEAT_PERIODS = (0.08, 8.0)
"""Seconds per beat: 750 to 7.5 beats per minute. Beyond these a prediction is not a tempo."""
TIMINGS = (-4.0, 4.0)
"""Seconds before and after the beat; six standard deviations of the data."""
ARTICULATIONS = (-8.0, 8.0)
"""Powers of two of the notated length; six standard deviations of the data."""
PEDAL_STEP = 4
"""Smallest change of controller 64 that is written: a value per note would say the same many times over."""


class DexterParameters(Parameters):
    """Options of the renderer ``dexter``."""

    checkpoint: CheckpointName = Field("dexter", description="Weights: a name of the table, or a file.")
    sampler: Literal["dpm-solver++", "ddim", "ddpm"] = Field(
        "dpm-solver++", description="ddpm is the published one and always takes its 999 steps."
    )
    steps: int = Field(30, ge=2, le=999, description="Steps of dpm-solver++ and ddim.")
    guidance: float = Field(1.2, ge=0, le=10, description="1: no guidance; more: closer to the score.")
    base_tempo: float | None = Field(
        None, gt=0, le=400, description="Mean tempo in notated beats per minute; none: as the model says."
    )
    joining: Literal["crossfade", "average"] = Field(
        "crossfade", description="How the overlap of two windows is joined; average is the published way."
    )
    source: Annotated[Path | None, InputFile()] = Field(
        None, description="Performance MIDI of the same score to start from (needs the extra `align`)."
    )
    change: float = Field(
        0.75, gt=0, le=1, description="With a source: share of the diffusion that is done anew."
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Of the network.")
    compatibility: Literal["none", "official"] = Field(
        "none",
        description="official: no repeats, 999 steps with condition dropout left on, plain averages, a pedal "
        "value per note, as the published script does.",
    )


class Dexter:
    """Diffusion over tempo, timing, articulation, velocity and pedal of every note."""

    spec: ClassVar[Spec] = Spec(
        name="dexter",
        version="1",
        summary="DExter: diffusion over tempo, timing, articulation, dynamics and pedal of every note.",
        parameters=DexterParameters,
        paper="Zhang et al., DExter: Learning and Controlling Performance Expression with Diffusion Models, "
        "Applied Sciences 14(15), 2024, arXiv 2406.14850",
        code_licence="Apache-2.0 (re-implemented from the paper; the authors' code is MIT)",
        weights_licence="none stated by the authors",
        limits="knows onset, length, pitch and voice only: no dynamics, slurs or tempo marks of the score",
        uses_seed=True,
        runs_on_gpu=True,
    )

    def __init__(
        self, parameters: DexterParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        import torch

        from renderers.dexter.network import Denoiser
        from renderers.dexter.sampler import schedule
        from score_to_audio.weights import load_strictly

        self._parameters = parameters
        checkpoint = checkpoints["checkpoint"]
        tensors, settings = read_checkpoint(checkpoint.weights)
        network = Denoiser(settings.network)
        load_strictly(network, tensors, source=str(checkpoint.weights))
        dtype = torch.bfloat16 if parameters.precision == "bfloat16" else torch.float32
        self._network = network.requires_grad_(False).to(device, dtype)
        self._device = device
        self._settings = settings
        self._schedule = schedule(settings.timesteps, settings.beta_start, settings.beta_end)

    def render(self, score: Score, *, seed: int) -> Performance:
        """Raises ``InputError`` for a score without notes or, with a source, without a usable alignment."""
        import torch

        official = self._parameters.compatibility == "official"
        columns = official_columns(score) if official else _parsed_columns(score)
        if not len(columns):
            raise InputError(f"{score.path}: has no notes to play")
        with torch.inference_mode():
            codec = self._sample(columns, self._source_codec(columns, score), seed)
        codec = within_limits(codec, score)
        if official:
            return _official_performance(codec, columns)
        return performance(self._with_tempo(codec, columns), columns)

    # ------------------------------------------------------------------------------------- sampling

    def _sample(self, columns: ScoreColumns, source: Tensor | None, seed: int) -> NDArray[np.float32]:
        """[N, 5] performance codec in its own units."""
        import torch

        from renderers.dexter.sampler import denormalise
        from renderers.dexter.windows import cut, join, normalised_condition

        settings = self._settings
        condition = normalised_condition(cut(columns.codec, settings.window, settings.overlap))
        parts = [
            self._sample_windows(
                condition[first : first + WINDOWS_AT_ONCE],
                None if source is None else source[first : first + WINDOWS_AT_ONCE],
                seed,
                first,
                len(condition),
            )
            for first in range(0, len(condition), WINDOWS_AT_ONCE)
        ]
        codec = denormalise(torch.cat(parts), torch.tensor(settings.means), torch.tensor(settings.stds))
        official = self._parameters.compatibility == "official"
        how = "average" if official else self._parameters.joining
        return join(codec, len(columns), settings.overlap, how)

    def _sample_windows(
        self, condition: Tensor, source: Tensor | None, seed: int, first: int, total: int
    ) -> Tensor:
        """Some windows [W, T, 4] -> [W, T, 5], normalised."""
        import torch

        from renderers.dexter import sampler

        s = self._schedule
        steps, start = self._plan(s, source is not None)
        shape = (condition.shape[1], self._settings.network.performance_columns)
        stochastic = self._sampler_name == "ddpm"
        draws = 1 + len(steps) if stochastic else 1
        noise = torch.stack(
            [sampler.window_noise(seed, first + index, shape, draws) for index in range(len(condition))],
            dim=1,
        )
        x = noise[0] if source is None else sampler.noised(source, start, s, noise[0])
        predict = self._guidance(condition.to(self._device), steps, seed, first)
        walk: Iterator[Tensor]
        if stochastic:
            index = {step: position for position, step in enumerate(steps)}
            walk = sampler.ddpm(x, predict, s, lambda step: noise[1 + index[step]], steps)
        else:
            solver = sampler.ddim if self._sampler_name == "ddim" else sampler.dpm_solver
            walk = solver(x, predict, s, steps)
        for done, state in enumerate(walk, start=1):
            x = state
            report(done + first / WINDOWS_AT_ONCE * len(steps), len(steps) * total / WINDOWS_AT_ONCE, "steps")
        return x

    def _guidance(self, condition: Tensor, steps: list[int], seed: int, first: int) -> Any:
        import torch

        from renderers.dexter import sampler

        weight = self._parameters.guidance
        if self._parameters.compatibility != "official":
            predict = sampler.guided(self._network, condition, weight=weight, steps=steps)
        else:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + 500_000 + first)
            masks = iter(
                lambda: (
                    torch.rand(len(condition), generator=generator) < self._settings.condition_dropout
                ).to(condition.device),
                None,
            )
            predict = sampler.guided_with_dropout(self._network, condition, masks, weight=weight, steps=steps)
        return lambda x, step: predict(x.to(condition.device), step).cpu()

    @property
    def _sampler_name(self) -> str:
        return "ddpm" if self._parameters.compatibility == "official" else self._parameters.sampler

    def _plan(self, s: Schedule, from_source: bool) -> tuple[list[int], int]:
        """(diffusion steps to take, step at which the source is noised)."""
        from renderers.dexter import sampler

        start = len(s) - 1
        if from_source:
            start, transfer = sampler.transfer_steps(s, self._parameters.change)
        if self._sampler_name == "ddpm":
            return (transfer if from_source else sampler.ddpm_steps(s)), start
        return sampler.few_steps(s, self._parameters.steps, start=start - 1), start

    # ------------------------------------------------------------------------------------- transfer

    def _source_codec(self, columns: ScoreColumns, score: Score) -> Tensor | None:
        """The source performance as windows [W, T, 5], normalised; None without a source."""
        import torch

        from renderers.dexter.sampler import normalise
        from renderers.dexter.windows import cut

        if self._parameters.source is None:
            return None
        codec = encode_performance(self._parameters.source, columns, score)
        normalised = normalise(
            torch.from_numpy(codec), torch.tensor(self._settings.means), torch.tensor(self._settings.stds)
        )
        return cut(normalised.numpy(), self._settings.window, self._settings.overlap)

    def _with_tempo(self, codec: NDArray[np.float32], columns: ScoreColumns) -> NDArray[np.float32]:
        """The codec with its beat periods within ``BEAT_PERIODS``, scaled to the mean tempo asked for."""
        from renderers.dexter.performance_codec import BEAT_PERIOD, TIMING

        codec = codec.copy()
        codec[:, BEAT_PERIOD] = np.clip(codec[:, BEAT_PERIOD], *BEAT_PERIODS)
        if self._parameters.base_tempo is not None:
            lengths = np.diff(columns.onset_beat, append=columns.onset_beat[-1:] + columns.duration_beat[-1:])
            beats = lengths.sum() or 1.0
            seconds = float((lengths * codec[:, BEAT_PERIOD]).sum()) or float(codec[:, BEAT_PERIOD].mean())
            scale = (60 / self._parameters.base_tempo) * beats / seconds
            codec[:, [BEAT_PERIOD, TIMING]] *= scale
        return codec


# ---------------------------------------------------------------------------------------- checkpoint


class DiffusionSettings:
    """What a checkpoint says beside its tensors; the released configuration where it says nothing."""

    def __init__(self, network: DenoiserConfig, hyper_parameters: Mapping[str, Any], source: Path) -> None:
        from renderers.dexter.performance_codec import DATASET_MEANS, DATASET_STDS

        def value(name: str, default: Any) -> Any:
            found = hyper_parameters.get(name)
            return default if found is None else found

        sampler = (hyper_parameters.get("sampling") or {}).get("type", "cfdg_ddpm")
        if sampler != "cfdg_ddpm":
            raise InputError(f"{source}: was trained for the sampler {sampler!r}; only 'cfdg_ddpm' is known")
        self.network = network
        self.timesteps = int(value("timesteps", 1000))
        self.beta_start = float(value("beta_start", 1e-4))
        self.beta_end = float(value("beta_end", 0.02))
        self.window = int(value("seg_len", 200))
        self.overlap = min(10, self.window // 4)
        self.condition_dropout = float(value("cond_dropout", 0.1))
        self.means = tuple(float(one) for one in value("dataset_means", DATASET_MEANS))
        self.stds = tuple(float(one) for one in value("dataset_stds", DATASET_STDS))
        if len(self.means) != 5 or len(self.stds) != 5 or min(self.stds) <= 0:
            raise InputError(f"{source}: its dataset means and deviations are not five numbers each")


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], DiffusionSettings]:
    """Tensors and settings of a Lightning checkpoint, or of a bare state dict. Raises ``InputError``."""
    from renderers.dexter.network import config_from_tensors
    from score_to_audio.weights import config_of, load_checkpoint

    content = load_checkpoint(path, foreign=("omegaconf", "typing"))
    tensors = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    if "input_projection.weight" not in tensors:
        raise InputError(f"{path}: not a checkpoint of DExter's denoiser (it has no input_projection.weight)")
    found = content.get("hyper_parameters")
    hyper_parameters = config_of(found) if isinstance(found, Mapping) else {}
    dilations = {
        name: int(hyper_parameters[name])
        for name in ("dilation_base", "dilation_bound")
        if hyper_parameters.get(name) is not None
    }
    network = config_from_tensors(tensors, **dilations)
    return dict(tensors), DiffusionSettings(network, hyper_parameters, path)


# --------------------------------------------------------------------------------------- performance


def _parsed_columns(score: Score) -> ScoreColumns:
    from renderers.dexter.score_codec import score_columns

    return score_columns(score.parsed)


def official_columns(score: Score) -> ScoreColumns:
    """The columns that partitura gives: every measure once, ties by its rule, divisions as units."""
    from renderers.dexter.score_codec import ScoreColumns
    from score_to_audio.formats.scores.reader import load_partitura_score

    notes = load_partitura_score(score).note_array()
    notes = notes[np.lexsort((notes["pitch"], notes["onset_beat"]))]
    voice = np.where(notes["voice"] > 0, notes["voice"], notes["voice"].max(initial=0) + 1)
    return ScoreColumns(
        codec=np.stack([notes["onset_div"], notes["duration_div"], notes["pitch"], voice], axis=1).astype(
            np.float32
        ),
        onset_beat=notes["onset_beat"],
        duration_beat=notes["duration_beat"],
        ids=tuple(notes["id"].tolist()),
    )


def within_limits(codec: NDArray[np.float32], score: Score) -> NDArray[np.float32]:
    """The codec without what no clock can hold, whatever the weights. Raises ``InputError`` for NaN."""
    from renderers.dexter.performance_codec import ARTICULATION, PEDAL, TIMING, VELOCITY

    if np.isnan(codec).any():
        raise InputError(
            f"{score.path}: the network gives no numbers for it; is the checkpoint whole "
            "(`score-to-audio models check dexter`)?"
        )
    limited = codec.copy()
    limited[:, TIMING] = codec[:, TIMING].clip(*TIMINGS)
    limited[:, ARTICULATION] = codec[:, ARTICULATION].clip(*ARTICULATIONS)
    limited[:, [VELOCITY, PEDAL]] = codec[:, [VELOCITY, PEDAL]].clip(0, 1)
    return limited


def decoded(codec: NDArray[np.float32], columns: ScoreColumns) -> DecodedNotes:
    from renderers.dexter.performance_codec import decode

    onset = np.unique(columns.onset_beat, return_inverse=True)[1].astype(np.int64)
    pitch = columns.codec[:, 2].astype(np.int64)
    return decode(codec, columns.onset_beat, columns.duration_beat, onset, pitch)


def performance(codec: NDArray[np.float32], columns: ScoreColumns) -> Performance:
    """Decoded notes as a performance: playable lengths, the piano's range, the pedal once per chord."""
    notes = decoded(codec, columns)
    return _performance(notes, columns, _thinned_pedal(notes, columns))


def _official_performance(codec: NDArray[np.float32], columns: ScoreColumns) -> Performance:
    """As the published script: a pedal value per note. What cannot sound is given the shortest length."""
    notes = decoded(codec, columns)
    order = np.argsort(notes.onset, kind="stable")
    pedal = Controls(notes.onset[order], np.full(len(order), SUSTAIN), notes.pedal[order])
    return _performance(notes, columns, pedal)


def _performance(notes: DecodedNotes, columns: ScoreColumns, pedal: Controls) -> Performance:
    playable = np.flatnonzero((notes.pitch >= LOWEST_PITCH) & (notes.pitch <= HIGHEST_PITCH))
    playable = playable[np.lexsort((notes.pitch[playable], notes.onset[playable]))]
    onset = notes.onset[playable]
    return Performance(
        onset=onset,
        offset=np.maximum(notes.offset[playable], onset + SHORTEST_NOTE),
        pitch=notes.pitch[playable],
        velocity=notes.velocity[playable],
        controls=pedal,
        score_ids=tuple(columns.ids[notes.order[index]] for index in playable),
    )


def _thinned_pedal(notes: DecodedNotes, columns: ScoreColumns) -> Controls:
    """The mean pedal of each chord at its first onset, where it has changed; up after the last note."""
    chord = np.unique(columns.onset_beat[notes.order], return_inverse=True)[1]
    value = np.rint(np.bincount(chord, notes.pedal) / np.bincount(chord)).astype(np.int64)
    time = np.full(len(value), np.inf)
    np.minimum.at(time, chord, notes.onset)
    order = np.argsort(time, kind="stable")
    kept: list[int] = []
    for index in order:
        if not kept or abs(value[index] - value[kept[-1]]) >= PEDAL_STEP:
            kept.append(int(index))
    times = np.append(time[kept], notes.offset.max())
    return Controls(np.maximum.accumulate(times), np.full(len(times), SUSTAIN), np.append(value[kept], 0))


def encode_performance(source: Path, columns: ScoreColumns, score: Score) -> NDArray[np.float32]:
    """A performance MIDI file of the score as codec [N, 5]. Raises ``InputError``."""
    from adapters.alignment import align
    from renderers.dexter.encoding import encode, match, sounding_durations
    from score_to_audio.formats.midi import read_performance
    from score_to_audio.formats.scores.partitura_bridge import import_partitura

    import_partitura()
    from partitura.musicanalysis.performance_codec import encode_tempo

    played = read_performance(source)
    index = align(
        onset=columns.onset_beat,
        duration=columns.duration_beat,
        pitch=columns.codec[:, 2].astype(np.int64),
        performance=played,
    )
    if (index >= 0).mean() < 0.5:
        raise InputError(
            f"{source}: only {(index >= 0).sum()} of {len(index)} notes of {score.path} are in it; "
            "give a performance of this score"
        )
    matched = match(
        columns.onset_beat,
        columns.duration_beat,
        index,
        played.onset,
        sounding_durations(played),
        played.velocity,
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        tempo = encode_tempo(
            matched.onset, matched.performed_onset, matched.duration, matched.performed_duration
        )
    codec = encode(matched, tempo, played.controls)
    return np.where(
        np.isfinite(codec), codec, np.nanmean(np.where(np.isfinite(codec), codec, np.nan), axis=0)
    )
