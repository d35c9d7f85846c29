"""The store: content-addressed, crash-safe; local (``local``) or shared through fsspec (``remote``)."""

from score_to_audio.errors import StoreError
from score_to_audio.store.local import (
    ArtifactStore,
    PruneReport,
    Store,
    StoreInfo,
    artifact_key,
    default_store,
    open_store,
)

__all__ = [
    "ArtifactStore",
    "PruneReport",
    "Store",
    "StoreError",
    "StoreInfo",
    "artifact_key",
    "default_store",
    "open_store",
]
