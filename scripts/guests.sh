#!/usr/bin/env bash
# Builds the guests, or checks them:
#
#   scripts/guests.sh build SANDHOG   core modules, made into components by the program SANDHOG, in
#                                     guest-examples/built/ (those with a manifest) and built/probes/ (the others)
#   scripts/guests.sh one PACKAGE SANDHOG FILE
#                                     one of them, as the component FILE
#   scripts/guests.sh test            unit tests of their pure parts, on this machine
#   scripts/guests.sh languages build|test SANDHOG
#                                     the examples in other languages, each by its own Makefile, which sets up what it
#                                     needs in $GUEST_TOOLS (by default target/tools)
#   scripts/guests.sh bindings        the bindings that the projects in C and Go keep, anew from wit/
#   scripts/guests.sh lint            clippy and documentation with warnings as errors, the examples in it, and whether those
#                                     bindings are true, with the toolchain of the host program
set -euo pipefail

cd "$(dirname "$0")/.."
target=wasm32-unknown-unknown
use_guest_toolchain() {
  local toolchain
  toolchain=$(scripts/guest-rust.sh)
  eval "$toolchain"
}
# The guests' flags stand in guest-examples/.cargo/config.toml; the host's must not replace them.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
export CARGO_TARGET_DIR=${GUEST_TARGET_DIR:-$PWD/guest-examples/target}

# Replaces FILE with what comes in only if it differs: a host that watches the folder sees real changes only.
replace() { # NEW FILE
  if cmp -s "$1" "$2"; then rm "$1"; else mv "$1" "$2" && echo "built $2"; fi
}

build() { # SANDHOG
  use_guest_toolchain
  local sandhog=$1 built=guest-examples/built folder name core to said
  (cd guest-examples && cargo build --quiet --release --locked --target "$target" --workspace --exclude std-probe --exclude bindings --exclude noop-grows)
  mkdir -p "$built/probes"
  std_probe "$built/probes"
  for folder in guest-examples/rust/*/; do
    name=$(basename "$folder")
    core=$CARGO_TARGET_DIR/$target/release/${name//-/_}.wasm
    [ -e "$core" ] || continue # a library
    to=$built/probes
    if [ -e "$folder$name.toml" ]; then
      to=$built
      cp "$folder$name.toml" "$built/.$name.toml.$$"
      replace "$built/.$name.toml.$$" "$built/$name.toml"
    fi
    said=$("$sandhog" componentize "$core" -o "$to/.$name.$$" 2>&1) || { echo "$said" >&2; exit 1; }
    replace "$to/.$name.$$" "$to/$name.wasm"
  done
}

one() { # PACKAGE SANDHOG FILE
  use_guest_toolchain
  (cd guest-examples && cargo build --quiet --release --locked --target "$target" -p "$1")
  "$2" componentize "$CARGO_TARGET_DIR/$target/release/${1//-/_}.wasm" -o "$3"
}

# For wasm32-wasip2 Cargo makes a component, as others' tools do; its own shell, because the path is another one.
std_probe() ( # FOLDER
  target=wasm32-wasip2
  export GUEST_RUST_TARGET=$target
  use_guest_toolchain
  (cd guest-examples && cargo build --quiet --release --locked --target $target -p std-probe)
  cp "$CARGO_TARGET_DIR/$target/release/std_probe.wasm" "$1/.std-probe.$$"
  replace "$1/.std-probe.$$" "$1/std-probe.wasm"
)

unit_tests() {
  use_guest_toolchain
  # The profile of the build, so that the macros' own build is shared, without its slow optimisations.
  export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
  cd guest-examples
  cargo test --quiet --release --locked --lib --target "$(this_machine)" -p sandhog-guest --features sandhog-guest/serde -p chaos-ledger -p orders -p probe -p site-settings
}

# One language that cannot be built must not hide the others.
languages() { # TARGET SANDHOG
  local folder failed=() target=$1 sandhog
  sandhog=$(realpath "$2")
  # Their tools come as Python packages; Debian keeps what `venv` needs in a package of its own.
  python3 -c 'import ensurepip, venv' 2>/dev/null || scripts/apt-install.sh python3 python3-venv
  export SANDHOG=$sandhog TOOLS=${GUEST_TOOLS:-$PWD/target/tools}
  for folder in guest-examples/*/*/Makefile; do
    [ -e "$folder" ] || continue
    folder=$(dirname "$folder")
    make --no-print-directory --silent -C "$folder" "$target" SANDHOG="$SANDHOG" TOOLS="$TOOLS" || failed+=("$folder")
  done
  for folder in "${failed[@]}"; do
    echo "$folder: see above; try \`make -C $folder $target SANDHOG=$sandhog\`" >&2
  done
  [ ${#failed[@]} = 0 ]
}

bindings() {
  cd guest-examples
  cargo run --quiet --locked -p bindings --target "$(this_machine)"
}

lint() {
  export CARGO_TARGET_DIR=$CARGO_TARGET_DIR/lint
  cd guest-examples
  cargo clippy --quiet --locked --all-targets --target "$(this_machine)" -- -D warnings
  cargo test --quiet --locked -p bindings --target "$(this_machine)"
  cargo test --quiet --locked --doc -p sandhog-guest --all-features --target "$(this_machine)"
  RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps -p sandhog-guest --all-features --target "$(this_machine)"
}

this_machine() { "${RUSTC:-rustc}" -vV | sed -n 's/^host: //p'; }

case ${1:-} in
build) build "${2:?the path of the program sandhog}" ;;
one) one "${2:?the package}" "${3:?the path of the program sandhog}" "${4:?the component}" ;;
test) unit_tests ;;
languages) languages "${2:?build or test}" "${3:?the path of the program sandhog}" ;;
bindings) bindings ;;
lint) lint ;;
*) echo "usage: scripts/guests.sh build SANDHOG | one PACKAGE SANDHOG FILE | test | languages build|test SANDHOG | bindings | lint" >&2; exit 2 ;;
esac
