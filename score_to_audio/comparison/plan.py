"""A comparison checked before any work: its rows with their files, its columns with their models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from score_to_audio import checkpoints, registry
from score_to_audio.adjustments import Adjustments
from score_to_audio.comparison.config import (
    QUICK_METRICS,
    ColumnConfig,
    ComparisonConfig,
    FirstSeconds,
    Material,
    MetricName,
    Reconstruction,
    RowConfig,
    SectionConfig,
    Segments,
    Synthesis,
)
from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint, Prompt, Renderer, Synthesizer
from score_to_audio.prompts import find_prompt
from score_to_audio.registry import ResolvedPlugin
from score_to_audio.settings import read_score_options
from score_to_audio.stages import AS_RENDERED

if TYPE_CHECKING:
    from score_to_audio.formats.scores.reader import ScoreOptions

MAX_KEY = 50
"""Characters of a condition's key."""


@dataclass(frozen=True)
class Row:
    """What is rendered, synthesized, or listened to as it is."""

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
    """Seconds between which performance and recording are cut; None: to the end."""
    note: str = ""
    """One sentence: where the material comes from."""
    licence: str = ""
    failure: str = ""
    """Why no cell of the row can be made, such as a missing dataset; "" where they can."""

    @property
    def is_cut(self) -> bool:
        return self.start > 0 or self.end is not None


@dataclass(frozen=True)
class ResolvedSynthesis:
    """A renderer, if any, and a synthesizer, ready to run."""

    renderer: ResolvedPlugin[Renderer] | None
    synthesizer: ResolvedPlugin[Synthesizer]
    prompt: Prompt | FirstSeconds | None = None
    adjustments: Adjustments = AS_RENDERED


@dataclass(frozen=True)
class ResolvedCodec:
    """A codec that recordings are passed through, ready to load."""

    checkpoint: Checkpoint
    device: str


@dataclass(frozen=True)
class Condition:
    """A column: one way to make sound."""

    key: str
    """Unique within its section; equal methods have equal keys in all sections."""
    label: str
    """Heading: "virtuosonet + midi-valle"."""
    description: str = ""
    method: ResolvedSynthesis | ResolvedCodec | None = None
    """None for the recordings themselves."""
    failure: str = ""
    """Why no cell of the column can be made, such as a missing checkpoint; "" where they can."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """Model -> licence of its weights or code."""


@dataclass(frozen=True)
class Section:
    title: str
    description: str
    rows: tuple[Row, ...]
    conditions: tuple[Condition, ...]
    """In the order of the columns."""
    reference: str | None = None
    """Key of the condition that sounds are measured against; None: the rows' recordings."""


@dataclass(frozen=True)
class Plan:
    title: str
    description: str
    sections: tuple[Section, ...]
    score_options: ScoreOptions
    metrics: tuple[MetricName, ...] | None
    """None: ``QUICK_METRICS``."""
    embedding: str
    """Codec of the Fréchet audio distance."""

    def wants(self, metric: MetricName) -> bool:
        return metric in (self.metrics or QUICK_METRICS)

    @property
    def cell_count(self) -> int:
        return sum(len(section.rows) * len(section.conditions) for section in self.sections)

    @property
    def input_files(self) -> list[Path]:
        rows = [row for section in self.sections for row in section.rows]
        files = (
            path for row in rows for path in (row.score, row.performance, row.recording, *row.references)
        )
        return [path for path in files if path]


class PlanError(InputError):
    """A name or an option that cannot be resolved, with its place in the configuration."""

    def __init__(self, place: tuple[str | int, ...], reason: str) -> None:
        super().__init__(f"{'.'.join(map(str, place))}: {reason}")
        self.place = place


def make_plan(config: ComparisonConfig, *, device: str = "auto") -> Plan:
    """Raises ``InputError`` for unknown names and wrong options (``PlanError``, where they have a place in
    the configuration) and for an unknown or missing device. Missing checkpoints, datasets and files fail
    only the cells that need them."""
    if device != "auto":  # which never fails, and would import torch
        registry.resolve_device(device)
    return Plan(
        title=config.title,
        description=config.description,
        sections=tuple(
            _section(section, ("sections", number), config, device)
            for number, section in enumerate(config.sections)
        ),
        score_options=read_score_options(config.score_options),
        metrics=config.measures,
        embedding=config.embedding,
    )


def _section(
    section: SectionConfig, place: tuple[str | int, ...], config: ComparisonConfig, device: str
) -> Section:
    conditions = []
    for number, column in enumerate(section.columns):
        try:
            conditions.append(_condition(column, config, device))
        except InputError as error:
            raise PlanError((*place, "columns", number), str(error)) from error
    keys = unique((one.key for one in conditions), "{}-{}")
    labels = unique((one.label for one in conditions), "{} ({})")
    key_of = dict(zip(labels, keys, strict=True))
    if section.reference is not None and section.reference not in key_of:
        known = ", ".join(labels)
        raise PlanError(
            (*place, "reference"), f"no column is called {section.reference!r}; there are: {known}"
        )
    options = read_score_options(config.score_options)
    rows = [row for one in section.rows for row in _rows(one, options)]
    names = unique((row.name for row in rows), "{} ({})")
    return Section(
        title=section.title,
        description=section.description,
        rows=tuple(replace(row, name=name) for row, name in zip(rows, names, strict=True)),
        conditions=tuple(
            replace(one, key=key, label=label)
            for one, key, label in zip(conditions, keys, labels, strict=True)
        ),
        reference=key_of[section.reference] if section.reference is not None else None,
    )


def unique(names: Iterable[str], form: str) -> list[str]:
    """The names, with numbers from 2 on (put in by ``form``) where one occurs again."""
    found: dict[str, None] = {}
    for name in names:
        candidate, number = name, 2
        while candidate in found:
            candidate, number = form.format(name, number), number + 1
        found[candidate] = None
    return list(found)


# --------------------------------------------------------------------------------------------- rows


def _rows(row: RowConfig, options: ScoreOptions) -> list[Row]:
    return _segments(row) if isinstance(row, Segments) else [_material(row, options)]


def _material(row: Material, options: ScoreOptions) -> Row:
    first = row.score or row.performance or row.recording
    assert first is not None  # validated by the model
    title = row.title or (_title(row.score, options) if row.score else "")
    return Row(
        name=title or first.stem,
        score=row.score,
        performance=row.performance,
        recording=row.recording,
        references=row.references,
        start=row.start,
        end=None if row.seconds is None else row.start + row.seconds,
        note=first.name if title else "",
        licence=row.licence,
    )


def _title(score: Path, options: ScoreOptions) -> str:
    """The score's own; "" for one that cannot be read, which fails its row later."""
    from score_to_audio.comparison.derived import cached_score

    try:
        return cached_score(score, options).parsed.title
    except InputError:
        return ""


def _segments(row: Segments) -> list[Row]:
    from score_to_audio.comparison.datasets import draw_segments, read_dataset

    try:
        items = read_dataset(row.dataset, row.folder, row.split)
        drawn = draw_segments(items, count=row.count, seconds=row.seconds, seed=row.seed)
        if not drawn:
            raise InputError(f"{row.folder}: no performance of {row.dataset} is {row.seconds:g} s long")
    except InputError as error:
        return [Row(row.dataset, failure=str(error))]
    return [
        Row(
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


# ------------------------------------------------------------------------------------------ columns


def _condition(column: ColumnConfig, config: ComparisonConfig, device: str) -> Condition:
    if isinstance(column, Synthesis):
        return _synthesis(column, config, device)
    if isinstance(column, Reconstruction):
        return _reconstruction(column, device)
    return Condition("recording", column.label or "recording", column.description or "The recording itself.")


def _synthesis(column: Synthesis, config: ComparisonConfig, device: str) -> Condition:
    seed = config.seed if column.seed is None else column.seed
    names = [name for name in (column.renderer, column.synthesizer) if name]
    label = column.label or " + ".join(names)
    # Wrong names and options stop the comparison; a missing checkpoint only fails its column.
    if column.renderer:
        registry.parameters("renderer", column.renderer, column.renderer_options)
    registry.parameters("synthesizer", column.synthesizer, column.synthesizer_options)
    key = _slug("-".join([*names, *_differences(column)]) or label)
    try:
        renderer = (
            registry.resolve("renderer", column.renderer, column.renderer_options, seed=seed, device=device)
            if column.renderer
            else None
        )
        synthesizer = registry.resolve(
            "synthesizer", column.synthesizer, column.synthesizer_options, seed=seed, device=device
        )
        prompt = find_prompt(column.prompt) if isinstance(column.prompt, str) else column.prompt
    except InputError as error:
        return Condition(key, label, column.description, failure=str(error))
    licences = {
        one.name: one.spec.weights_licence or one.spec.code_licence for one in (renderer, synthesizer) if one
    }
    method = ResolvedSynthesis(renderer, synthesizer, prompt, config.adjustments)
    return Condition(key, label, column.description, method, licences=licences)


def _differences(column: Synthesis) -> list[str]:
    """What tells two columns of the same models apart."""
    options = {**column.renderer_options, **column.synthesizer_options}
    differences = [f"{name}-{value}" for name, value in sorted(options.items())]
    prompt = column.prompt
    if isinstance(prompt, FirstSeconds):
        differences.append(f"first-{prompt.first_seconds:g}-s")
    elif prompt:
        differences.append(Path(prompt).stem)
    if column.seed is not None:
        differences.append(f"seed-{column.seed}")
    return differences


def _reconstruction(column: Reconstruction, device: str) -> Condition:
    label = column.label or column.codec
    key = _slug(f"codec-{Path(column.codec).stem}")
    known = checkpoints.table().get(column.codec)
    try:
        codec = ResolvedCodec(checkpoints.find(column.codec), registry.resolve_device(device))
    except InputError as error:
        if not known:
            raise
        return Condition(key, label, column.description, failure=str(error))
    licences = {column.codec: known.licence} if known else {}
    return Condition(key, label, column.description, codec, licences=licences)


def _slug(text: str) -> str:
    """A key of letters, digits and dashes; long ones end with a hash of the whole."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "column"
    return slug if len(slug) <= MAX_KEY else f"{slug[:MAX_KEY]}-{sha256(text.encode()).hexdigest()[:8]}"
