"""A checked comparison: its rows with their files, its columns with their models, before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from score_to_audio import checkpoints, registry
from score_to_audio.comparison.config import (
    Column,
    ComparisonConfig,
    FirstSeconds,
    Material,
    MeasureName,
    Reconstruction,
    Row,
    SectionConfig,
    Segments,
    Synthesis,
)
from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, Prompt
from score_to_audio.prompts import find_prompt
from score_to_audio.registry import ResolvedPlugin
from score_to_audio.settings import read_score_options

if TYPE_CHECKING:
    from score_to_audio.formats.scores.reader import ScoreOptions


MAX_KEY = 50
"""Characters of a condition's key."""


@dataclass(frozen=True)
class Source:
    """A row: what is rendered, synthesized, or listened to as it is."""

    name: str
    """Unique within its section."""
    score: Path | None = None
    performance: Path | None = None
    """MIDI or match file."""
    recording: Path | None = None
    references: tuple[Path, ...] = ()
    """Human performances of the score."""
    start: float = 0.0
    end: float | None = None
    """Seconds between which performance and recording are cut."""
    note: str = ""
    licence: str = ""
    failure: str = ""
    """Why no cell of it can be made, such as a dataset that is not there; "" where they can."""

    @property
    def is_cut(self) -> bool:
        return self.start > 0 or self.end is not None


@dataclass(frozen=True)
class Models:
    """How a column synthesizes: checked, ready to run."""

    renderer: ResolvedPlugin | None
    synthesizer: ResolvedPlugin
    prompt: Prompt | FirstSeconds | None = None


@dataclass(frozen=True)
class Codec:
    """How a column reconstructs recordings."""

    checkpoint: Checkpoint
    device: str


@dataclass(frozen=True)
class Condition:
    """A column. ``how`` is None for the recordings themselves."""

    key: str
    """Unique within its section; the same way of making sound has the same key in every section."""
    label: str
    description: str = ""
    how: Models | Codec | None = None
    failure: str = ""
    """Why no cell of it can be made, such as a checkpoint that is not there; "" where they can."""
    licences: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    title: str
    description: str
    sources: tuple[Source, ...]
    conditions: tuple[Condition, ...]
    reference: str | None
    """Key of the condition that sounds are measured against; None: the rows' recordings."""


class PlaceError(InputError):
    """Something in a comparison's description that cannot be, and where."""

    def __init__(self, place: tuple[str | int, ...], reason: str) -> None:
        super().__init__(f"{'.'.join(map(str, place))}: {reason}")
        self.place = place


@dataclass(frozen=True)
class Plan:
    """Everything that a comparison needs, checked."""

    title: str
    description: str
    sections: tuple[Section, ...]
    score_options: ScoreOptions
    measures: tuple[MeasureName, ...] | None
    """None: all that can be taken."""
    embedding: str


def make_plan(config: ComparisonConfig, *, device: str = "auto") -> Plan:
    """Raises ``PlaceError`` for unknown names and wrong options. Checkpoints, datasets and files of rows that
    are not there cost their cells alone."""
    return Plan(
        title=config.title,
        description=config.description,
        sections=tuple(
            _section(section, ("sections", number), config, device)
            for number, section in enumerate(config.sections)
        ),
        score_options=read_score_options(config.score_options),
        measures=config.measures,
        embedding=config.embedding,
    )


def _section(
    section: SectionConfig, place: tuple[str | int, ...], config: ComparisonConfig, device: str
) -> Section:
    conditions = []
    for number, column in enumerate(section.columns):
        try:
            conditions.append(_condition(column, config.seed, device))
        except InputError as error:
            raise PlaceError((*place, "columns", number), str(error)) from error
    conditions = _with_unique_keys(conditions)
    labels = {condition.label: condition.key for condition in conditions}
    if section.reference is not None and section.reference not in labels:
        raise PlaceError(
            (*place, "reference"),
            f"no column is called {section.reference!r}; there are: {', '.join(labels)}",
        )
    return Section(
        title=section.title,
        description=section.description,
        sources=tuple(_with_unique_names([source for row in section.rows for source in _sources(row)])),
        conditions=tuple(conditions),
        reference=labels[section.reference] if section.reference is not None else None,
    )


# --------------------------------------------------------------------------------------------- rows


def _sources(row: Row) -> list[Source]:
    return _segments(row) if isinstance(row, Segments) else [_material(row)]


def _material(row: Material) -> Source:
    first = row.score or row.performance or row.recording
    assert first is not None  # the model checks it
    return Source(
        name=row.title or first.stem,
        score=row.score,
        performance=row.performance,
        recording=row.recording,
        references=row.references,
        start=row.start,
        end=None if row.seconds is None else row.start + row.seconds,
        licence=row.licence,
    )


def _segments(row: Segments) -> list[Source]:
    from score_to_audio.comparison.datasets import draw_segments, read_dataset

    try:
        items = read_dataset(row.dataset, row.folder, row.split)
        drawn = draw_segments(items, count=row.count, seconds=row.seconds, seed=row.seed)
        if not drawn:
            raise InputError(f"{row.folder}: no performance of {row.dataset} is {row.seconds:g} s long")
    except InputError as error:
        return [Source(row.dataset, failure=str(error))]
    return [
        Source(
            name=item.title,
            score=item.score,
            performance=item.performance,
            recording=item.recording,
            references=item.references,
            start=item.start,
            end=item.end if row.seconds is not None or item.start else None,
            note=f"{row.dataset}, {item.name}"
            + (f", {item.start:.2f} to {item.end:.2f} s" if item.end else ""),
            licence=item.licence,
        )
        for item in drawn
    ]


def _with_unique_names(sources: Sequence[Source]) -> list[Source]:
    taken: set[str] = set()
    named = []
    for source in sources:
        name, number = source.name, 2
        while name in taken:
            name, number = f"{source.name} ({number})", number + 1
        taken.add(name)
        named.append(replace(source, name=name))
    return named


# ------------------------------------------------------------------------------------------ columns


def _condition(column: Column, seed: int, device: str) -> Condition:
    if isinstance(column, Synthesis):
        return _synthesis(column, seed if column.seed is None else column.seed, device)
    if isinstance(column, Reconstruction):
        return _reconstruction(column, device)
    label = column.label or "recording"
    return Condition("recording", label, column.description or "The recording itself.")


def _synthesis(column: Synthesis, seed: int, device: str) -> Condition:
    names = [name for name in (column.renderer, column.synthesizer) if name]
    label = column.label or " + ".join(names)
    # Names and options are the user's to mend at once; a checkpoint that is not here is not.
    if column.renderer:
        registry.parameters("renderer", column.renderer, column.renderer_options)
    registry.parameters("synthesizer", column.synthesizer, column.synthesizer_options)
    key = _slug("-".join([*names, *_differences(column)]) or label)
    try:
        models = Models(
            renderer=registry.resolve(
                "renderer", column.renderer, column.renderer_options, seed=seed, device=device
            )
            if column.renderer
            else None,
            synthesizer=registry.resolve(
                "synthesizer", column.synthesizer, column.synthesizer_options, seed=seed, device=device
            ),
            prompt=find_prompt(column.prompt) if isinstance(column.prompt, str) else column.prompt,
        )
    except InputError as error:
        return Condition(key, label, column.description, failure=str(error))
    return Condition(key, label, column.description, models, licences=_licences(models))


def _differences(column: Synthesis) -> list[str]:
    """What tells two columns of the same models apart."""
    options = [
        f"{name}-{value}"
        for name, value in sorted({**column.renderer_options, **column.synthesizer_options}.items())
    ]
    prompt = column.prompt
    if isinstance(prompt, FirstSeconds):
        options.append(f"first-{prompt.first_seconds:g}-s")
    elif prompt:
        options.append(Path(prompt).stem)
    if column.seed is not None:
        options.append(f"seed-{column.seed}")
    return options


def _licences(models: Models) -> dict[str, str]:
    """What of the result is whose: weights and samples, by model."""
    prepared = [one for one in (models.renderer, models.synthesizer) if one]
    return {one.name: one.spec.weights_licence or one.spec.code_licence for one in prepared}


def _reconstruction(column: Reconstruction, device: str) -> Condition:
    label = column.label or column.codec
    key = _slug(f"codec-{Path(column.codec).stem}")
    try:
        codec = Codec(checkpoints.find(column.codec), registry.resolve_device(device))
    except InputError as error:
        if column.codec not in checkpoints.table():
            raise
        return Condition(key, label, column.description, failure=str(error))
    known = checkpoints.table().get(column.codec)
    return Condition(
        key, label, column.description, codec, licences={column.codec: known.licence} if known else {}
    )


def _slug(text: str) -> str:
    """A key of letters, digits and dashes; long ones are told apart by a hash."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "column"
    return slug if len(slug) <= MAX_KEY else f"{slug[:MAX_KEY]}-{sha256(text.encode()).hexdigest()[:8]}"


def _with_unique_keys(conditions: Sequence[Condition]) -> list[Condition]:
    keys: set[str] = set()
    labels: set[str] = set()
    unique = []
    for condition in conditions:
        key, label, number = condition.key, condition.label, 2
        while key in keys:
            key, number = f"{condition.key}-{number}", number + 1
        number = 2
        while label in labels:
            label, number = f"{condition.label} ({number})", number + 1
        keys.add(key)
        labels.add(label)
        unique.append(replace(condition, key=key, label=label))
    return unique
