# Every target works from a fresh clone and from whatever an earlier run left: Python >= 3.10, a C compiler, make.
# All is installed into .venv; the package itself editable, so what is tested is this tree.

PYTHON ?= python3
# The PyTorch of the bridge tests. On Linux, PyPI's default build brings gigabytes of CUDA libraries along.
TORCH ?= torch==2.13.0

VENV := .venv
PY := $(VENV)/bin/python
# An editable install stays valid until one of these changes, or the extension goes missing.
INPUTS := Makefile pyproject.toml setup.py $(wildcard fastloss/*.pyx fastloss/*.pxi fastloss/*.pxd) fastloss/_version.py \
	$(shell find csrc -type f)
BUILD_REQUIRES := $(shell sed -n 's/^requires = \[\(.*\)\]/\1/p' pyproject.toml | tr -d ,)
# Another Python, or a copied tree, makes another environment.
VERSION_OF = $(shell $(1) -c 'import sys; print(sys.version.replace("\n", ""))' 2>/dev/null)
MADE_BY := $(call VERSION_OF,$(PYTHON)) in $(CURDIR)

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-bridges lint format docs examples bench sanitize clean again

help:
	@echo 'make demo          build, then evaluate a language model of this machine'"'"'s own Python library'
	@echo 'make test          build and run the test-suite'
	@echo 'make test-bridges  the tests against PyTorch, JAX, Keras, scikit-learn, ..., which it installs'
	@echo 'make lint          ruff, mypy, clang-format'
	@echo 'make format        what ruff and clang-format would change, changed'
	@echo 'make docs          docs/losses.md, made anew from the docstrings'
	@echo 'make examples      run every script of examples/; pictures in examples/out'
	@echo 'make bench         time every loss against its limits and its peers (ARGS=... is passed on)'
	@echo 'make sanitize      the test-suite under the address and undefined-behaviour sanitizers (gcc)'
	@echo 'make clean         remove all that the others made'

demo: $(VENV)/with-cli
	$(VENV)/bin/fastloss demo

test: $(VENV)/with-test
	$(PY) -m pytest -n auto --ignore=tests/bridges

test-bridges: $(VENV)/with-test,bridges
	FASTLOSS_BRIDGES=1 $(PY) -m pytest -n auto tests/bridges

lint: $(VENV)/with-lint
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	find csrc -name '*.[ch]' | xargs $(VENV)/bin/clang-format --dry-run --Werror

format: $(VENV)/with-lint
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	find csrc -name '*.[ch]' | xargs $(VENV)/bin/clang-format -i

docs: $(VENV)/with-test
	$(PY) docs/make_losses.py

examples: $(VENV)/with-test,bridges
	for script in examples/[!_]*.py; do echo "$$script"; $(PY) "$$script" || exit 1; done

bench: $(VENV)/with-bench
	$(PY) -m bench $(ARGS)

# A copy of the tree, built with the sanitizers and first on the path of the tests and of all they start. C++ extensions
# of other packages need libstdc++ loaded before the sanitizer catches what they throw.
SANITIZED := build/sanitize
RUNTIMES = $(shell $(CC) -print-file-name=libasan.so) $(shell $(CC) -print-file-name=libstdc++.so.6)
sanitize: $(VENV)/with-test
	mkdir -p $(SANITIZED)
	find $(SANITIZED) -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
	tar -cf - --exclude=./.git --exclude='./.venv*' --exclude=./build --exclude='*.so' . | tar -xf - -C $(SANITIZED)
	cd $(SANITIZED) && FASTLOSS_SANITIZE=1 '$(CURDIR)/$(PY)' setup.py --quiet build_ext --inplace
	cd $(SANITIZED) && FASTLOSS_SANITIZE=1 PYTHONPATH='$(CURDIR)/$(SANITIZED)' PYTHONMALLOC=malloc \
		ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
		LD_PRELOAD='$(RUNTIMES)' '$(CURDIR)/$(PY)' -m pytest --ignore=tests/bridges

clean:
	rm -rf $(VENV) build dist *.egg-info .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf fastloss/*.so examples/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

again:
ifneq ($(MADE_BY) $(MADE_BY),$(shell cat $(VENV)/made-by 2>/dev/null) $(call VERSION_OF,$(PY)) in $(CURDIR))
$(VENV)/made-by: again
endif
$(VENV)/made-by:
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet $(BUILD_REQUIRES)
	@echo '$(MADE_BY)' >$@

# with-cli, with-test,bridges, ...: the package and these extras of pyproject.toml. An install that is cut off leaves no
# made-by behind, so that the next run starts with a new environment.
$(VENV)/with-%: $(VENV)/made-by $(INPUTS) $(if $(wildcard fastloss/_core*.so),,again)
	@echo 'Building fastloss and installing it with [$*]: the first time takes a minute or two'
	@mv $(VENV)/made-by $(VENV)/installing
	@$(PY) -m pip install --quiet --no-build-isolation $(if $(findstring bridges,$*),'$(TORCH)') -e '.[$*]'; \
		status=$$?; mv $(VENV)/installing $(VENV)/made-by; exit $$status
	@touch $@
