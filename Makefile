# Every target sets up .venv by itself and is quick when it is already there.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
DEV_READY := .venv/ready-dev
DOCS_READY := .venv/ready-docs

.PHONY: quickstart test lint bench samples docs pictures clean

# What a run needs, and nothing else.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing what a run needs; torch is large"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]'
	touch $(READY)

$(DEV_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps reasoning-gym
	touch $(DEV_READY)

quickstart: $(READY)
	$(BIN)/hrm quickstart

test: lint
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/hrm bench quickstart

# The output that docs/ shows, written anew; CONCEPT_ARC names the folder of ConceptARC.
samples: $(READY)
	$(BIN)/python docs/_samples.py

$(DOCS_READY): $(DEV_READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $(DOCS_READY)

# The site, in site/; a warning is an error.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The pictures of the studio in docs/images, of a folder with a scored run: make pictures RUNS=runs
pictures: $(DEV_READY)
	$(BIN)/python docs/_pictures.py $(or $(RUNS),runs)

clean:
	rm -rf .venv dist build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
