# `make` lists the targets. Everything runs in .venv, which `make setup` builds from pyproject.toml and constraints.txt.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := .venv/bin
PREP := $(BIN)/syntaxdiff-prep
EVAL := $(BIN)/syntaxdiff-eval
PARTS := $(wildcard pipeline train eval)
# Without --no-compile pip compiles every module of every package, a minute for what is mostly never imported. Python compiles
# what it does import, once; an environment that forbids it to keep the result would have every command compile torch anew.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE

SIZE ?= smoke

.PHONY: help setup demo study test test-slow test-legacy-grammars check clean
.DELETE_ON_ERROR:

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*  ## /  make \1\t/p' Makefile | expand -t 32

setup: .venv/installed  ## build .venv; does nothing if it is up to date

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[dev,fast]'
	touch $@

demo: setup  ## exercises made, a small model trained on them, and what it solves of others: CPU, minutes
	$(PREP) build --src exercises:1:20000 --tokenizer train:1000 --max-length 128 --validation-size 40 --out demo/shards
	$(PREP) verify demo/shards
	$(PREP) stats demo/shards --plot demo/shards.png
	$(PREP) show demo/shards --index 30
	$(EVAL) masks demo/shards --index 30 --strategy random --strategy ast-token --strategy ast-span --strategy ast-cut --html demo/masks.html
	$(BIN)/deepspeed train/run.py --ds-config examples/ds_one_process.json --config examples/exercises.toml --data demo/shards --out demo/out
	$(EVAL) reconstruct --ckpt demo/out --data demo/shards --samples 40 --mask-rate 0.3 --out demo/reconstruction
	$(EVAL) exercises --ckpt demo/out --gen-length 64 --block-length 8 --threshold 0.98 --trace --out demo/exercises
	$(EVAL) report demo/out demo/reconstruction demo/exercises --replay 1 --html demo/report.html
	$(EVAL) generate --ckpt demo/out --gen-length 64 --block-length 8 --threshold 0.98 --live "Return the largest even number in xs, or None."
	@echo
	@echo 'The table of exercises above says what the model solves of combinations that it never saw: set unseen.'
	@echo 'Open next:'
	@echo '  demo/report.html           the training run, what the model restores, and what it wrote for 400 problems'
	@echo '  demo/masks.html            what the strategies mask of one program, at every mask rate'
	@echo '  demo/out/samples.txt       one program restored, step by step better'
	@echo '  demo/shards.png            lengths, regions and spans of the data set'
	@echo '  docs/data.md               real data: sources, options, rejects'
	@echo '  docs/training.md           real training: GPUs, models, strategies'

study: setup  ## the paper's comparison: SIZE=smoke (15 minutes), cpu, one-gpu or paper; goes on where it was
	$(EVAL) study $(SIZE)

test: setup  ## the tests, without the slow ones (8 to 10 minutes on 2 cores)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

test-slow: setup test-legacy-grammars  ## crash batteries and other long proofs, and the legacy grammars
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

# tree-sitter-languages runs only with a tree-sitter older than the pinned one, hence an environment of its own.
test-legacy-grammars: .venv-legacy/installed  ## the aligner on tree-sitter-languages
	.venv-legacy/bin/pytest tests/pipeline/syntax/test_grammar.py tests/pipeline/syntax/test_alignment.py tests/pipeline/syntax/test_spans.py

.venv-legacy/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-legacy
	grep -v '^tree-sitter==' constraints.txt > .venv-legacy/constraints.txt
	.venv-legacy/bin/python $(PIP_INSTALL) -c .venv-legacy/constraints.txt -e '.[legacy-grammars]' pytest hypothesis
	touch $@

# mypy does not follow the hook by which an editable install maps pipeline/ to syntaxdiff.pipeline, but it follows links.
# It runs beside them, and sed gives its messages the paths that an editor opens.
check: setup  ## ruff and strict mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	rm -rf .venv/mypy && mkdir -p .venv/mypy/syntaxdiff
	ln -s $(PARTS:%=../../../%) .venv/mypy/syntaxdiff/
	ln -s ../../tests ../../tools ../../benchmarks .venv/mypy/
	cd .venv/mypy && MYPYPATH=tests/support:tools:benchmarks ../bin/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache \
		syntaxdiff tests tools benchmarks | sed 's#^syntaxdiff/##'

clean:  ## remove environments, caches and the demo; data/ and out/ stay
	rm -rf .venv .venv-legacy .hypothesis .mypy_cache .pytest_cache .ruff_cache build demo *.egg-info
	find $(PARTS) tests tools benchmarks -name __pycache__ -prune -exec rm -rf {} +
