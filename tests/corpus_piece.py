"""A real piece of the (n)ASAP corpus with human performances, where the corpus is there.

It is found through SCORE_TO_AUDIO_CORPUS (the unpacked folder), else through ``shared/data`` beside the
checkout; without either the test is skipped, and says so.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from tests.paths import SHARED

ARCHIVE = SHARED / "data" / "asap" / "corpus.tar.xz"
PIECE = "Mozart/Piano_Sonatas/12-1"
"""Of the validation split: four robust alignments, no part in finding quantities or weights."""


def corpus_piece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The piece's folder: its score and its match files."""
    if (named := os.environ.get("SCORE_TO_AUDIO_CORPUS")) is not None:
        return Path(named) / PIECE
    if not ARCHIVE.exists():
        pytest.skip(f"no corpus: set SCORE_TO_AUDIO_CORPUS to its folder ({ARCHIVE} does not exist either)")
    folder = tmp_path_factory.mktemp("corpus")
    with tarfile.open(ARCHIVE) as packed:
        for member in packed:
            if f"/{PIECE}/" in member.name and member.name.endswith((".musicxml", ".match")):
                packed.extract(member, folder, filter="data")
    return folder / "asap" / PIECE
