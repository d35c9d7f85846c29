"""Training pianist-mean: from a corpus to a checkpoint that the renderer plays."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderers import expression
from renderers.pianist_mean import level
from renderers.pianist_mean.features import Features, features
from renderers.pianist_mean.inference import Weights
from renderers.pianist_mean.model import Model, Statistics, outputs_of, to_arrays
from renderers.pianist_mean.training.batches import material
from renderers.pianist_mean.training.calibration import gains, shrinkage
from renderers.pianist_mean.training.loop import TrainingSettings, train_network
from renderers.pianist_mean.training.targets import Targets, targets
from renderers.virtuosonet.recurrence import single_thread
from score_to_audio.errors import InputError
from score_to_audio.files import replacing
from score_to_audio.formats.matches import Piece, pieces
from score_to_audio.formats.scores.reader import read_score
from score_to_audio.store import ArtifactStore
from score_to_audio.training.prepared import stored_match
from score_to_audio.types import ParsedScore, Performance
from score_to_audio.weights import load_arrays

RESULT, SETTINGS = "pianist_mean.safetensors", "settings.json"
"""Files of a training, beside those of its networks."""
SPLITS = ("train", "validation")
MOST_PERFORMANCES = 12
"""Of a piece, robust alignments first; a mean of more differs little."""
MOST_OTHERS = 4
"""Performances of a piece without robust alignments."""
CALIBRATED_ON = 40
"""Pieces that the spread of the networks' mean is measured on."""


@dataclass(frozen=True)
class Example:
    """A piece of the corpus."""

    folder: str
    group: str
    """Pieces of one group are in one fold."""
    score: ParsedScore
    features: Features
    targets: Targets
    performances: tuple[Performance, ...]
    robust: bool


CONFIG = TrainingSettings


def train(
    data: Path,
    config: TrainingSettings,
    output: Path,
    store: ArtifactStore,
    device: str = "cpu",  # noqa: ARG001 (of every trainer; this one computes on the CPU)
) -> Iterator[str]:
    """Train on the (n)ASAP corpus; networks that an interrupted training finished in ``output`` are kept.

    See ``TrainingModule``.
    """
    examples: list[Example] = []
    for found in prepare(data, store):
        if isinstance(found, Example):
            examples.append(found)
        else:
            yield found
    yield f"{len(examples)} pieces, {sum(one.targets.performances for one in examples)} performances"
    if not examples:
        raise InputError(f"{data}: no performance of the train split can be used")
    _claim(output, config)
    folds = fold_numbers(examples, config.folds)
    networks: list[tuple[Weights, Statistics]] = []
    with single_thread():
        for fold in range(config.folds):
            kept = network_file(output, fold)
            if kept.is_file():
                yield f"network {fold + 1} of {config.folds}: finished before"
            else:
                chosen = [
                    one for one, of in zip(examples, folds, strict=True) if of != fold or config.folds == 1
                ]
                yield from _train_network(chosen, config, fold, kept)
            networks.append(read_network(kept))
        model = calibrated(examples, folds, networks)
    write(model, output / RESULT)
    yield f"{output / RESULT}: gains " + ", ".join(f"{name} {gain:.2f}" for name, gain in model.gains.items())


def prepare(corpus: Path, store: ArtifactStore) -> Iterator[Example | str]:
    """The pieces of the corpus, and a line for each that is left out."""
    for split in SPLITS:
        for piece in pieces(corpus, split):
            try:
                score = read_score(piece.score).parsed
                of_score = expression.grid(score)
                played = [stored_match(path, store) for path in _matches(piece)]
                wanted = targets(of_score, played)
            except (InputError, ValueError) as error:
                yield f"left out {piece.folder}: {error}"
                continue
            yield Example(
                folder=piece.folder,
                group=f"{piece.composer} {piece.title}",
                score=score,
                features=features(score),
                targets=wanted,
                performances=tuple(played),
                robust=bool(piece.robust),
            )


def prepare_part(
    part: Piece,
    config: TrainingSettings,  # noqa: ARG001 (of every trainer)
    store: ArtifactStore,
    device: str,  # noqa: ARG001
) -> Sequence[str]:
    """See ``TrainingModule``."""
    for path in _matches(part):
        stored_match(path, store)
    return ()


def _matches(piece: Piece) -> Sequence[Path]:
    return piece.robust[:MOST_PERFORMANCES] or piece.others[:MOST_OTHERS]


def network_file(output: Path, fold: int) -> Path:
    """Of the network that is trained without the fold."""
    return output / f"network_{fold + 1}.safetensors"


def fold_numbers(examples: Sequence[Example], folds: int) -> list[int]:
    """The fold of each piece: pieces with the same composer and title are in the same."""
    return [zlib.crc32(one.group.encode()) % folds for one in examples]


def _train_network(
    examples: Sequence[Example], settings: TrainingSettings, fold: int, path: Path
) -> Iterator[str]:
    if not examples:
        raise InputError(f"too few pieces for {settings.folds} folds; set folds to 1")
    statistics = Statistics.of([one.features for one in examples])
    material_of = [material(one.features, one.targets) for one in examples]
    epochs = train_network(material_of, statistics, settings, fold)
    while True:
        try:
            yield f"network {fold + 1} of {settings.folds}, {next(epochs)}"
        except StopIteration as end:
            weights: Weights = end.value
            break
    _write_arrays({**weights, **{f"statistics.{n}": column for n, column in vars(statistics).items()}}, path)


def read_network(path: Path) -> tuple[Weights, Statistics]:
    """What ``train`` keeps of one network."""
    arrays = load_arrays(path)
    columns = {
        name.removeprefix("statistics."): a for name, a in arrays.items() if name.startswith("statistics.")
    }
    return {name: a for name, a in arrays.items() if not name.startswith("statistics.")}, Statistics(
        **columns
    )


def calibrated(
    examples: Sequence[Example], folds: Sequence[int], networks: Sequence[tuple[Weights, Statistics]]
) -> Model:
    """The model of the networks, with the level and the gains of the pieces that they were not trained on."""
    predicted = [outputs_of(*networks[fold], one.features) for one, fold in zip(examples, folds, strict=True)]
    some = examples[:: max(len(examples) // CALIBRATED_ON, 1)]
    shrunk = shrinkage(
        [[outputs_of(*network, one.features) for network in networks] for one in some],
        [one.targets for one in some],
    )
    wide = gains(predicted, [one.targets for one in examples])
    weights, statistics = zip(*networks, strict=True)
    return Model(
        weights, statistics, fitted_level(examples), {name: wide[name] / shrunk[name] for name in wide}
    )


def fitted_level(examples: Sequence[Example]) -> level.Level:
    """Tempo and dynamics of whole pieces; pieces with more performances, whose mean is surer, count more."""
    performances = np.array([one.targets.performances for one in examples])
    return level.fit(
        [one.score for one in examples],
        [one.features for one in examples],
        [level.Means(one.targets.velocity_mean, one.targets.period_mean) for one in examples],
        performances / (1 + performances),
    )


# ---------------------------------------------------------------------------------------------- files


def write(model: Model, path: Path) -> None:
    """A checkpoint of ``pianist-mean``."""
    arrays, plain = to_arrays(model)
    _write_arrays(arrays, path, {"model": json.dumps(plain)})


def _write_arrays(
    arrays: Mapping[str, NDArray[Any]], path: Path, header: dict[str, str] | None = None
) -> None:
    from safetensors.numpy import save

    with replacing(path) as unfinished:
        unfinished.write_bytes(save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, header))


def _claim(output: Path, settings: TrainingSettings) -> None:
    """Make the folder a training with these settings. Raises ``InputError`` where it has others."""
    output.mkdir(parents=True, exist_ok=True)
    file, text = output / SETTINGS, settings.model_dump_json(indent=1)
    if file.is_file() and file.read_text("utf-8") != text:
        raise InputError(
            f"{file}: a training with other settings; take another output folder, or remove this one"
        )
    with replacing(file) as unfinished:
        unfinished.write_text(text, "utf-8")
