"""Where the tasks of a batch run: what is said where a library is missing."""

from __future__ import annotations

import sys

import pytest

from score_to_audio.errors import InputError


@pytest.mark.slow  # imports Prefect
@pytest.mark.parametrize("runner", ["ray", "dask"])
def test_a_missing_extra_is_one_sentence(runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.runners import task_runners

    monkeypatch.setitem(sys.modules, f"prefect_{runner}", None)
    message = rf"needs the extra `{runner}`: pip install 'score-to-audio\[{runner}\]'"
    with task_runners(runner, 2) as new_runner, pytest.raises(InputError, match=message):
        new_runner()
