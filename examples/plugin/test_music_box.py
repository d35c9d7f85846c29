import pytest

from score_to_audio.testing import renderer_checks, synthesizer_checks

CHECKS = renderer_checks("metronome") + synthesizer_checks("music-box")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check()
