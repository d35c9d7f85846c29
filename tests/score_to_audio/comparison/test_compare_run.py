"""Comparisons carried out within this process: cells, references, measures, failures, results on disk."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from score_to_audio.comparison.choices import config_from_choices
from score_to_audio.comparison.config import ComparisonConfig
from score_to_audio.comparison.plan import Models, make_plan
from score_to_audio.comparison.produce import produce
from score_to_audio.comparison.report import text
from score_to_audio.comparison.run import ComparisonResult, carry_out
from score_to_audio.errors import InputError
from score_to_audio.formats.audio import stream_of, write_audio
from score_to_audio.formats.midi import write_performance
from score_to_audio.formats.scores.reader import ScoreOptions, read_score
from score_to_audio.store import Store
from score_to_audio.types import Performance, Waveform
from tests.paths import PROJECT

TRIAL = {"renderer": "trial", "synthesizer": "trial"}
MEASURES = ["levels"]


def run(content: dict[str, Any], store: Store) -> ComparisonResult:
    config = ComparisonConfig.model_validate({"measures": MEASURES} | content)
    return carry_out(make_plan(config, device="cpu"), store)


def section(rows: list[Any], columns: list[Any], **more: Any) -> dict[str, Any]:
    return {"title": "S", "rows": rows, "columns": columns} | more


def scores(place: Path) -> list[dict[str, str]]:
    return [{"score": str(path)} for path in sorted((place / "scores").iterdir())]


def log_of(place: Path, **options: Any) -> dict[str, Any]:
    return {"log": str(place / "log"), **options}


def work_done(place: Path) -> list[str]:
    return sorted((place / "log").read_text().splitlines())


def write_recording(place: Path) -> tuple[Path, Path]:
    """A performance of score-001 and its "recording": the trial synthesizer's sound, a little louder."""
    notes = read_score(place / "scores" / "score-001.musicxml").parsed.notes
    played = Performance(
        notes.onset * 0.5, notes.onset * 0.5 + 0.4, notes.pitch, np.full(4, 64), score_ids=notes.id
    )
    write_performance(played, place / "played.mid")
    time = np.arange(4000) / 8000
    tones = [0.6 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) for pitch in notes.pitch]
    sound = Waveform(np.concatenate(tones).astype(np.float32)[None], 8000)
    write_audio(stream_of(sound), place / "played.wav", format="wav")
    return place / "played.mid", place / "played.wav"


def test_what_columns_share_is_made_once(place: Path, store: Store) -> None:
    options = {"renderer_options": log_of(place), "synthesizer_options": log_of(place)}
    columns = [TRIAL | options, TRIAL | options | {"synthesizer_options": log_of(place, pause=0.01)}]
    result = run({"sections": [section(scores(place)[:1], columns)]}, store)
    assert not result.failures
    done = work_done(place)
    assert sum(line.startswith("rendered") for line in done) == 1
    assert sum(line.startswith("synthesized") for line in done) == 2
    run({"sections": [section(scores(place)[:1], columns)]}, store)
    assert work_done(place) == done


def test_a_failing_cell_carries_its_reason_and_stops_nothing(place: Path, store: Store) -> None:
    (place / "scores" / "score-001.musicxml").write_text("<score-partwise><part-list>")
    missing = {"dataset": "maestro", "folder": str(place / "nothing"), "count": 3}
    rows = [*scores(place), {"performance": str(place / "nowhere.mid")}, missing]
    columns = [TRIAL, {"synthesizer": "midi-valle", "renderer": "trial"}, {"recording": True}]
    result = run({"sections": [section(rows, columns)]}, store)
    failures = {(cell.source.name, cell.condition.key): cell.failure for cell in result.failures}
    assert len(failures) == 5 + 5 + 3  # all of the last two columns, and three rows of the first
    assert "no such folder" in failures["maestro", "trial-trial"]
    assert "score-001.musicxml" in failures["score-001", "trial-trial"]
    assert "no such performance" in failures["nowhere", "trial-trial"]
    assert "models pull midi-valle" in failures["score-000", "trial-midi-valle"]
    assert failures["score-000", "recording"] == "this row has no recording"
    assert len(result.sections[0].cells) == 15
    assert "2 of 5" in text(result)


def test_wrong_names_and_options_are_found_before_any_work(place: Path, store: Store) -> None:
    for column, message in (
        ({"renderer": "trail"}, r"sections\.0\.columns\.0: unknown renderer 'trail'; did you mean 'trial'"),
        (TRIAL | {"renderer_options": {"speed": 1}}, "has no option 'speed'"),
        ({"codec": "piano-encodek"}, "did you mean 'piano-encodec'"),
    ):
        with pytest.raises(InputError, match=message):
            run({"sections": [section(scores(place), [column])]}, store)
    with pytest.raises(InputError, match="no column is called 'x'"):
        run({"sections": [section(scores(place), [TRIAL], reference="x")]}, store)


def test_sounds_are_measured_against_the_recording_of_the_same_performance(place: Path, store: Store) -> None:
    pytest.importorskip("librosa")
    midi, wav = write_recording(place)
    row = {
        "title": "r",
        "score": str(place / "scores" / "score-001.musicxml"),
        "performance": str(midi),
        "recording": str(wav),
    }
    columns = [{"recording": True}, {"synthesizer": "trial", "label": "own"}, TRIAL | {"label": "rendered"}]
    result = run({"measures": ["distance", "expression"], "sections": [section([row], columns)]}, store)
    recording, own, rendered = (cell.values for cell in result.sections[0].cells)
    assert own["chroma_distance"] < 0.2
    assert 0 < own["spectrogram_distance"] < 0.2
    assert "chroma_distance" not in recording  # against itself
    assert "chroma_distance" not in rendered  # another performance, not aligned in time
    assert "human_velocity_correlation" not in own  # the only human is itself
    # With a column as the reference, what plays the same performance is measured against that.
    result = run({"measures": ["distance"], "sections": [section([row], columns, reference="own")]}, store)
    recording, own, rendered = (cell.values for cell in result.sections[0].cells)
    assert recording["chroma_distance"] < 0.2
    assert "chroma_distance" not in own
    assert "chroma_distance" not in rendered


def test_no_two_measures_share_a_key_or_a_label() -> None:
    from score_to_audio.comparison.metrics import MEASURES as GROUPS

    figures = [figure for group in GROUPS.values() for figure in group.figures]
    assert len({figure.key for figure in figures}) == len(figures)
    assert len({figure.label for figure in figures}) == len(figures)


def test_expression_is_held_to_humans(place: Path, store: Store) -> None:
    from score_to_audio import registry, stages

    minuet = PROJECT / "examples" / "scores" / "petzold_minuet_bwv_anh114.musicxml"
    references = []
    for palette in ("baroque", "romantic"):  # who stand for humans here
        prepared = registry.resolve("renderer", "kth-rules", {"palette": palette})
        made = stages.render(minuet, prepared, store, score_options=ScoreOptions())
        references.append(str(store.path(made.artifact)))
    row = {"score": str(minuet), "references": references}
    columns = [{"renderer": name, "synthesizer": "trial"} for name in ("score", "kth-rules")]
    result = run({"measures": ["expression"], "sections": [section([row], columns)]}, store)
    assert result.notices == ()
    plain, rules = (cell.values for cell in result.sections[0].cells)
    assert rules["human_velocity_correlation"] > 0.9 > plain["human_velocity_correlation"]
    assert rules["human_local_beat_period_correlation"] > 0.9 > plain["human_local_beat_period_correlation"]
    assert rules["human_articulation_distance"] < plain["human_articulation_distance"]
    assert 0 <= plain["human_velocity_within"] < rules["human_velocity_within"] <= 1
    # A row that is one of the humans is held to the others.
    own = {"score": str(minuet), "performance": references[0], "references": references}
    result = run(
        {"measures": ["expression"], "sections": [section([own], [{"synthesizer": "trial"}])]}, store
    )
    (values,) = (cell.values for cell in result.sections[0].cells)
    assert values["human_velocity_correlation"] < 0.9999
    assert np.isnan(values["human_velocity_within"])  # one other alone has no spread


def test_the_first_seconds_of_the_recording_can_be_the_prompt(place: Path, store: Store) -> None:
    from score_to_audio.comparison.cells import _own_beginning
    from score_to_audio.comparison.config import FirstSeconds

    midi, wav = write_recording(place)
    plan = make_plan(
        ComparisonConfig.model_validate(
            {
                "sections": [
                    section([{"performance": str(midi), "recording": str(wav), "start": 0.5}], [TRIAL])
                ]
            }
        )
    )
    (source,) = plan.sections[0].sources
    prompt = _own_beginning(source, FirstSeconds(first_seconds=0.75), ScoreOptions(), store)
    assert prompt.audio.duration == pytest.approx(0.75)
    assert prompt.performance is not None
    np.testing.assert_allclose(prompt.performance.onset, [0.0, 0.5], atol=1e-3)


def test_codecs_reconstruct_and_embed(place: Path, store: Store) -> None:
    from tests.synthesizers.midi_valle_checkpoints import write_codec

    codec = str(write_codec(place / "codec.bin").weights)
    _, wav = write_recording(place)
    content = {
        "measures": ["frechet"],
        "embedding": codec,
        "sections": [section([{"recording": str(wav)}], [{"recording": True}, {"codec": codec}])],
    }
    result = run(content, store)
    assert not result.failures
    assert result.notices == ()
    (summary,) = (one for one in result.sections[0].summaries if one.measure == "frechet_distance")
    assert summary.condition == "codec-codec"
    assert summary.mean > 0
    assert result.figures[-1].label.startswith("FAD (")
    without = run(content | {"embedding": "piano-encodec"}, store)
    assert "models pull piano-encodec" in without.notices[0]


def test_what_is_not_installed_is_left_out_and_said(
    place: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from score_to_audio.comparison import metrics as measures

    monkeypatch.setattr(measures, "find_spec", lambda name: None)
    config = ComparisonConfig.model_validate({"sections": [section(scores(place)[:1], [TRIAL])]})
    result = carry_out(make_plan(config), store)
    assert not result.failures
    assert [notice.split(";")[0] for notice in result.notices] == [
        "left out: distance: chroma needs librosa",
        "left out: transcription: transcription needs transkun and mir_eval",
    ]
    assert "pip install 'score-to-audio[evaluation]'" in text(result)


def test_numbers_page_and_listening_test_are_left_on_disk(place: Path, store: Store) -> None:
    columns = [TRIAL, TRIAL | {"synthesizer": "sampled-piano"}]
    result = run({"title": "T", "sections": [section(scores(place), columns)]}, store)
    made = produce(result, place / "out", store, blind="pairs", webmushra=True)
    assert made.page.is_file()
    assert made.summary.startswith("6 of 6 cells made, 0 failed")
    with (place / "out" / "summary.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["measure"] == "loudness"]
    assert [(row["condition"], row["rows"]) for row in rows] == [
        ("trial + trial", "3"),
        ("trial + sampled-piano", "3"),
    ]
    assert float(rows[0]["low"]) < float(rows[0]["mean"]) < float(rows[0]["high"])
    whole = json.loads((place / "out" / "results.json").read_text())
    stages = [step["stage"] for step in whole["sections"][0]["cells"][0]["provenance"]]
    assert stages == ["render", "synthesize"]
    assert (place / "out" / "blind-key.json").is_file()

    import soundfile
    import yaml

    path = place / "out" / "webmushra" / "configs" / "comparison.yaml"
    config = yaml.safe_load(path.read_text())
    _, (order, *trials), finish = config["pages"]
    assert (order, finish["type"], len(trials)) == ("random", "finish", 3)
    for trial in trials:
        stimuli = (trial["reference"], *trial["stimuli"].values())
        infos = [soundfile.info(place / "out" / "webmushra" / stimulus) for stimulus in stimuli]
        assert {info.samplerate for info in infos} == {48_000}
        assert len({info.frames for info in infos}) == 1


def test_titles_cannot_be_formulas(place: Path, store: Store) -> None:
    from score_to_audio.comparison.report import write_results

    rows = [scores(place)[0] | {"title": "=HYPERLINK(1)"}]
    write_results(run({"sections": [section(rows, [TRIAL])]}, store), place / "out")
    assert "'=HYPERLINK" in (place / "out" / "cells.csv").read_text()


def test_lists_of_the_command_line_become_columns(place: Path) -> None:
    midi, wav = write_recording(place)
    config = config_from_choices(
        [str(place / "scores"), str(midi), str(wav)],
        renderers=["score", "kth-rules:palette=romantic:speed=0.9"],
        synthesizers=["trial", "midi-valle"],
        prompts=["none", "first-seconds"],
        codecs=["piano-encodec"],
        recording=True,
    )
    plan = make_plan(config)
    rendered, played = plan.sections
    assert [condition.label for condition in rendered.conditions] == [
        "score + trial",
        "score + midi-valle",
        "score + midi-valle, first-seconds",
        "kth-rules romantic 0.9 + trial",
        "kth-rules romantic 0.9 + midi-valle",
        "kth-rules romantic 0.9 + midi-valle, first-seconds",
    ]
    assert [condition.label for condition in played.conditions] == [
        *("recording", "piano-encodec", "trial", "midi-valle", "midi-valle, first-seconds")
    ]
    assert [source.name for source in rendered.sources] == ["score-000", "score-001", "score-002"]
    assert played.sources[1].performance == midi
    models = rendered.conditions[3].how
    assert isinstance(models, Models)
    assert models.renderer is not None
    assert models.renderer.parameters.model_dump()["speed"] == 0.9
    with pytest.raises(InputError, match="write NAME:KEY=VALUE"):
        config_from_choices([str(midi)], renderers=[], synthesizers=["trial:x"])
    with pytest.raises(InputError, match="name scores"):
        config_from_choices([], renderers=["score"], synthesizers=["trial"])
