"""The renderer ``dexter``: binds ``renderers.dexter`` to scores, options and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from renderers.dexter.performance_codec import PEDAL, CodecName, with_tempo, within_limits
from renderers.dexter.score_codec import ScoreColumns, score_columns
from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, CheckpointName, InputFile, Parameters, Spec
from score_to_audio.progress import report
from score_to_audio.seeding import numpy_generator
from score_to_audio.types import SUSTAIN, Controls, Performance, Score

if TYPE_CHECKING:
    from torch import Tensor

    from renderers.dexter.generation import DiffusionSettings, SamplingOptions
    from renderers.dexter.network import DenoiserConfig


class DexterParameters(Parameters):
    """Options of the renderer ``dexter``."""

    checkpoint: CheckpointName = Field("dexter", description="Weights: a name of the table, or a file.")
    sampler: Literal["dpm-solver++", "ddim", "ddpm"] = Field(
        "dpm-solver++", description="ddpm is the published one and always takes its 999 steps."
    )
    steps: int = Field(30, ge=2, le=999, description="Steps of dpm-solver++ and ddim.")
    guidance: float = Field(1.2, ge=0, le=10, description="1: no guidance; more: closer to the score.")
    draws: int = Field(
        1,
        ge=1,
        le=64,
        description="Average of so many draws: nearer to what pianists have in common, less varied.",
    )
    base_tempo: float | None = Field(
        None, gt=0, le=400, description="Mean tempo in notated beats per minute; none: as predicted."
    )
    joining: Literal["crossfade", "average"] = Field(
        "crossfade", description="How overlapping windows are joined; average is the published way."
    )
    source: Annotated[Path | None, InputFile()] = Field(
        None, description="Performance MIDI of the same score to start from (needs the extra `align`)."
    )
    change: float = Field(
        0.75, gt=0, le=1, description="With a source: share of the diffusion that is repeated."
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
        version="2",
        summary="DExter: diffusion over tempo, timing, articulation, dynamics and pedal of every note.",
        parameters=DexterParameters,
        paper="Zhang et al., DExter: Learning and Controlling Performance Expression with Diffusion Models, "
        "Applied Sciences 14(15), 2024, arXiv 2406.14850",
        code_licence="Apache-2.0 (re-implemented from the paper; the authors' code is MIT)",
        weights_licence="none stated by the authors",
        limits="uses onset, length, pitch and voice only: no dynamics, slurs or tempo marks of the score",
        uses_seed=True,
        runs_on_gpu=True,
    )

    def __init__(
        self, parameters: DexterParameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None:
        import torch

        from renderers.dexter.generation import CodecGenerator
        from renderers.dexter.network import Denoiser
        from score_to_audio.weights import load_strictly

        path = checkpoints["checkpoint"].weights
        tensors, config, settings = read_checkpoint(path)
        network = Denoiser(config)
        load_strictly(network, tensors, source=str(path))
        dtype = torch.bfloat16 if parameters.precision == "bfloat16" else torch.float32
        self._generator = CodecGenerator(network.requires_grad_(False).to(device, dtype), settings)
        self._parameters = parameters
        self._official = parameters.compatibility == "official"

    def render(self, score: Score, *, seed: int) -> Performance:
        """Raises ``InputError`` for a score without notes or, with a source, without a usable alignment."""
        from renderers.dexter import official
        from renderers.dexter.performance import decoded, to_performance

        columns = official_columns(score) if self._official else score_columns(score.parsed)
        if not len(columns):
            raise InputError(f"{score.path}: has no notes to play")
        source = self._parameters.source
        count = self._parameters.draws
        encoded = None if source is None else self._encoded(source, columns, score)
        codecs = [
            self._generator.generate(
                columns.codec,
                self._options(),
                one,
                source=encoded,
                report=partial(_report_draw, draw, count),
            )
            for draw, one in enumerate(_seeds(seed, count))
        ]
        codec: NDArray[np.float32] = np.stack(codecs).mean(axis=0, dtype=np.float32)
        if self._official:
            notes = decoded(_checked(codec, score), columns)
            return to_performance(notes, columns, official.pedal_per_note(notes))
        kind = self._generator.settings.codec
        return performance_of(codec, columns, score, self._parameters.base_tempo, kind=kind)

    def _encoded(self, source: Path, columns: ScoreColumns, score: Score) -> NDArray[np.float32]:
        return encode_performance(source, columns, score, kind=self._generator.settings.codec)

    def _options(self) -> SamplingOptions:
        from renderers.dexter.generation import SamplingOptions

        chosen = self._parameters
        return SamplingOptions(
            sampler="ddpm" if self._official else chosen.sampler,
            steps=chosen.steps,
            guidance=chosen.guidance,
            change=chosen.change,
            joining="average" if self._official else chosen.joining,
            with_condition_dropout=self._official,
        )


def _seeds(seed: int, count: int) -> list[int]:
    """Of the draws; the first is the seed itself."""
    others = (numpy_generator(seed, draw).integers(2**62) for draw in range(1, count))
    return [seed, *(int(one) for one in others)]


def _report_draw(draw: int, count: int, done: float, total: float) -> None:
    report(done + draw * total, count * total, "steps")


def performance_of(
    codec: NDArray[np.float32],
    columns: ScoreColumns,
    score: Score,
    base_tempo: float | None = None,
    *,
    kind: CodecName = "published",
) -> Performance:
    """A generated codec [N, 5] as performance. Raises ``InputError`` for one that is not a number."""
    from renderers.dexter.performance import decoded, pedal_per_chord, pedal_through_chords, to_performance

    codec = with_tempo(_checked(codec, score), columns.onset_beat, columns.duration_beat, base_tempo)
    notes = decoded(codec, columns)
    own = kind == "own"
    pedal = pedal_through_chords(codec, notes, columns) if own else pedal_per_chord(notes, columns)
    return to_performance(notes, columns, pedal)


def _checked(codec: NDArray[np.float32], score: Score) -> NDArray[np.float32]:
    if np.isnan(codec).any():
        raise InputError(
            f"{score.path}: the network's output is not a number; is the checkpoint damaged "
            "(`score-to-audio models check dexter`)?"
        )
    return within_limits(codec)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], DenoiserConfig, DiffusionSettings]:
    """Tensors and configuration of a Lightning checkpoint or a bare state dict. Raises ``InputError``."""
    from renderers.dexter.network import config_from_tensors
    from score_to_audio.weights import config_of, load_checkpoint

    content = load_checkpoint(path, foreign=("omegaconf", "typing"))
    tensors = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    if "input_projection.weight" not in tensors:
        raise InputError(f"{path}: not a checkpoint of DExter's denoiser (it has no input_projection.weight)")
    stored = content.get("hyper_parameters")
    given = {
        name: value
        for name, value in (config_of(stored) if isinstance(stored, Mapping) else {}).items()
        if value is not None
    }
    dilations = {name: int(given[name]) for name in ("dilation_base", "dilation_bound") if name in given}
    return dict(tensors), config_from_tensors(tensors, **dilations), _settings(given, path)


def _settings(given: Mapping[str, Any], path: Path) -> DiffusionSettings:
    from renderers.dexter.generation import DiffusionSettings
    from renderers.dexter.sampler import Prediction

    sampler = given.get("sampling", {}).get("type", "cfdg_ddpm")
    if sampler != "cfdg_ddpm":
        raise InputError(f"{path}: was trained for the sampler {sampler!r}; only 'cfdg_ddpm' is known")

    default = DiffusionSettings()
    training = given.get("training", {})
    if "mode" in training and training["mode"] not in get_args(Prediction):
        raise InputError(f"{path}: predicts {training['mode']!r}; only {get_args(Prediction)} are known")
    settings = DiffusionSettings(
        timesteps=int(given.get("timesteps", default.timesteps)),
        beta_start=float(given.get("beta_start", default.beta_start)),
        beta_end=float(given.get("beta_end", default.beta_end)),
        window=int(given.get("seg_len", default.window)),
        condition_dropout=float(given.get("cond_dropout", default.condition_dropout)),
        means=tuple(float(mean) for mean in given.get("dataset_means", default.means)),
        stds=tuple(float(std) for std in given.get("dataset_stds", default.stds)),
        prediction=training.get("mode", default.prediction),
        codec=training.get("codec", default.codec),
    )
    if len(settings.means) != 5 or len(settings.stds) != 5 or min(settings.stds) <= 0:
        raise InputError(f"{path}: its dataset means and deviations are not five numbers each")
    return settings


def official_columns(score: Score) -> ScoreColumns:
    """The columns of partitura's note array: no repeats, ties by its rule, file divisions as units."""
    from renderers.dexter import official
    from score_to_audio.formats.scores.reader import load_partitura_score

    return official.score_columns(load_partitura_score(score).note_array())


def encode_performance(
    source: Path, columns: ScoreColumns, score: Score, *, kind: CodecName = "published"
) -> NDArray[np.float32]:
    """A performance MIDI file of the score as codec [N, 5]. Raises ``InputError``."""
    from adapters.alignment import aligned_performance

    performance, index = aligned_performance(
        source,
        score,
        onset=columns.onset_beat,
        duration=columns.duration_beat,
        pitch=columns.codec[:, 2].astype(np.int64),
        advice="give a performance of this score",
    )
    return encode_aligned(columns, index, performance, kind=kind)


def encode_aligned(
    columns: ScoreColumns, index: NDArray[np.int64], performance: Performance, *, kind: CodecName
) -> NDArray[np.float32]:
    """The codec [N, 5] of a performance; ``index``: [N] of the performed notes, -1 for none."""
    from renderers.dexter.encoding import encode, match, pedal_until_next, sounding_durations
    from score_to_audio.formats.scores.partitura_bridge import import_partitura

    import_partitura()
    from partitura.musicanalysis.performance_codec import encode_tempo

    own = kind == "own"
    durations = performance.offset - performance.onset if own else sounding_durations(performance)
    onset, duration = columns.onset_beat, columns.duration_beat
    matched = match(onset, duration, index, performance.onset, durations, performance.velocity)
    with np.errstate(invalid="ignore", divide="ignore"):
        tempo = encode_tempo(
            matched.onset, matched.performed_onset, matched.duration, matched.performed_duration
        )
    codec = encode(matched, tempo, performance.controls)
    if own:
        played, controls = ~matched.missing, performance.controls
        chosen = controls.number == SUSTAIN
        sustain = Controls(controls.time[chosen], controls.number[chosen], controls.value[chosen])
        pedal = pedal_until_next(sustain, onset[played], matched.performed_onset[played])
        codec[played, PEDAL] = pedal
        codec[~played, PEDAL] = pedal.mean()
    finite = np.isfinite(codec)
    return np.where(finite, codec, np.nanmean(np.where(finite, codec, np.nan), axis=0))
