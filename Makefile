PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test fast lint format clean

demo: .venv/ready
	$(BIN)/score-to-audio run examples/scores --output demo --format wav --format ogg --set synthesizer.normalize=true
	@echo "Done: audio (WAV, OGG) and performances (MIDI) are in $(CURDIR)/demo"

test: .venv/ready-to-test
	$(BIN)/python -m pytest -n 2 --dist loadgroup

fast: .venv/ready-to-test
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow and not prefect"

lint: .venv/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready-to-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/ready: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/ready-to-test: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@ .venv/ready

clean:
	rm -rf .venv demo
