"""All trainers by name, as the command line and the flows use them.

A trainer prepares its data part by part (pieces of a corpus, or recordings), in any process and in any order.
The training finds the parts in the store, and prepares what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

from score_to_audio.errors import InputError

if TYPE_CHECKING:  # the command line imports this module whatever it does
    from pydantic import BaseModel

    from score_to_audio.formats.matches import Piece
    from score_to_audio.store import ArtifactStore
    from score_to_audio.training.recordings import Recording

    Part: TypeAlias = Piece | Recording

PREPARED_SPLITS = ("train", "validation")


class TrainingModule(Protocol):
    """What ``adapters.MODEL_training`` has for each trainer."""

    CONFIG: type[BaseModel]
    """The configuration file."""

    def prepare_part(self, part: Any, config: Any, store: ArtifactStore, device: str) -> Sequence[str]:
        """Prepare one part into the store; returns a sentence for each problem. Raises ``InputError``."""

    def train(
        self, data: Path, config: Any, output: Path, store: ArtifactStore, device: str
    ) -> Iterator[str]:
        """Train into the folder ``output``, or continue a training there; yields lines for the terminal.

        Raises ``InputError``."""


@dataclass(frozen=True)
class Trainer:
    """A model that can be trained."""

    name: str
    data: Literal["corpus", "recordings"]
    """The (n)ASAP corpus, or any folder of recordings."""
    summary: str
    needs_config: bool = False
    """Whether its defaults are not meant for use as they are."""

    @property
    def module(self) -> TrainingModule:
        return cast(TrainingModule, import_module(f"adapters.{self.name.replace('-', '_')}_training"))

    def config(self, path: Path | None) -> BaseModel:
        """Raises ``InputError``."""
        from score_to_audio.training.configuration import read_config

        if path is None and self.needs_config:
            raise InputError(
                f"train {self.name} needs a configuration (--config FILE.toml): its defaults are published "
                "sizes; docs/guide/training.md lists the entries"
            )
        return read_config(path, self.module.CONFIG)

    def parts(self, data: Path) -> tuple[dict[str, Part], list[str]]:
        """What can be prepared one by one, by the path below ``data``, and one sentence for each file that is
        left out.

        Raises ``InputError``."""
        from score_to_audio.formats.matches import pieces
        from score_to_audio.training.recordings import find_recordings

        if self.data == "corpus":
            return {piece.folder: piece for split in PREPARED_SPLITS for piece in pieces(data, split)}, []
        recordings, left_out = find_recordings(data)
        return {str(one.path.relative_to(data)): one for one in recordings}, left_out


TRAINERS = {
    one.name: one
    for one in (
        Trainer(
            "virtuosonet", "corpus", "Train VirtuosoNet, or fine-tune a checkpoint of it.", needs_config=True
        ),
        Trainer("m2m", "corpus", "Train M2M, or fine-tune a checkpoint of it.", needs_config=True),
        Trainer("dexter", "corpus", "Train DExter, or fine-tune a checkpoint of it.", needs_config=True),
        Trainer(
            "pianist-mean",
            "corpus",
            "Train pianist-mean, the default renderer; without --config as the shipped checkpoint.",
        ),
        Trainer(
            "piano-encodec",
            "recordings",
            "Fine-tune EnCodec on recordings, as Piano-Encodec was made, or train a codec from nothing.",
        ),
        Trainer(
            "midi-valle",
            "recordings",
            "Train MIDI-VALLE on recordings, with a MIDI file of the same name beside each, or transcribed.",
        ),
        Trainer(
            "m2a",
            "recordings",
            "Train M2A on recordings, with a MIDI file of the same name beside each, or fine-tune it.",
            needs_config=True,
        ),
    )
}
