# The two commands are `make handbook` and `make test`; each does its own set-up first.
PYTHON ?= python3
SETUP = $(PYTHON) offline_render/bootstrap.py
RUN = .venv/bin/python
# `make test` shares the test files out among so many processes.
WORKERS ?= 2

.PHONY: help handbook quarto test test-environment preview bench bench-huge bench-peers bench-pages setup lint lock clean distclean

help: ## say what each target does
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 16

handbook: ## set up and build the whole book: _book/index.html and the PDF beside it
	@$(SETUP) handbook && $(RUN) -m offline_render build

quarto: ## build the book with the pinned Quarto, installed into .venv if it isn't there yet
	@$(SETUP) handbook && $(RUN) -m offline_render build --quarto

test: ## set up and run every test, in two processes unless WORKERS=1 or another number says so
	@$(SETUP) test && $(RUN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests

test-environment: ## make an environment as environment.yml does, newest versions and no lock, and run every chapter in it
	@$(SETUP) test && $(RUN) -m tests.environment

preview: ## show the book in a browser and rebuild it whenever a chapter is saved
	@$(SETUP) handbook && $(RUN) -m offline_render preview

bench: ## time a cold build, the rebuild after an edit, the estimator beside lme4, and 1e8 rows on disk
	@$(SETUP) handbook && $(RUN) -m offline_render bench
	@PYTHONPATH=. $(RUN) benchmarks/run.py --quick --out .handbook/bench-quick.json 2>/dev/null && PYTHONPATH=. $(RUN) benchmarks/bootstrap.py
	@PYTHONPATH=. $(RUN) benchmarks/larger_than_memory.py && PYTHONPATH=. $(RUN) benchmarks/three_levels_on_disk.py

bench-huge: ## a random slope on 1e9 rows, 20 GB of Parquet made and removed
	@$(SETUP) handbook && PYTHONPATH=. $(RUN) benchmarks/larger_than_memory.py --rows 1e9 --groups 1e6

bench-peers: ## time the estimator beside lme4, statsmodels and compiled packages, up to a million rows
	@$(SETUP) handbook && $(PYTHON) -m venv .handbook/bench && .handbook/bench/bin/python -m pip install --quiet -r requirements.lock && .handbook/bench/bin/python -m pip install --quiet -r benchmarks/requirements.txt
	@PYTHONPATH=. .handbook/bench/bin/python benchmarks/run.py --limit 180 --out .handbook/bench-peers.json

bench-pages: ## time every page of the built book in a browser on a processor four times slower
	@$(SETUP) test && $(RUN) benchmarks/pages.py

setup: ## set up again, with another try at what could not be installed before
	@$(SETUP) test --again

lint: ## check style and types
	@$(SETUP) handbook && $(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m mypy

lock: ## pin the newest packages that pyproject.toml allows in requirements.lock
	@$(SETUP) handbook && $(RUN) -m pip install --quiet uv && $(RUN) -m uv pip compile --quiet --upgrade pyproject.toml -o requirements.lock

clean: ## remove the built book and every cache, but not the set-up
	@rm -rf _book .handbook dist .pytest_cache .mypy_cache .ruff_cache .hypothesis && find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## remove the set-up as well
	@rm -rf .venv
