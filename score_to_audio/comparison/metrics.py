"""The metrics of single cells, kept in the store; ``score_to_audio.comparison.evaluation`` defines them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from renderers import expression
from score_to_audio.comparison.config import MetricName
from score_to_audio.comparison.derived import TracedFile, derive
from score_to_audio.comparison.results import Quantity
from score_to_audio.errors import InputError
from score_to_audio.formats.audio import read_audio
from score_to_audio.formats.midi import read_performance
from score_to_audio.store import ArtifactStore
from score_to_audio.types import Score

EXTRA = "install it with `pip install 'score-to-audio[evaluation]'`"


@dataclass(frozen=True)
class MetricInputs:
    """What metrics may read of a cell."""

    audio: TracedFile
    performance: TracedFile | None
    """The notes heard in the audio."""
    reference: TracedFile | None
    """Another sound of the same performance."""
    score: Score | None
    humans: tuple[TracedFile, ...]
    """Human performances of the score, without this one."""


@dataclass(frozen=True)
class Metric:
    """Quantities that are computed together."""

    name: MetricName
    version: str
    quantities: tuple[Quantity, ...]
    depends_on: Callable[[MetricInputs], Mapping[str, Any] | None]
    """What determines the values beside the audio, as plain JSON; None where the metric does not apply."""
    compute: Callable[[MetricInputs], Mapping[str, float]]
    """Key of a quantity -> value, nan where it is undefined."""
    packages: tuple[str, ...] = ()
    """Those of the extra ``evaluation`` that it needs."""

    def missing(self) -> str:
        """What to install before the metric can be computed; "" where nothing."""
        if all(find_spec(name) for name in self.packages):
            return ""
        return f"needs {' and '.join(self.packages)}; {EXTRA}"


def values_of(metric: Metric, cell: MetricInputs, store: ArtifactStore) -> dict[str, float]:
    """As ``Metric.compute``, from the store where they are there already; empty where the metric does not
    apply. Raises ``InputError``."""
    parameters = metric.depends_on(cell)
    if parameters is None:
        return {}

    def make(path: Path) -> None:
        path.write_text(json.dumps({name: str(float(value)) for name, value in metric.compute(cell).items()}))

    kept = derive(
        cell.audio, store, make, "measures.json", "measure", metric.name, version=metric.version, **parameters
    )
    return {name: float(value) for name, value in json.loads(kept.path.read_text()).items()}


def _hashes(*files: TracedFile | None) -> dict[str, Any] | None:
    """For ``Metric.depends_on``: None where one of the files is missing."""
    found = [file.sha256 for file in files if file]
    return {"inputs": found} if len(found) == len(files) else None


# ------------------------------------------------------------------------------------------- levels


def _levels(cell: MetricInputs) -> Mapping[str, float]:
    from score_to_audio.comparison.evaluation.levels import levels

    found = levels(read_audio(cell.audio.path))
    return asdict(found) | {"silence": 100 * found.silence}


LEVELS = Metric(
    name="levels",
    version="1",
    quantities=(
        Quantity("loudness", "loudness", "LUFS", "", "Integrated loudness, ITU-R BS.1770-4.", 1),
        Quantity("true_peak", "true peak", "dBTP", "", "True peak, ITU-R BS.1770-4.", 1),
        Quantity("silence", "silence", "%", "", "Of the length, below -60 dBFS.", 0),
        Quantity("clipped", "clipped", "samples", "lower", "In runs of three or more at full scale.", 0),
    ),
    depends_on=lambda _: {},
    compute=_levels,
)


# ------------------------------------------------------------------------------------------ distances


def _distance(cell: MetricInputs) -> Mapping[str, float]:
    from score_to_audio.comparison.evaluation import spectral

    assert cell.reference is not None
    target, other = (spectral.prepared(read_audio(file.path)) for file in (cell.audio, cell.reference))
    return {
        "chroma_distance": spectral.chroma_distance(spectral.chroma(target), spectral.chroma(other)),
        "spectrogram_distance": spectral.spectrogram_distance(
            spectral.midi_spectrogram(target), spectral.midi_spectrogram(other)
        ),
    }


_NEAREST_SOUND = "nearest to the reference"
DISTANCE = Metric(
    name="distance",
    version="1",
    quantities=(
        Quantity(
            "chroma_distance",
            "harmony: distance",
            "",
            "lower",
            "Constant-Q chroma against the reference, frame by frame (Tang et al., ICASSP 2025).",
            3,
            claim=_NEAREST_SOUND,
            aspect="harmony",
        ),
        Quantity(
            "spectrogram_distance",
            "timbre: distance",
            "",
            "lower",
            "MIDI-filtered log spectrogram against the reference, relative (Tang et al., ICASSP 2025).",
            3,
            claim=_NEAREST_SOUND,
            aspect="timbre",
        ),
    ),
    depends_on=lambda cell: _hashes(cell.reference),
    compute=_distance,
    packages=("librosa",),
)


# --------------------------------------------------------------------------------------- transcription


def _transcription(cell: MetricInputs) -> Mapping[str, float]:
    from adapters.transcription import transcribe
    from score_to_audio.comparison.evaluation.transcription import scores

    assert cell.performance is not None
    found = asdict(scores(read_performance(cell.performance.path), transcribe(read_audio(cell.audio.path))))
    found["onset_error"] *= 1000
    return {quantity.key: found[quantity.key] for quantity in TRANSCRIPTION.quantities}


_HEARD = "of what transkun (Yan & Duan, ISMIR 2024) hears against what was played; mir_eval."
_CLEAREST: Any = {"better": "higher", "claim": "clearest to a transcriber"}
TRANSCRIPTION = Metric(
    name="transcription",
    version="1",
    quantities=(
        Quantity(
            "onset_f1",
            "notes recognized",
            description=f"F1 of pitch and onset within 50 ms, {_HEARD}",
            digits=3,
            aspect="notes",
            **_CLEAREST,
        ),
        Quantity("offset_f1", "with their ends", "", "higher", f"F1 of notes, pedal included, {_HEARD}", 3),
        Quantity("velocity_f1", "with their loudness", "", "higher", f"F1, velocity within 0.1, {_HEARD}", 3),
        Quantity(
            "velocity_correlation",
            "dynamics recognized",
            description=f"Pearson's r of velocity, {_HEARD}",
            is_correlation=True,
            aspect="dynamics",
            **_CLEAREST,
        ),
        Quantity(
            "pedal_f1",
            "pedal recognized",
            description=f"F1 of the sustain pedal in frames of 10 ms, {_HEARD}",
            digits=3,
            aspect="pedal",
            **_CLEAREST,
        ),
        Quantity("onset_error", "onset error", "ms", "lower", f"Median |difference| of onsets, {_HEARD}", 1),
    ),
    depends_on=lambda cell: _hashes(cell.performance),
    compute=_transcription,
    packages=("transkun", "mir_eval"),
)


# ------------------------------------------------------------------------------------------- expression

ATTRIBUTES = {
    "local_beat_period": ("tempo", "local log beat period"),
    "velocity": ("dynamics", "velocity"),
    "articulation": ("articulation", "articulation"),
    "pedal_within_beat": ("pedal", "pedal within the beat"),
}
"""Those of ``Expression`` that a comparison shows: in plain words, and as in docs/reference/evaluation.md."""


def _expression(cell: MetricInputs) -> Mapping[str, float]:
    assert cell.performance is not None
    assert cell.score is not None
    files = (cell.performance, *cell.humans)
    own, *humans = (_shape(cell.score, file.path, file.sha256) for file in files)
    agreement = expression.agreement(own, expression.mean_expression(humans))
    distance = expression.distribution_distance(own, humans)
    within = expression.share_within(own, humans)
    return {
        f"human_{name}_{kind}": values[name]
        for name in ATTRIBUTES
        for kind, values in (("correlation", agreement), ("distance", distance), ("within", within))
    }


@lru_cache(maxsize=64)
def _shape(score: Score, midi: Path, _content: str) -> expression.Expression:
    try:
        return expression.measure(expression.grid(score.parsed), read_performance(midi))
    except ValueError as error:
        raise InputError(f"{midi.name}: its expression cannot be measured: {error}") from error


def _expression_inputs(cell: MetricInputs) -> dict[str, Any] | None:
    hashes = _hashes(cell.performance, *cell.humans)
    if hashes is None or cell.score is None or not cell.humans:
        return None
    return hashes | {"score": cell.score.sha256, "score_options": cell.score.options}


def _expression_quantities(name: str, plain: str, exact: str) -> tuple[Quantity, ...]:
    shape = (
        f"Rises and falls as the pianists': Pearson's r of {exact} with their mean; "
        "see docs/reference/evaluation.md."
    )
    amount = f"1-Wasserstein distance of the {exact} values from the pianists', in their standard deviations."
    within = f"Share of {exact} values between the least and the greatest of the pianists' at the same place."
    return (
        Quantity(
            f"human_{name}_correlation",
            f"{plain}: shape",
            better="higher",
            description=shape,
            is_correlation=True,
            claim="nearest to the pianists",
            aspect=plain,
        ),
        Quantity(f"human_{name}_distance", f"{plain}: amount apart", "sd", "lower", amount, 2),
        Quantity(f"human_{name}_within", f"{plain}: within theirs", "", "higher", within, 2),
    )


EXPRESSION = Metric(
    name="expression",
    version="2",
    quantities=tuple(
        one for name, words in ATTRIBUTES.items() for one in _expression_quantities(name, *words)
    ),
    depends_on=_expression_inputs,
    compute=_expression,
)

METRICS = (EXPRESSION, TRANSCRIPTION, DISTANCE, LEVELS)
"""Of single cells, the musical ones first; the Fréchet distance, of sets of cells, is in ``summary``."""
