# The words of this project; `make help` says them.
#
# Nothing is touched outside the checkout: Python packages go to .venv, what cargo builds to target. What is set up and
# built is noted in .venv/done, so that nothing is done twice.

# A Python of your choice, as a name or a path: make test PYTHON=python3.13
PYTHON ?=
# How many messages the demo retrieves, where its own 10,000 are too many.
MESSAGES ?=
DEMO_ARGS ?= $(if $(MESSAGES),--messages $(MESSAGES))
PYTEST_ARGS ?=
BENCH_ARGS ?=
# How many stories of the simulation are played; or which one is told.
SEEDS ?= 10000
SEED ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# What can be done side by side here would only share the same processors, and cargo's lock.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

DONE := .venv/done
IN_VENV := .venv/bin/python
MANUAL := pop3fast.data/data/share/man/man1/pop3fast.1
PIP_INSTALL := $(IN_VENV) -m pip install --quiet --disable-pip-version-check
EXTENSION := python/pop3fast/_framing.abi3.so

# maturin installs into the environment that these name, and refuses to choose when there are two.
export VIRTUAL_ENV := $(CURDIR)/.venv
unexport CONDA_PREFIX
# What another environment needs in its Python does not belong in this one.
unexport PYTHONHOME PYTHONPATH
# Where rustup puts cargo, which a shell that was there before does not know yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

say = echo "pop3fast: $(1)"
# Runs a command, and shows what it said only when it failed.
quietly = { $(1) >.venv/log 2>&1 || { cat .venv/log >&2; false; }; }

.PHONY: help demo test test-busy lint bench bench-servers bench-fetch bench-line bench-anywhere bench-mailboxes bench-fleet kills simulate mutants fuzz docs man screencast dist prove-packages prove-newest prove-newcomer ci clean rust rust-lint find-python FORCE

help:
	@echo "make demo    retrieve a mailbox with poplib and with pop3fast, check every message, compare  (MESSAGES=10000)"
	@echo "make test    every test, of Rust and of Python  (PYTEST_ARGS=...)"
	@echo "make test-busy  the same, with four busy loops beside them"
	@echo "make lint    format, lints and types of both languages"
	@echo "make bench   the benchmarks; the first row is always poplib  (BENCH_ARGS='--write docs/performance.md')"
	@echo "make bench-servers  unpack popa3d, Courier, Cyrus and Postfix for them and for tests, from Debian's packages into .venv"
	@echo "make bench-fetch  pop3fast fetch beside other programs, from Dovecot to the disk  (BENCH_ARGS='--write docs/performance.md')"
	@echo "make bench-line  over a line: its rate, several sessions, programs as they are with \$$POP3FAST_READ_AHEAD  (BENCH_ARGS=--write)"
	@echo "make kills   kill a program with a handler at a thousand random moments  (KILLS=10000)"
	@echo "make bench-anywhere  delivery to a function, a program, LMTP and IMAP beside other programs"
	@echo "make bench-mailboxes  1,000 far mailboxes with nothing new, on an event loop and by threads"
	@echo "make bench-fleet  10,000 mailboxes with nothing new, by a worker of a fleet and by threads"
	@echo "make simulate  fetches in a simulated world where all goes wrong; the promises are checked  (SEEDS=10000, SEED=123)"
	@echo "make docs    the documentation as pages, in docs/_build"
	@echo "make screencast  draw a fetch as a person sees it, for the README"
	@echo "make man     the manual page, from what --help says; the wheel installs it"
	@echo "make dist    the wheels and the source, and what an index looks at, in dist"
	@echo "make prove-packages  what dist has made: built without a network, installed into every CPython at hand"
	@echo "make prove-newest  the same in the newest CPythons of Debian, and in one without a global lock"
	@echo "make prove-newcomer  a bare Debian stable: the two commands of the README, then the quick starts with the wheel only"
	@echo "make mutants  plant small faults and see which the tests do not find  (MUTANTS='_pipeline fetch/_plan', MUTANTS=rust)"
	@echo "make fuzz    octets that nobody thought of, for the core  (FUZZ_SECONDS=60 for each target)"
	@echo "make ci      all of it, the demo and the benchmarks in small"
	@echo "make clean   take away everything that these have made"
	@echo
	@echo "Each sets up what it needs in .venv. PYTHON=... chooses the interpreter."

demo: $(DONE)/built
	@$(IN_VENV) -m pop3fast demo $(DEMO_ARGS)

test: rust $(DONE)/built $(DONE)/dev
	cargo test --locked --quiet
	$(IN_VENV) -m pytest $(PYTEST_ARGS)

# What depends on how fast the machine is fails here.
test-busy: rust $(DONE)/built $(DONE)/dev
	$(IN_VENV) tests/under_load.py $(MAKE) test

lint: rust-lint $(DONE)/built $(DONE)/dev
	cargo fmt --check
	cargo clippy --locked --quiet --all-targets -- -D warnings
	cargo clippy --locked --quiet --all-targets --features python -- -D warnings
	$(IN_VENV) -m ruff check
	$(IN_VENV) -m ruff format --check
	$(IN_VENV) -m mypy --strict

bench: $(DONE)/built $(DONE)/dev
	$(IN_VENV) -m benches $(BENCH_ARGS)

# Unpacked and not installed: few POP3 servers of Debian may be installed together. Postfix is here for smtp-sink, which takes LMTP.
SERVERS := popa3d courier-pop courier-authlib libcourier-unicode4 libidn12 \
           cyrus-common cyrus-imapd cyrus-pop3d libical3 libpcre3 libxapian30 postfix

# Where something is missing, nothing is there: what is there is taken for whole.
bench-servers: $(DONE)/venv
	@rm -rf .venv/servers .venv/servers.new && mkdir .venv/servers.new
	@cd .venv/servers.new && apt-get download --quiet $(SERVERS) && for package in *.deb; do dpkg -x $$package . && rm $$package || exit 1; done
	@mv .venv/servers.new .venv/servers

bench-fetch: $(DONE)/built $(DONE)/dev
	$(IN_VENV) -m benches.fetch $(BENCH_ARGS)

bench-line: $(DONE)/built $(DONE)/dev
	@$(IN_VENV) -m benches.line $(BENCH_ARGS)
	@$(IN_VENV) -m benches.several $(BENCH_ARGS)
	@$(IN_VENV) -m benches.unmodified $(BENCH_ARGS)

kills: $(DONE)/built
	@POP3FAST_KILLS=$(or $(KILLS),1000) $(IN_VENV) -m pytest -q --timeout 3600 tests/test_process_mailbox.py -k at_random

bench-anywhere: $(DONE)/built
	@$(IN_VENV) -m benches.anywhere $(BENCH_ARGS)

bench-mailboxes: $(DONE)/built
	@$(IN_VENV) -m benches.mailboxes $(BENCH_ARGS)

bench-fleet: $(DONE)/built $(DONE)/dev
	@$(IN_VENV) -m benches.fleet $(BENCH_ARGS)

simulate: $(DONE)/built $(DONE)/dev
	@$(IN_VENV) -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

# Strictly: a warning is an error. Nothing is asked of the network.
docs: $(DONE)/built $(DONE)/dev
	$(IN_VENV) -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build
	@$(call say,the documentation is in docs/_build/index.html)

# The source with that of all crates, and three wheels: by the stable ABI for CPython 3.11 and newer; for 3.14 without a
# global lock; by the stable ABI of 3.15, which holds with and without one. None of these needs its interpreter here. Then
# what an index would look at, for Python and for Rust.
#
# The tools have an environment of their own: a package that twine brings hides one of those that types are checked with.
DIST_TOOLS := target/dist-tools
screencast: $(DONE)/built
	$(IN_VENV) -m tests.screencast >docs/fetch.svg
	@$(call say,a fetch is drawn in docs/fetch.svg)

man: $(DONE)/built
	$(IN_VENV) -m pop3fast.cli._manual >$(MANUAL)
	@$(call say,the manual page is $(MANUAL))

dist: $(DONE)/venv rust
	$(IN_VENV) -m venv $(DIST_TOOLS)
	$(DIST_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(DIST_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --group dist
	rm -rf dist
	$(DIST_TOOLS)/bin/maturin build --release --locked --sdist --out dist
	$(DIST_TOOLS)/bin/maturin build --release --locked --out dist --interpreter python3.14t
	$(DIST_TOOLS)/bin/maturin build --release --locked --out dist --interpreter python3.15t
	$(IN_VENV) .ci/vendor.py dist/*.tar.gz
	$(DIST_TOOLS)/bin/twine check --strict dist/*
	$(DIST_TOOLS)/bin/abi3audit --strict dist/*-abi3-*.whl
	$(IN_VENV) .ci/contents.py dist
	cargo publish --dry-run --locked --allow-dirty --quiet

# What `dist` made, in the hands of who gets it.
prove-packages: $(DONE)/build
	bash .ci/packages

# In the newest CPythons of Debian, and in one without a global lock, which is built the first time.
prove-newest:
	bash .ci/newest

# As one who has just found the project: a Debian in a folder with Python and Rust, and nothing else. The wheel is dist's,
# or built for it.
prove-newcomer: $(DONE)/build
	bash .ci/newcomer clone
	bash .ci/newcomer wheel

# Hours for all of it; what was found is remembered in target/mutants, so that it may be broken off. Rust's wants
# cargo-mutants: cargo install --locked cargo-mutants
mutants: $(DONE)/built $(DONE)/dev
	$(if $(filter rust,$(MUTANTS)),cargo mutants --cargo-arg=--locked --output target,$(IN_VENV) -m tests.mutants $(MUTANTS))

# The tests come last, so that what they found is the last thing to be read.
ci:
	@$(MAKE) lint
	@$(MAKE) docs
	@$(MAKE) demo MESSAGES=1000
	@$(MAKE) bench BENCH_ARGS=--quick
	@$(MAKE) bench-fetch BENCH_ARGS=--quick
	@$(MAKE) bench-line BENCH_ARGS=--quick
	@$(MAKE) bench-mailboxes BENCH_ARGS=--quick
	@$(MAKE) bench-fleet BENCH_ARGS=--quick
	@bash .ci/newcomer brief --may-skip
	@$(MAKE) test

# With the one toolchain: without a sanitizer, which would want a nightly one, and which safe Rust needs little. What
# was found worth trying is kept in fuzz/corpus, which no commit has.
FUZZ_SECONDS ?= 60
CARGO_FUZZ := target/tools/bin/cargo-fuzz

fuzz: rust $(CARGO_FUZZ)
	for target in framer chunks listings; do \
	    $(CARGO_FUZZ) run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 || exit 1; \
	done

$(CARGO_FUZZ):
	@$(call say,building cargo-fuzz into target)
	@mkdir -p .venv
	@$(call quietly,cargo install --locked --root target/tools cargo-fuzz)

clean:
	rm -rf .venv target fuzz/target fuzz/corpus fuzz/artifacts dist .benchmarks .hypothesis .pytest_cache .mypy_cache .ruff_cache $(EXTENSION)
	find python tests benches -name __pycache__ -prune -exec rm -rf {} +

# The set-up.

# An environment that was made elsewhere (a checkout moved or copied), by an interpreter that has gone, or by another
# than PYTHON names, is made anew. One that somebody made here by hand is taken as it is.
$(DONE)/venv: FORCE
	@if $(venv_fits) && [ "$$(cat $@ 2>/dev/null)" = "$(CURDIR)" ]; then exit 0; fi; \
	if ! $(venv_fits) || [ -e $@ ]; then \
	    $(need_rust) && $(find_python) && \
	    $(call say,making .venv with $$("$$python" --version)) && \
	    "$$python" -m venv --clear .venv || exit 1; \
	fi; \
	$(PIP_INSTALL) 'pip>=25.1' && rm -rf $(DONE) && mkdir $(DONE) && echo "$(CURDIR)" >$@ # 25.1 has --group

$(DONE)/build: pyproject.toml $(DONE)/venv
	@$(call say,installing maturin)
	@$(PIP_INSTALL) --group build
	@touch $@

$(DONE)/dev: pyproject.toml $(DONE)/venv
	@$(call say,installing the tools for tests and lints)
	@$(PIP_INSTALL) --group dev
	@touch $@

$(DONE)/built: $(DONE)/build Cargo.toml Cargo.lock pyproject.toml src $(shell find src -name '*.rs') \
               $(if $(wildcard $(EXTENSION)),,FORCE)
	@$(need_rust)
	@$(call say,building the Rust core with all optimisations$(,) which takes a minute the first time)
	@# Without a group maturin would install `dev`, which is ten times the rest and no part of the demo.
	@$(call quietly,.venv/bin/maturin develop --release --group build) || { $(say_linker); exit 1; }
	@touch $@

FORCE:

, := ,

# What has to be there, and how to get it.

define venv_fits
{ $(IN_VENV) -c '$(FITS)' 2>/dev/null && \
  { [ -z "$(PYTHON)" ] || \
    [ "$$("$(PYTHON)" -c '$(IDENTITY)' 2>/dev/null)" = "$$($(IN_VENV) -c '$(IDENTITY)')" ]; }; }
endef
FITS := import sys; sys.exit(sys.version_info < (3, 11) or sys.implementation.name != "cpython")
IDENTITY := import sys; print(sys.base_prefix, sys.version)

# Sets $python. That a name is found says little: it may be a shim with nothing behind it.
define find_python
{ python=; found=; \
  for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11 python); do \
      "$$candidate" -c '$(FITS)' >/dev/null 2>&1 || continue; \
      found=$$candidate; \
      "$$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1 && python=$$candidate && break; \
  done; \
  if [ -z "$$found" ]; then \
      $(call say,$(if $(PYTHON),'$(PYTHON)' is not,there is no) CPython 3.11 or newer.); \
      echo "  Debian$(,) Ubuntu: apt-get install python3 python3-venv"; \
      echo "  macOS: brew install python; everywhere: https://www.python.org/downloads/"; \
      echo "  If it is there under another name: make PYTHON=/path/to/python3 $(MAKECMDGOALS)"; \
      exit 1; \
  elif [ -z "$$python" ]; then \
      $(call say,$$found cannot make environments: it came without its module ensurepip.); \
      echo "  Debian$(,) Ubuntu: apt-get install python3-venv"; \
      exit 1; \
  fi >&2; }
endef

RUST_VERSION := $(shell sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)

define need_rust
{ if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then \
      $(call say,there is no Rust toolchain (cargo and rustc$(,) $(RUST_VERSION) or newer).); \
      echo "  https://rustup.rs: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"; \
      exit 1; \
  elif ! have=$$(rustc --version 2>&1) || ! cargo --version >/dev/null 2>&1; then \
      $(call say,Rust is installed but does not run. It says:); \
      echo "$$have"; \
      echo "  This chooses a toolchain: rustup default stable"; \
      exit 1; \
  elif ! echo "$$have" | awk '{ split($$2, have, "."); split("$(RUST_VERSION)", want, "."); \
             exit !(have[1] > want[1] || have[1] == want[1] && have[2] + 0 >= want[2] + 0) }'; then \
      $(call say,this is $$have$(,) and Rust $(RUST_VERSION) or newer is needed.); \
      echo "  With rustup: rustup update stable; without it: https://rustup.rs"; \
      exit 1; \
  fi >&2; }
endef

define say_linker
command -v cc >/dev/null || { $(call say,there is no C compiler to link with.) && \
    echo "  Debian$(,) Ubuntu: apt-get install gcc libc6-dev; macOS: xcode-select --install"; } >&2
endef

rust:
	@$(need_rust)

rust-lint: rust
	@for tool in fmt clippy; do \
	    cargo $$tool --version >/dev/null 2>&1 && continue; \
	    $(call say,this Rust toolchain came without cargo $$tool.) >&2; \
	    echo "  rustup component add rustfmt clippy" >&2; \
	    exit 1; \
	done

# For .ci/run: says which interpreter would be taken.
find-python:
	@$(find_python); echo "$$python"
