PYTHON ?= python3
BIN := .venv/bin

# The versions that everything was tested with; `make LOCKED= ...` takes the newest that pyproject.toml allows.
LOCKED := --constraint requirements/constraints.txt

.PHONY: demo demo-compare demo-page test test-all fast coverage lint format lock licences sbom audit clean

demo: .venv/ready
	$(BIN)/score-to-audio run examples/scores --output demo --format wav --format ogg
	@echo "Done: audio (WAV, OGG) and performances (MIDI) are in $(CURDIR)/demo"

demo-compare: .venv/ready
	$(BIN)/python -m pip install --quiet $(LOCKED) --editable ".[listening]"  # engraves the scores
	$(BIN)/score-to-audio compare examples/compare_bundled.yaml --output demo/compare
	@echo "Done: open $(CURDIR)/demo/compare/page/index.html"

HALL := --set synthesizer.room=hall

demo-page: .venv/ready
	$(BIN)/python -m pip install --quiet $(LOCKED) --editable ".[listening,evaluation]"
	$(BIN)/score-to-audio run examples/scores --measures 1-8 $(HALL) --output demo/recordings
	$(BIN)/score-to-audio run examples/scores --measures 9-32 $(HALL) --output demo/lessons
	$(BIN)/score-to-audio train piano-encodec --audio demo/lessons --config examples/miniature_codec.toml --output demo/codec
	$(BIN)/score-to-audio compare examples/miniature_page.yaml --output demo/page
	@echo "Done: open $(CURDIR)/demo/page/page/index.html"

# Tests of a file share a process, and what they need is made once; with pytest 9.2, xdist 3.8 loses groups.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/ready-to-test
	$(PYTEST) -m "not kills and not fuzz"

test-all: .venv/ready-to-test  # also kills processes at random moments, and damages thousands of files
	$(PYTEST)

fast: .venv/ready-to-test
	$(PYTEST) -m "not slow and not prefect and not fuzz"

coverage: .venv/ready-to-test
	$(PYTEST) -m "not kills and not fuzz" --cov --cov-report=term:skip-covered --cov-report=html:dist/coverage

lint: .venv/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: .venv/ready-to-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/ready: pyproject.toml requirements/constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet $(LOCKED) --editable .
	@touch $@

.venv/ready-to-test: pyproject.toml requirements/constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet $(LOCKED) --editable ".[dev]"
	@touch $@ .venv/ready

lock: .venv/ready-to-test .venv-tools/ready
	.venv-tools/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade \
		--no-header --no-annotate --no-emit-index-url pyproject.toml --output-file requirements/constraints.txt

licences: .venv/ready-to-test
	$(BIN)/python tools/licences.py

sbom: .venv/ready-to-test .venv-tools/ready
	mkdir -p dist
	.venv-tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file dist/sbom.cdx.json $(BIN)/python

audit: .venv-tools/ready
	.venv-tools/bin/pip-audit --strict --no-deps --disable-pip --requirement requirements/constraints.txt

.venv-tools/ready:
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/python -m pip install --quiet uv cyclonedx-bom pip-audit
	@touch $@

clean:
	rm -rf .venv .venv-tools demo dist
