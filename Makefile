# `make course` is the first thing to type; `make test` the second. Both set up all they need.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed
# The site needs no TensorFlow, and its environment is a tenth as large.
SITE   := .venv-site

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: course notebooks pair test lint site report bench break submission score clean

course: $(READY)  ## environment, images, all notebooks in the quick profile, figures into build/
	COURSE_PROFILE=quick $(BIN)/python -m helpers notebooks run

notebooks: $(READY)  ## all notebooks in the full profile, outputs stored in notebooks/
	COURSE_PROFILE=full $(BIN)/python -m helpers notebooks store

pair: $(READY)  ## every .ipynb made anew from its .py
	$(BIN)/python -m helpers notebooks pair

# Without a mirror the tests use synthetic cells: a test never downloads.
test: $(READY) lint  ## unit tests, then every notebook through nbval, quick profile
	COURSE_PROFILE=quick $(TEST_SOURCE) $(BIN)/python -m pytest $(TWO) $(TESTS)
	COURSE_PROFILE=quick TQDM_DISABLE=1 $(TEST_SOURCE) $(BIN)/python -m pytest $(TWO) --nbval \
		--nbval-current-env --nbval-cell-timeout=600 --durations=10 "notebooks/$$NOTEBOOK"

TESTS       ?= tests
# Two files at a time; what a file prepares is prepared once.
TWO         := --numprocesses 2 --dist loadfile
TEST_SOURCE := $(if $(BLOODCELLS_MIRROR)$(BLOODCELLS_SOURCE),,BLOODCELLS_SOURCE=synthetic)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

site: $(SITE)/.installed  ## lessons with their stored outputs, solutions, quizzes, pages: build/site/
	rm -rf build/site
	$(SITE)/bin/sphinx-build --fail-on-warning --keep-going --quiet --doctree-dir build/site-cache \
		--conf-dir docs/site . build/site
	@echo "Open build/site/index.html"

report: $(READY)  ## tables, figures and report/report.pdf, from the records in report/
	$(BIN)/python -m helpers report

break: $(READY)  ## the page on which two networks are broken in the browser, into build/break/; needs npm
	@$(BIN)/python -c 'import onnx, onnxruntime' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[browser]"
	$(BIN)/python -m helpers browser

bench: $(READY)  ## two ways of doing a thing, compared in one run
	$(BIN)/python -m helpers measure ways

submission: $(READY)  ## submission.zip from the released model, or from EXPERIMENT=NAME, trained if need be
	COURSE_PROFILE=$${COURSE_PROFILE:-full} $(BIN)/python -m helpers submission \
		$${EXPERIMENT:+"$$EXPERIMENT"} --views "$$VIEWS"

# Empty: the released model, without any training or photographs.
EXPERIMENT ?=
# 1, or 8: every image also turned and mirrored, the probabilities averaged.
VIEWS ?= 8

score: $(READY)  ## what SUBMISSION=submission.zip, yours or a friend's, would have reached
	COURSE_PROFILE=$${COURSE_PROFILE:-full} $(BIN)/python -m helpers score "$$SUBMISSION" \
		$${IMAGES:+--images "$$IMAGES"} --minutes "$$MINUTES"

SUBMISSION ?= submission.zip
# Empty: all; or so many of each set.
IMAGES ?=
MINUTES ?= 10
# Read by the shell as they are, whatever signs are in them.
export EXPERIMENT VIEWS SUBMISSION IMAGES MINUTES

clean:  ## everything a run leaves behind; data/ is kept
	rm -rf build

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "This course needs Python 3.11, 3.12 or 3.13 (TensorFlow has no wheels for Python %d.%d): run `make PYTHON=python3.12 course`." % v)'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing TensorFlow and the rest (about 1 GB to download, 3.2 GB on disk): 3 minutes on a fast line."
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(SITE)/.installed: docs/site/requirements.txt
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -r docs/site/requirements.txt
	@touch $@
