# Each target does its own set-up: on a fresh machine with Rust, `make demo` and `make test` are all it takes.
# Where the Rust guests' toolchain comes from can be chosen: GUEST_RUST=auto|system|rustup|debian.
# REDIS selects the server under test: REDIS=redis|valkey fetches the newest one that Debian has, REDIS=/path is a program.

CARGO ?= cargo
BINARY = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)/debug/sandhog
REDIS ?=
# The target `redis` has fetched the server before: this only prints the path of its program.
WITH_REDIS = SANDHOG_REDIS_SERVER="$$(scripts/install-redis.sh $(REDIS))"

.PHONY: help demo test chaos fuzz bench bench-quick guests rust-guests lint build redis python
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: redis rust-guests ## the guided tour: a private Redis, the example plugins, 10,000 orders, a killed host
	@$(BINARY) demo

test: redis guests python ## all tests; ARGS=... for `cargo test`, REDIS=redis|valkey|PATH for another server
	@scripts/guests.sh test
	@$(WITH_REDIS) scripts/guests.sh languages test $(BINARY)
	@$(WITH_REDIS) $(CARGO) test $(ARGS)

MINUTES ?= 30
SEED ?= 7

chaos: redis rust-guests ## inject faults and check a ledger, MINUTES=30 SEED=7; exits with 1 if it does not balance (ARGS="--help")
	@$(WITH_REDIS) $(CARGO) test --quiet --locked --test chaos -- --minutes $(MINUTES) --seed $(SEED) $(ARGS)

TIME ?= 60

fuzz: redis rust-guests ## fuzzes what reads foreign bytes, TIME=60 seconds each; TARGETS="calls", FUZZ_RUST=stable (fuzz/README.md)
	@scripts/fuzz.sh $(BINARY) $(TIME) $(TARGETS)

bench: redis rust-guests ## every workload and other queue systems beside it, release build: benches/RESULTS.md (ARGS=--no-peers)
	@$(CARGO) build --release
	@SANDHOG=$(subst /debug/,/release/,$(abspath $(BINARY))) SANDHOG_DEV=$(abspath $(BINARY)) benches/results.py $(ARGS)

bench-quick: redis rust-guests ## four ratios against those of benches/RESULTS.md, by the program as it is
	@SANDHOG=$(abspath $(BINARY)) benches/results.py --quick

guests: rust-guests ## the example plugins in every language as components: guest-examples/built, and a build/ each
	@scripts/guests.sh languages build $(BINARY)

rust-guests: build
	@scripts/guests.sh build $(BINARY)

lint: ## formatting, lints of host and guests, documentation, all with warnings as errors
	$(CARGO) fmt --check
	cd guest-examples && $(CARGO) fmt --check
	cd fuzz && $(CARGO) fmt --check # not clippy: it would compile everything once more
	$(CARGO) clippy --quiet --locked --all-targets -- -D warnings
	$(CARGO) clippy --quiet --locked --test chaos -- -D warnings
	scripts/guests.sh lint
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --locked --no-deps --document-private-items

build: ## the program, in target/debug
	@$(CARGO) build --locked

redis:
	@scripts/install-redis.sh $(REDIS) >/dev/null

python:
	@scripts/install-python-client.sh
