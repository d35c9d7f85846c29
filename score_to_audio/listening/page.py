"""The listening page: a comparison as one static folder that opens from disk, without a server."""

from __future__ import annotations

from pathlib import Path

from score_to_audio.listening.comparison import Blind, Comparison


def write_page(comparison: Comparison, folder: Path, *, blind: Blind | None = None) -> Path:
    """Write the page and everything it needs into ``folder``; the path of its ``index.html``.

    ``folder`` is made, or replaced if it holds an earlier page. With ``blind`` names are hidden, votes are
    collected, and the key goes to ``blind.key_file``. Raises ``InputError`` for a folder that holds something
    else, for a key inside the folder, and for a comparison that contradicts itself.
    """
    raise NotImplementedError
