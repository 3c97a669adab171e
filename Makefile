# A virtual environment in .venv is made on first use and again whenever pyproject.toml changes.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
# One unit of work after the other, in the order of `tests/conftest.py`.
SPREAD = -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

.PHONY: quickstart test fast slow vllm families lowest lint format clean

quickstart: .venv/.installed  ## train a small vision-language model by MSSR, and show what it learned
	$(BIN)/mmr1 quickstart

test: .venv/.installed-dev  ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD)

fast: .venv/.installed-dev  ## the tests of less than ten seconds each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD) -m "not slow"

slow: .venv/.installed-dev  ## the others: several processes, kill and resume, end to end
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD) -m slow

vllm: .venv-vllm/.installed  ## the tests with a real vLLM, on a CPU in an environment of their own (3.8 GB)
	OMP_NUM_THREADS=1 .venv-vllm/bin/python -m pytest tests/vllm_engine

families: .venv/.installed-dev  ## write docs/families.md from what the tests find
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m fixtures.family_page

lowest:  ## by hand, needs uv: contract tests and a short run on the lowest versions admitted; TORCH=2.13.0 for another torch
	uv pip compile --quiet --resolution lowest-direct --extra test pyproject.toml \
		| sed 's/^torch==.*/$(if $(TORCH),torch==$(TORCH),&)/' > .venv-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --constraint .venv-lowest.txt --editable ".[test]"
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest tests/contract
	.venv-lowest/bin/mmr1 mssr --config figures/mssr --model_name_or_path figures/tiny --max_steps 4 \
		--output_dir .venv-lowest/run-$$(date +%s)

# An environment that sees the packages of .venv behind its own.
contract: .venv/.installed-dev  ## the contract tests against another TRL: make contract TRL=1.17.0, or TRL=../trl
	$(BIN)/python -m venv --clear .venv-contract
	$(BIN)/python -c "import site; print(f'import site; site.addsitedir({site.getsitepackages()[0]!r})')" \
	  > $$(.venv-contract/bin/python -c "import site; print(site.getsitepackages()[0])")/behind.pth
	.venv-contract/bin/python -m pip install --quiet $(if $(wildcard $(TRL)/.),$(TRL),trl==$(TRL))
	OMP_NUM_THREADS=1 .venv-contract/bin/python -m pytest -q --tb=short tests/contract

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-vllm .venv-contract .venv-lowest .venv-lowest.txt .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'mmr1-trl needs Python 3.11 or newer; make PYTHON=...')"
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

.venv-vllm/.installed: tests/vllm_engine/make_environment.py pyproject.toml
	$(PYTHON) tests/vllm_engine/make_environment.py .venv-vllm
	touch $@
