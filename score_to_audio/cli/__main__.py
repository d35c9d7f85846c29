"""``python -m score_to_audio.cli``."""

from score_to_audio.cli.main import main

main()
