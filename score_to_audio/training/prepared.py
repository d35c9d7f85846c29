"""What is prepared once for trainings: arrays made from files, kept in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from score_to_audio.artifacts import request
from score_to_audio.files import sha256_of
from score_to_audio.formats.matches import read_match
from score_to_audio.store import ArtifactStore
from score_to_audio.types import Controls, Performance, Provenance

Arrays = Mapping[str, NDArray[Any]]
MakeArrays = Callable[[], tuple[Arrays, Sequence[str]]]
"""-> (arrays, a sentence for each problem)."""

PERFORMANCE_COLUMNS = ("onset", "offset", "pitch", "velocity")
CONTROL_COLUMNS = ("time", "number", "value")


def prepared(
    inputs: Sequence[Path],
    preparation: str,
    store: ArtifactStore,
    make: MakeArrays,
    *,
    checkpoints: Mapping[str, str] | None = None,
    **parameters: Any,
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """The arrays that ``make`` makes from the input files, and its sentences, kept in the store.

    ``preparation``: name and version, which change with the result, such as "m2m 1". ``checkpoints``
    (role -> sha256) and ``parameters``: everything beside the inputs that determines the content.
    """

    def write(path: Path) -> Sequence[str]:
        arrays, problems = make()
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        return problems

    provenance = _provenance(inputs, preparation, checkpoints or {}, parameters)
    artifact = request(provenance, "prepared.npz").get_or_make(store, write).artifact
    with np.load(store.path(artifact), allow_pickle=False) as archive:
        return dict(archive), artifact.notices


def prepared_rows(
    inputs: Sequence[Path],
    preparation: str,
    store: ArtifactStore,
    make: Callable[[], NDArray[Any]],
    **parameters: Any,
) -> NDArray[Any]:
    """As ``prepared``, one structured array [S] that stays in its file and is read where it is used."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, make(), allow_pickle=False)

    provenance = _provenance(inputs, preparation, {}, parameters)
    artifact = request(provenance, "prepared.npy").get_or_make(store, write).artifact
    rows: NDArray[Any] = np.load(store.path(artifact), mmap_mode="r", allow_pickle=False)
    return rows


def _provenance(
    inputs: Sequence[Path], preparation: str, checkpoints: Mapping[str, str], parameters: Mapping[str, Any]
) -> Provenance:
    """How prepared arrays are made: it determines their key."""
    contents = [sha256_of(path) for path in inputs]
    return Provenance(
        stage="prepare",
        model=preparation,
        implementation="1",
        checkpoints=checkpoints,
        input=contents[0] if len(contents) == 1 else hashlib.sha256(" ".join(contents).encode()).hexdigest(),
        input_name=inputs[0].name,
        parameters=parameters,
        seed=0,
        device_class="cpu",
    )


def stored_match(path: Path, store: ArtifactStore) -> Performance:
    """As ``read_match``, from the store where it has it: reading a match file takes seconds."""

    def make() -> tuple[Arrays, Sequence[str]]:
        played = read_match(path)
        arrays: dict[str, NDArray[Any]] = {name: getattr(played, name) for name in PERFORMANCE_COLUMNS}
        arrays |= {f"controls_{name}": getattr(played.controls, name) for name in CONTROL_COLUMNS}
        return {**arrays, "ids": np.array(played.score_ids, dtype=np.str_)}, ()

    arrays, _ = prepared([path], "match 1", store, make)
    controls = Controls(**{name: arrays[f"controls_{name}"] for name in CONTROL_COLUMNS})
    columns = {name: arrays[name] for name in PERFORMANCE_COLUMNS}
    return Performance(**columns, controls=controls, score_ids=tuple(arrays["ids"].tolist()))
