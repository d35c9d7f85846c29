"""Cells summed up: means over the rows of a section with confidence intervals, Fréchet audio distances."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from score_to_audio import checkpoints
from score_to_audio.comparison import cells, derived
from score_to_audio.comparison.derived import TracedFile
from score_to_audio.comparison.evaluation import statistics
from score_to_audio.comparison.evaluation.frechet import Moments, frechet_distance, joined, latents, moments
from score_to_audio.comparison.plan import Plan, Section
from score_to_audio.comparison.results import CellResult, Quantity, SectionResult, Summary
from score_to_audio.comparison.verdict import standings, verdict
from score_to_audio.comparison.work import Each, Failure, one_by_one
from score_to_audio.errors import InputError
from score_to_audio.formats.audio import read_audio
from score_to_audio.plugins import Checkpoint
from score_to_audio.registry import resolve_device
from score_to_audio.store import ArtifactStore

FRECHET = "frechet_distance"

SetDistances = Mapping[str, tuple[float, int]]
"""Key of a condition -> Fréchet audio distance from the section's references, and number of sounds."""


def summarize(
    section: Section, results: Sequence[CellResult], quantities: Sequence[Quantity], distances: SetDistances
) -> SectionResult:
    """The cells with their means, by condition in the order of the columns, and the verdict."""
    of_condition = {
        condition.key: [result for result in results if result.condition is condition]
        for condition in section.conditions
    }
    summaries: dict[str, list[Summary]] = {key: [] for key in of_condition}
    for quantity in quantities:
        values = {
            key: np.array([result.values.get(quantity.key, np.nan) for result in own], np.float64)
            for key, own in of_condition.items()
        }
        standing = standings(quantity, values)
        for key, rows in values.items():
            found = statistics.mean_over_rows(rows.tolist(), correlations=quantity.is_correlation)
            if found.count:
                numbers = (found.value, found.low, found.high, found.count)
                summaries[key].append(Summary(key, quantity.key, *numbers, standing.get(key, "")))
    for key, (value, count) in distances.items():
        summaries[key].append(Summary(key, FRECHET, value, np.nan, np.nan, count))
    whole = tuple(itertools.chain.from_iterable(summaries.values()))
    labels = {condition.key: condition.label for condition in section.conditions}
    return SectionResult(section, tuple(results), whole, verdict(quantities, whole, labels))


# ----------------------------------------------------------------------------- Fréchet audio distance


def frechet_quantity(embedding: str) -> Quantity:
    return Quantity(
        FRECHET,
        f"FAD ({embedding})",
        "",
        "lower",
        f"Fréchet audio distance of the column from the references (Kilgour et al., Interspeech 2019) in the "
        f"quantized latents of {embedding}; values of other embeddings cannot be compared.",
        2,
    )


def frechet_distances(
    plan: Plan,
    sections: Sequence[tuple[Section, Sequence[CellResult]]],
    store: ArtifactStore,
    each: Each,
    device: str,
) -> tuple[list[SetDistances], list[str]]:
    """One mapping per section, and what was left out."""
    nothing: list[SetDistances] = [{} for _ in sections]
    sets = [_sets(section, results, store) for section, results in sections]
    if not plan.wants("frechet") or not any(sounds for _, sounds in sets):
        return nothing, []
    try:
        codec = checkpoints.find(plan.embedding)
    except InputError as error:
        return nothing, [f"left out: frechet: its embedding is missing: {error}"]
    files = {
        file.path: file
        for references, sounds in sets
        for group in (references, *sounds.values())
        for file in group
    }
    used = resolve_device(device)
    embeddings = each(
        lambda file: _embedding(file, codec, used, store),
        list(files.values()),
        lambda file: f"embed {file.path.name}",
    )
    found = dict(zip(files, embeddings, strict=True))
    embedded = {path: _read(file) for path, file in found.items() if isinstance(file, TracedFile)}
    problems = [f"left out: frechet: {one.reason}" for one in found.values() if isinstance(one, Failure)]

    def distance(sounds: Sequence[TracedFile], references: Sequence[TracedFile]) -> float:
        one, other = (
            [embedded[file.path] for file in files if file.path in embedded] for files in (sounds, references)
        )
        return frechet_distance(joined(one), joined(other)) if one and other else np.nan

    return [
        {
            key: (value, len(own))
            for key, own in sounds.items()
            if np.isfinite(value := distance(own, references))
        }
        for references, sounds in sets
    ], problems[:1]


def _sets(
    section: Section, results: Sequence[CellResult], store: ArtifactStore
) -> tuple[list[TracedFile], dict[str, list[TracedFile]]]:
    """The section's references, and the sounds of every other condition."""
    sounds: dict[str, list[TracedFile]] = {}
    references: list[TracedFile] = []
    for result in results:
        if not result.cell:
            continue
        if result.condition.key == section.reference:
            references.append(result.cell.audio)
        elif section.reference is not None or result.condition.method is not None:
            sounds.setdefault(result.condition.key, []).append(result.cell.audio)
    if section.reference is None:
        recordings = one_by_one(lambda row: cells.own_recording(row, store), section.rows, str)
        references = [recording for recording in recordings if isinstance(recording, TracedFile)]
    return references, sounds if references else {}


def _embedding(audio: TracedFile, codec: Checkpoint, device: str, store: ArtifactStore) -> TracedFile:
    """The moments of a sound's embedding, kept in the store."""

    def make(path: Path) -> None:
        from adapters.codec import loaded_codec

        found = moments(latents(loaded_codec(codec, device), read_audio(audio.path)))
        with path.open("wb") as file:
            np.savez(file, count=found.count, total=found.total, products=found.products)

    return derived.derive(
        audio, store, make, "moments.npz", "measure", "embedding", codec=codec, device=device
    )


def _read(file: TracedFile) -> Moments:
    with np.load(file.path, allow_pickle=False) as kept:
        return Moments(int(kept["count"]), kept["total"], kept["products"])
