"""The conformance suite, on kth-rules."""

from __future__ import annotations

import pytest

from score_to_audio.testing import renderer_checks


@pytest.mark.parametrize("check", renderer_checks("kth-rules"), ids=lambda check: check.__name__)
def test_conformance(check):
    check()
