"""The store: content-addressed, crash-safe; local (``local``) or shared through fsspec (``remote``)."""

from score_to_audio.errors import StoreError
from score_to_audio.store.local import (
    ArtifactStore,
    MakeFile,
    PruneReport,
    Store,
    StoreInfo,
    default_store,
    open_store,
)
from score_to_audio.store.records import artifact_key

__all__ = [
    "ArtifactStore",
    "MakeFile",
    "PruneReport",
    "Store",
    "StoreError",
    "StoreInfo",
    "artifact_key",
    "default_store",
    "open_store",
]
