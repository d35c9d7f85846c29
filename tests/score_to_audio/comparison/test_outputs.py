"""What a comparison leaves on disk."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import soundfile
import yaml

from score_to_audio.comparison.outputs import check_output, write_outputs
from score_to_audio.comparison.run import run_comparison
from score_to_audio.errors import InputError
from score_to_audio.store import Store
from tests.score_to_audio.comparison.trial_comparisons import TRIAL, plan_of, run, scores


def test_numbers_page_and_listening_tests(place: Path, store: Store) -> None:
    columns = [TRIAL, TRIAL | {"synthesizer": "sampled-piano"}]
    result = run(store, scores(place), columns, title="T")
    outputs = write_outputs(result, place / "out", store, blind="pairs", webmushra=True)
    assert outputs.page.is_file()
    assert outputs.summary.startswith("6 of 6 cells made, 0 failed")
    with (place / "out" / "summary.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["measure"] == "loudness"]
    assert [(row["condition"], row["rows"]) for row in rows] == [
        ("trial + trial", "3"),
        ("trial + sampled-piano", "3"),
    ]
    assert float(rows[0]["mean"]) < 0
    assert rows[0]["low"] == rows[0]["high"] == ""  # of three rows there is no interval
    whole = json.loads((place / "out" / "results.json").read_text())
    stages = [step["stage"] for step in whole["sections"][0]["cells"][0]["provenance"]]
    assert stages == ["render", "synthesize"]
    assert (place / "out" / "blind-key.json").is_file()

    config = yaml.safe_load((place / "out" / "webmushra" / "configs" / "comparison.yaml").read_text())
    _, (order, *trials), finish = config["pages"]
    assert (order, finish["type"], len(trials)) == ("random", "finish", 3)
    for trial in trials:
        stimuli = (trial["reference"], *trial["stimuli"].values())
        infos = [soundfile.info(place / "out" / "webmushra" / stimulus) for stimulus in stimuli]
        assert {info.samplerate for info in infos} == {48_000}
        assert len({info.frames for info in infos}) == 1


def test_titles_cannot_be_formulas(place: Path, store: Store) -> None:
    rows = [scores(place)[0] | {"title": title} for title in ("=HYPERLINK(1)", "-1+cmd")]
    write_outputs(run(store, rows, [TRIAL]), place / "out", store)
    with (place / "out" / "cells.csv").open(newline="") as lines:
        assert {row["row"] for row in csv.DictReader(lines)} == {"'=HYPERLINK(1)", "'-1+cmd"}


def test_the_users_files_are_refused_before_any_work(place: Path, store: Store) -> None:
    plan = plan_of(scores(place)[:1], [TRIAL])
    out = place / "out"
    check_output(out, plan, store)
    write_outputs(run_comparison(plan, store), out, store)
    check_output(out, plan, store)  # ours
    (out / "cells.csv").write_text("my own notes")
    with pytest.raises(InputError, match=r"cells\.csv: this file exists and was not written by"):
        check_output(out, plan, store)
    (place / "mine" / "page").mkdir(parents=True)
    (place / "mine" / "page" / "diary.txt").write_text("precious")
    with pytest.raises(InputError, match="holds something else"):
        check_output(place / "mine", plan, store)
