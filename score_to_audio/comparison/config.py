"""The model of a comparison's YAML file: sections of rows and columns.

``docs/compare.schema.json`` is ``json_schema()``: editors complete and check files against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from score_to_audio.adjustments import Adjustments
from score_to_audio.settings import PipelineSettings

MetricName = Literal["levels", "distance", "transcription", "expression", "frechet"]
QUICK_METRICS: tuple[MetricName, ...] = ("levels", "distance", "expression", "frechet")
"""Those that are computed where nothing is said: the others take about as long as the sounds play."""
DatasetName = Literal["maestro", "atepp", "pijama", "asap"]

MAX_ROWS = 1000
"""In a section; also the most segments that can be drawn from one dataset."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --------------------------------------------------------------------------------------------- rows


class Material(_Part):
    """A row: a score, a performance or a recording, or several of them of one piece."""

    title: str = Field("", description="As shown; by default the score's title, or the file's name.")
    score: Path | None = Field(None, description="Score file: renderers render it, and the page shows it.")
    performance: Path | None = Field(
        None, description="Performance: a MIDI file, or a match file, which also names the score's notes."
    )
    recording: Path | None = Field(None, description="Audio file of that performance.")
    references: tuple[Path, ...] = Field(
        (),
        description="Human performances of the score, match or MIDI files: expression is measured "
        "against them.",
    )
    start: float = Field(0.0, ge=0, description="Seconds: where performance and recording are cut.")
    seconds: float | None = Field(None, gt=0, description="Length of the cut; by default to the end.")
    licence: str = Field("", description="Of the recording, the performance or the score.")

    @model_validator(mode="after")
    def _is_not_empty(self) -> Material:
        if not (self.score or self.performance or self.recording):
            raise ValueError("a row needs a score, a performance or a recording")
        return self


class Segments(_Part):
    """Rows drawn from a local copy of a dataset; the same seed draws the same rows."""

    dataset: DatasetName
    folder: Path = Field(description="The dataset's folder on this machine.")
    split: str = Field("test", description="Split to draw from; empty: all.")
    count: int = Field(3, ge=1, le=MAX_ROWS)
    seconds: float | None = Field(15.0, gt=0, description="Length of the segments; null: whole performances.")
    seed: int = Field(0, ge=0)


def _kind_of_row(value: Any) -> str:
    return "segments" if _has(value, "dataset") else "material"


RowConfig = Annotated[
    Annotated[Material, Tag("material")] | Annotated[Segments, Tag("segments")], Discriminator(_kind_of_row)
]


# ------------------------------------------------------------------------------------------ columns


class FirstSeconds(_Part):
    """A prompt: the beginning of the row's own recording."""

    first_seconds: float = Field(3.0, gt=0, le=60)


class _Column(_Part):
    label: str = Field("", description="Heading; by default the names of the models.")
    description: str = Field("", description="One sentence, shown on request.")


class Synthesis(_Column):
    """A column: a renderer (where the row has a score to render) and a synthesizer."""

    renderer: str | None = Field(None, description="Stage 1; null: the row's own performance is synthesized.")
    renderer_options: dict[str, Any] = Field(default_factory=dict)
    synthesizer: str = Field(PipelineSettings.model_fields["synthesizer"].default, description="Stage 2.")
    synthesizer_options: dict[str, Any] = Field(default_factory=dict)
    prompt: str | FirstSeconds | None = Field(
        None, description="A prompt of the library, an audio file with its .mid, or {first_seconds: 3}."
    )
    seed: int | None = Field(None, ge=0, description="By default the comparison's.")


class Reconstruction(_Column):
    """A column: the row's recording through a neural codec and back."""

    codec: str = Field(description="piano-encodec, encodec-32khz, or a checkpoint file.")


class Recording(_Column):
    """A column: the row's recording itself."""

    recording: Literal[True]


def _kind_of_column(value: Any) -> str:
    return next((kind for kind in ("codec", "recording") if _has(value, kind)), "synthesis")


ColumnConfig = Annotated[
    Annotated[Synthesis, Tag("synthesis")]
    | Annotated[Reconstruction, Tag("codec")]
    | Annotated[Recording, Tag("recording")],
    Discriminator(_kind_of_column),
]


def _has(value: Any, name: str) -> bool:
    return name in value if isinstance(value, Mapping) else hasattr(value, name)


# ------------------------------------------------------------------------------------------ the file


class SectionConfig(_Part):
    """A table of the page."""

    title: str = Field(min_length=1)
    description: str = ""
    rows: tuple[RowConfig, ...] = Field(min_length=1, max_length=MAX_ROWS)
    columns: tuple[ColumnConfig, ...] = Field(min_length=1, max_length=64)
    reference: str | None = Field(
        None,
        description="Label of the column that sounds are measured against; by default the rows' recordings.",
    )


class ComparisonConfig(_Part):
    """A comparison."""

    title: str = "Comparison"
    description: str = ""
    seed: int = Field(0, ge=0, description="For models that draw.")
    score_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the score reader, for all rows."
    )
    adjustments: Adjustments = Field(
        Adjustments(), description="Changes to what every renderer plays: tempo, expression, measures, key."
    )
    measures: tuple[MetricName, ...] | None = Field(
        None, description="Metrics to compute; by default all but transcription, which is slow."
    )
    embedding: str = Field(
        "piano-encodec", description="Codec whose latents the Fréchet audio distance compares."
    )
    sections: tuple[SectionConfig, ...] = Field(min_length=1, max_length=100)


KEYS = {name for model in (*_Part.__subclasses__(), *_Column.__subclasses__()) for name in model.model_fields}
"""Of all tables of the file."""


def json_schema() -> dict[str, Any]:
    """Of a comparison's file (JSON Schema 2020-12)."""
    schema = ComparisonConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
