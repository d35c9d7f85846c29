"""One engine for everything made from an input through the store: the stages and the comparison share it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from score_to_audio.store import ArtifactStore, MakeFile, artifact_key
from score_to_audio.types import Artifact, Provenance

MEDIA_TYPES = {
    "mid": "audio/midi",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "match": "text/plain",
    "csv": "text/csv",
    "json": "application/json",
    "npz": "application/x-npz",
    "npy": "application/x-npy",
}


@dataclass(frozen=True)
class StageResult:
    """An artifact, whether the store had it already, and the seconds that took."""

    artifact: Artifact
    cached: bool
    seconds: float


@dataclass(frozen=True)
class ArtifactRequest:
    """An artifact that the store may or may not hold yet."""

    key: str
    name: str
    """File name; its suffix is one of ``MEDIA_TYPES``."""
    provenance: Provenance

    def find(self, store: ArtifactStore) -> StageResult | None:
        started = time.perf_counter()
        artifact = store.get(self.key)
        return StageResult(artifact, True, time.perf_counter() - started) if artifact else None

    def get_or_make(self, store: ArtifactStore, make: MakeFile) -> StageResult:
        """``make`` writes the file at the path that it is given; it is called only if the store has none."""
        started = time.perf_counter()
        artifact, cached = store.get_or_make(
            self.key,
            name=self.name,
            media_type=MEDIA_TYPES[self.name.rpartition(".")[2]],
            provenance=self.provenance,
            make=make,
        )
        return StageResult(artifact, cached, time.perf_counter() - started)


def request(provenance: Provenance, name: str, **more: Any) -> ArtifactRequest:
    """The request whose key is the hash of the provenance and of ``more``, which takes precedence.

    The input's name and the parent do not determine the content and stay out of the key.
    """
    description = asdict(provenance) | more
    del description["input_name"], description["parent"]
    return ArtifactRequest(artifact_key(description), name, provenance)
