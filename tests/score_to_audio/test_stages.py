"""The stages and the jobs over them, with the built-in baseline models and a store of their own."""

from __future__ import annotations

import errno
import json
import os
import shutil
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field

from score_to_audio import (
    Checkpoint,
    InputFile,
    Parameters,
    Performance,
    Prompt,
    Score,
    Spec,
    Waveform,
    jobs,
    registry,
    stages,
)
from score_to_audio.errors import InputError
from score_to_audio.formats.midi import read_performance
from score_to_audio.registry import ResolvedPlugin
from score_to_audio.settings import Pipeline, PipelineSettings, read_score_options
from score_to_audio.store import Store
from score_to_audio.testing import example_performance, example_score

NO_NOTES = Performance(
    onset=np.zeros(0), offset=np.zeros(0), pitch=np.zeros(0, int), velocity=np.zeros(0, int)
)


class Noise:
    """A synthesizer whose sound its test decides."""

    spec = Spec(name="noise", version="1", summary="noise", parameters=Parameters, uses_seed=True)
    samples: np.ndarray[Any, Any] = np.full((1, 3200), 0.5, np.float32)

    def __init__(
        self, parameters: Parameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None: ...

    def synthesize(self, performance: Performance, *, prompt: Prompt | None, seed: int) -> Waveform:
        return Waveform(self.samples, 32000)


class Failing:
    """A renderer that fails."""

    spec = Spec(name="failing", version="1", summary="fails", parameters=Parameters)

    def __init__(
        self, parameters: Parameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None: ...

    def render(self, score: Score, *, seed: int) -> Performance:
        raise ZeroDivisionError("no\nnotes")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def score(tmp_path: Path) -> Path:
    path = tmp_path / "scores" / "example.musicxml"
    path.parent.mkdir()
    path.write_bytes(example_score().content)
    return path


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The renderer `score`, and a synthesizer that costs nothing."""
    with_noise = _replacing("noise", Noise)
    monkeypatch.setattr(registry, "plugin", with_noise)
    monkeypatch.setattr(registry, "_built", {})
    found = PipelineSettings(renderer="score", synthesizer="noise", seed=5, format=("wav", "ogg")).resolve()
    assert found.synthesizer.seed == 5
    assert found.renderer.seed == 0
    return found


def _replacing(name: str, replacement: type) -> Any:
    original = registry.plugin
    return lambda kind, wanted: replacement if wanted == name else original(kind, wanted)


def test_both_stages_are_made_once(score: Path, pipeline: Pipeline, store: Store, tmp_path: Path) -> None:
    job = jobs.Job(score, "example")
    first, again = (jobs.run(job, pipeline, store, tmp_path / "out") for _ in range(2))
    assert (first.cached, again.cached) == (False, True)
    assert [file.name for file in first.files] == ["example.mid", "example.wav", "example.ogg"]
    assert len(read_performance(first.files[0])) == 24
    assert first.performance
    assert first.audio
    assert store.provenance(first.audio.artifact).parent == first.performance.artifact.key
    assert store.provenance(first.performance.artifact).input == example_score().sha256


def test_what_determines_the_result_determines_the_key(
    score: Path, pipeline: Pipeline, store: Store, tmp_path: Path
) -> None:
    def key(renderer: ResolvedPlugin = pipeline.renderer, **options: Any) -> str:
        chosen = read_score_options(options)
        return stages.render(score, renderer, store, score_options=chosen).artifact.key

    original = key()
    faster = registry.resolve("renderer", "score", {"speed": 2})
    newer = replace(pipeline.renderer, spec=replace(pipeline.renderer.spec, version="99"))
    assert len({original, key(faster), key(newer), key(repeats=False)}) == 4
    copy = tmp_path / "copy.musicxml"
    shutil.copy(score, copy)
    assert stages.render(copy, pipeline.renderer, store, score_options=pipeline.score_options).cached


class FollowsParameters(Parameters):
    source: Annotated[str, InputFile()] = Field("none", description="a file, or none")
    log: str = Field("", description="a file that is not read")


class Follows:
    """A renderer with an option that names a file."""

    spec = Spec(name="follows", version="1", summary="follows a file", parameters=FollowsParameters)

    def __init__(
        self, parameters: Parameters, *, checkpoints: Mapping[str, Checkpoint], device: str
    ) -> None: ...

    def render(self, score: Score, *, seed: int) -> Performance:
        return example_performance()


def test_a_file_named_by_an_option_counts_with_its_content(
    score: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "plugin", _replacing("follows", Follows))
    source = tmp_path / "source.mid"
    source.write_bytes(b"one")
    prepared = registry.resolve("renderer", "follows", {"source": str(source)})
    options = read_score_options({})

    def cached() -> bool:
        return stages.render(score, prepared, store, score_options=options).cached

    assert [cached(), cached()] == [False, True]
    source.write_bytes(b"other")
    assert [cached(), cached()] == [False, True]


def test_a_file_that_no_option_reads_does_not_count(
    score: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "plugin", _replacing("follows", Follows))
    log = tmp_path / "log"
    prepared = registry.resolve("renderer", "follows", {"log": str(log)})
    options = read_score_options({})
    log.write_text("once")
    assert not stages.render(score, prepared, store, score_options=options).cached
    log.write_text("twice")
    assert stages.render(score, prepared, store, score_options=options).cached


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.full((1, 100), np.nan, np.float32), "samples that are not numbers"),
        (np.full((1, 100), np.inf, np.float32), "samples that are not numbers"),
        (np.zeros((1, 100), np.float32), "nothing but silence"),
        (np.zeros((1, 0), np.float32), "nothing but silence"),
    ],
)
def test_sound_that_is_no_sound_is_not_kept(
    samples: Any,
    message: str,
    score: Path,
    pipeline: Pipeline,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Noise, "samples", samples)
    with pytest.raises(stages.StageError, match=f"noise gave {message} for example"):
        jobs.run(jobs.Job(score, "example"), pipeline, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not any(path.name.startswith("audio") for path in store.folder.rglob("*"))


def test_a_failing_model_is_named(score: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "plugin", _replacing("failing", Failing))
    prepared = registry.resolve("renderer", "failing")
    with pytest.raises(
        stages.StageError, match=r"failing failed on .*example\.musicxml \(Zero.*: no notes\)"
    ):
        stages.render(score, prepared, store, score_options=read_score_options({}))


@pytest.mark.parametrize(
    ("gives", "reason"),
    [
        (SystemExit(0), r"failed on .*example\.musicxml \(SystemExit: 0\)"),
        (StopIteration(), r"failed on .*example\.musicxml \(StopIteration: no message\)"),
        (
            ValueError("many words " * 1000),
            r"failed on .*example\.musicxml \(ValueError: many.{,500}…\)",
        ),
        (np.zeros(3), r"gave an object of type ndarray, no performance, for .*example\.musicxml"),
        (NO_NOTES, r"gave no notes for .*example\.musicxml"),
    ],
)
def test_a_renderer_that_gives_no_performance_is_named(
    score: Path, store: Store, monkeypatch: pytest.MonkeyPatch, gives: Any, reason: str
) -> None:
    def render(*_: Any, **__: Any) -> Any:
        if isinstance(gives, BaseException):
            raise gives
        return gives

    monkeypatch.setattr(registry, "plugin", _replacing("failing", Failing))
    monkeypatch.setattr(registry, "_built", {})
    monkeypatch.setattr(Failing, "render", render)
    prepared = registry.resolve("renderer", "failing")
    with pytest.raises(stages.StageError, match=f"^failing {reason}$"):
        stages.render(score, prepared, store, score_options=read_score_options({}))
    assert not list(store.folder.rglob("*.mid"))


def test_a_synthesizer_that_fails_names_the_score_and_not_the_store(
    score: Path, pipeline: Pipeline, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Noise, "samples", None)
    with pytest.raises(stages.StageError, match=r"^noise failed on the example "):
        jobs.run(jobs.Job(score, "the example"), pipeline, store, tmp_path / "out")


def test_delivery_leaves_untouched_copies_alone(
    score: Path, pipeline: Pipeline, store: Store, tmp_path: Path
) -> None:
    made = stages.render(score, pipeline.renderer, store, score_options=pipeline.score_options)
    target = tmp_path / "out" / "x.mid"
    stages.deliver(made.artifact, target, store)
    inode = target.stat().st_ino
    stages.deliver(made.artifact, target, store)
    assert target.stat().st_ino == inode
    target.write_bytes(b"changed")
    stages.deliver(made.artifact, target, store)
    assert target.read_bytes() == store.path(made.artifact).read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["x.mid"]


def test_the_manifest_has_one_line_per_result(
    score: Path, pipeline: Pipeline, store: Store, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    job = jobs.Job(score, "example")
    for outcome in (
        jobs.Outcome(job, error="failed"),
        jobs.run(job, pipeline, store, output),
        jobs.Outcome(jobs.Job(score, "other"), error="no"),
    ):
        with jobs.Recorder(pipeline, store, output) as record:
            record.add(outcome)
    entries = [json.loads(line) for line in (output / jobs.MANIFEST).read_text().splitlines()]
    assert [entry["name"] for entry in entries] == ["example", "other"]
    assert entries[0]["error"] is None
    assert entries[0]["audio"]["provenance"]["seed"] == 5
    assert entries[1]["error"] == "no"


# ---------------------------------------------------------------------------------------------- plan


def test_links_that_a_folder_leaves_out_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("scores/a.mxl", "elsewhere/b.mxl"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "scores" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "scores" / "gone.mid").symlink_to(tmp_path / "nowhere.mid")
    (tmp_path / "scores" / "linked.mxl").symlink_to(tmp_path / "elsewhere" / "b.mxl")
    assert [job.name for job in jobs.plan([tmp_path / "scores"])] == ["a", "linked"]
    assert [message.partition("scores/")[2] for message in caplog.messages] == [
        "more: left out, since it is a link to a folder; name it too to include it",
        "gone.mid: left out, since the link leads nowhere",
    ]


def test_a_plan_expands_folders_and_patterns_and_keeps_names_apart(tmp_path: Path) -> None:
    files = ("a/x.musicxml", "a/x.mxl", "a/deep/y.mid", "b/x.musicxml", "a/readme.txt")
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = {job.name for job in jobs.plan([tmp_path / "a"])}
    assert names == {"x.musicxml", "x.mxl", "deep/y"}
    names = {job.name for job in jobs.plan([str(tmp_path / "*" / "x.musicxml")])}
    assert names == {"a/x", "b/x"}
    names = {job.name for job in jobs.plan([tmp_path / "a/x.musicxml", tmp_path / "b/x.musicxml"])}
    assert names == {"a-x.musicxml", "b-x.musicxml"}
    names = {job.name for job in jobs.plan([str(tmp_path / "a" / "*" / ".." / ".." / "b" / "x.musicxml")])}
    assert names == {"x"}  # not beside the output folder
    with pytest.raises(InputError, match=r"would lie outside the output folder \('\.\./x'\)"):
        jobs.Job(tmp_path / "x.musicxml", "../x")
    twice = jobs.plan([tmp_path / "a/x.mxl", tmp_path / "a/x.mxl"])
    assert twice == [jobs.Job(tmp_path / "a/x.mxl", "x")]


def test_a_plan_leaves_out_what_an_earlier_run_wrote(score: Path, pipeline: Pipeline, store: Store) -> None:
    plan = jobs.plan([score.parent])
    with jobs.Recorder(pipeline, store, score.parent) as record:
        record.add(jobs.run(plan[0], pipeline, store, score.parent))
    assert score.with_suffix(".mid").exists()
    assert jobs.plan([score.parent]) == plan


def test_paths_that_lead_to_no_score_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scores in this folder"):
        jobs.plan([tmp_path])
    with pytest.raises(InputError, match="the pattern matches no file"):
        jobs.plan([tmp_path / "*.mxl"])


def test_names_differ_also_where_the_file_system_ignores_case(tmp_path: Path) -> None:
    for name in ("Fugue.mxl", "fugue.mxl", "\u00e9.mxl", "e\u0301.mxl"):
        (tmp_path / name).touch()
    names = [job.name for job in jobs.plan([tmp_path])]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == 4, names


@pytest.mark.parametrize("line", ['{"audio_filepath": "x.wav"}', "garbage", '{"name": "x", "files": 5}'])
def test_a_manifest_of_somebody_else_beside_the_scores_is_none_of_our_business(
    score: Path, line: str
) -> None:
    (score.parent / "manifest.jsonl").write_text(line + "\n")
    assert [job.score for job in jobs.plan([score.parent])] == [score]


def test_a_folder_that_cannot_be_read_is_named(
    score: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed = score.parent / "closed"
    closed.mkdir()
    scandir = os.scandir

    def guarded(path: Any) -> Any:
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(closed))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert [job.score for job in jobs.plan([score.parent])] == [score]
    assert "closed: left out, since this folder cannot be read (Permission denied)" in caplog.text
    with pytest.raises(InputError, match=r"closed: cannot be read \(Permission denied\)"):
        jobs.plan([closed])


def test_a_path_that_may_not_be_looked_at_is_bad_input(score: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(InputError, match=r"example\.musicxml: cannot be read \(Permission denied\)"):
        jobs.plan([score])


def test_an_endless_score_is_recorded_without_reading_it(
    pipeline: Pipeline, store: Store, tmp_path: Path
) -> None:
    job = jobs.Job(Path("/dev/zero"), "zero")
    entry = jobs.Recorder(pipeline, store, tmp_path).add(jobs.Outcome(job, error="not a regular file"))
    assert entry["input"] is None


def test_names_that_are_not_in_utf_8_are_refused_before_any_work(score: Path) -> None:
    for name in (b"f\xfcr", b"na\xefve"):
        shutil.copy(score, score.parent / os.fsdecode(name + b".mxl"))
    with pytest.raises(InputError, match=r"f\\xfcr.mxl: the name is not in UTF-8 \(nor are 1 more\)"):
        jobs.plan([score.parent])


# ------------------------------------------------------------------------------------- lossless sound


def test_sound_is_kept_as_flac_and_delivered_as_wav_with_the_same_samples(
    score: Path, pipeline: Pipeline, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    random = np.random.default_rng(0)
    sound = random.uniform(-1.1, 1.1, (1, 100_000)).astype(np.float32)
    monkeypatch.setattr(Noise, "samples", sound)
    pipeline = replace(pipeline, formats=("wav", "flac"), loudness=None)
    outcome = jobs.run(jobs.Job(score, "one"), pipeline, store, tmp_path / "out")
    _, wav, flac = outcome.files
    soundfile.write(tmp_path / "plain.wav", sound.T, 32000, "PCM_24")  # libsndfile's own rounding
    assert wav.read_bytes() == (tmp_path / "plain.wav").read_bytes()
    np.testing.assert_array_equal(*(soundfile.read(file, dtype="int32")[0] for file in (wav, flac)))
    assert {path.suffix for path in store.folder.rglob("audio.*")} == {".flac"}


def test_a_delivered_wav_is_known_again_and_edits_stay_outside(
    score: Path, pipeline: Pipeline, store: Store, tmp_path: Path
) -> None:
    job = jobs.Job(score, "example")
    _, wav, _ = jobs.run(job, pipeline, store, tmp_path / "out").files
    written, inode = wav.read_bytes(), wav.stat().st_ino
    jobs.run(job, pipeline, store, tmp_path / "out")
    assert wav.stat().st_ino == inode  # not written again
    (tmp_path / "out" / "manifest.jsonl").unlink(missing_ok=True)
    assert jobs.select([job.score], pipeline, store, tmp_path / "out")
    wav.write_bytes(written[:-3] + b"abc")
    jobs.run(job, pipeline, store, tmp_path / "out")
    assert wav.read_bytes() == written
    wav.write_bytes(written[:-3] + b"abc")
    with pytest.raises(InputError, match="was not written by score-to-audio"):
        jobs.select([job.score], pipeline, store, tmp_path / "out")


def test_wav_files_of_an_older_store_are_used(
    score: Path, pipeline: Pipeline, store: Store, tmp_path: Path
) -> None:
    """Under the key of today's FLAC, as an earlier version left it."""
    import soundfile

    pipeline, job = replace(pipeline, formats=("flac",)), jobs.Job(score, "one")
    outcome = jobs.run(job, pipeline, Store(tmp_path / "new"), tmp_path / "new-out")
    assert outcome.audio
    new = outcome.audio.artifact

    def as_wav(path: Path) -> None:
        soundfile.write(path, soundfile.read(tmp_path / "new" / new.path)[0], 32000, "PCM_24")

    provenance = Store(tmp_path / "new").provenance(new)
    store.get_or_make(new.key, name="audio.wav", media_type="audio/wav", provenance=provenance, make=as_wav)
    again = jobs.run(job, pipeline, store, tmp_path / "out")
    assert again.audio
    assert again.audio.cached
    samples = [soundfile.read(one.files[1], dtype="int32")[0] for one in (outcome, again)]
    np.testing.assert_array_equal(*samples)


def test_sixteen_bits_take_no_more_room_in_24_bit_flac(tmp_path: Path) -> None:
    import soundfile

    from score_to_audio.formats.audio import stream_of, write_audio

    time = np.arange(96_000) / 32000
    rough = np.rint(np.sin(2000 * time) * 2**14) / 2**15
    write_audio(
        stream_of(Waveform(rough[None].astype(np.float32), 32000)), tmp_path / "24.flac", format="flac"
    )
    soundfile.write(tmp_path / "16.flac", rough, 32000, "PCM_16")
    sizes = [(tmp_path / f"{bits}.flac").stat().st_size for bits in (16, 24)]
    assert sizes[1] < 1.02 * sizes[0]
