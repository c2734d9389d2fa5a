#!/usr/bin/env bash
# Prints (as shell assignments, for eval) the environment that builds Rust guests for wasm32-unknown-unknown, or
# wasm32-wasip2, and installs a toolchain when there is none. May be run again, and by several at once.
#
#   env=$(scripts/guest-rust.sh) && eval "$env" && cargo build --release --target wasm32-unknown-unknown
#
# (Two steps: `eval "$(...)"` alone would hide a failure of the script.)
#
# GUEST_RUST_TARGET  wasm32-unknown-unknown (default), or wasm32-wasip2: components that import WASI
# GUEST_RUST=auto    (default) rustc already has the target -> rustup target add -> Debian packages
# GUEST_RUST=system  only the rustc on PATH, as it is
# GUEST_RUST=rustup  only rustup
# GUEST_RUST=debian  only Debian packages (never talks to rustup's server; use this in CI without it)
# GUEST_RUST_CACHE   where the Debian toolchain is unpacked (default ${XDG_CACHE_HOME:-~/.cache}/guest-rust)
# GUEST_RUST_MIRROR  Debian mirror (default: the one apt uses here)
# GUEST_RUST_SUITE   Debian suite (default trixie: rustc 1.85.1 for the life of Debian 13)
set -euo pipefail

target=${GUEST_RUST_TARGET:-wasm32-unknown-unknown}
mode=${GUEST_RUST:-auto}
suite=${GUEST_RUST_SUITE:-trixie}
cache=${GUEST_RUST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/guest-rust}
layout=2 # raise when what is unpacked, or the wrappers, change

log() { echo "guest-rust: $*" >&2; }
die() { log "$*"; exit 1; }
has_std() { # RUSTC -> does its sysroot hold the target's core/std
  local d
  d=$("$1" --print target-libdir --target "$target" 2>/dev/null) && compgen -G "$d/libstd-*.rlib" >/dev/null
}

try_system() { command -v rustc >/dev/null && has_std rustc && log "using $(rustc -V)"; }

try_rustup() {
  command -v rustup >/dev/null || return 1
  # Without a network it fails at once where names do not resolve, else after rustup's own retries: bound it.
  timeout "${GUEST_RUSTUP_TIMEOUT:-120}" rustup target add "$target" >&2 && has_std rustc && log "using $(rustc -V) (rustup)"
}

debian_unpack() { # DIR
  local dir=$1 apt=$1/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    die "no rustc with $target and no apt to get one; run \`rustup target add $target\`"
  [ -r "$keyring" ] || die "$keyring is missing; install the package debian-archive-keyring"
  # The mirror this machine uses already: whoever set it up knows which one it reaches.
  local mirror=${GUEST_RUST_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -m1 '/debian/*$' || true)}
  [ -n "$mirror" ] || die "apt knows no Debian mirror; name one in GUEST_RUST_MIRROR"
  mkdir -p "$apt"/{lists/partial,cache/archives/partial,debs}
  : >"$apt/status"
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
CONF
  export APT_CONFIG="$apt/apt.conf"
  log "reading Debian $suite's package list"
  apt-get -q update >&2 || die "Debian's package list could not be read"
  local lld closure
  # grep reads to its end: a reader that leaves early would fail the pipe
  lld=$(apt-cache show libstd-rust-dev-wasm32 | grep -oE '\blld-[0-9]+' | sort -u | tail -n 1) || true
  [ -n "$lld" ] || die "no lld named by libstd-rust-dev-wasm32 in $suite"
  # run-time closure of the compiler and linker, glibc included; rustc's own Depends (gcc, binutils) are the host's
  closure=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances libstd-rust-dev "$lld" | grep -E '^[a-z0-9]' | sort -u)
  log "downloading $(wc -w <<<"$closure") + 2 packages"
  # shellcheck disable=SC2086
  (cd "$apt/debs" && apt-get -q download $closure rustc libstd-rust-dev-wasm32 >&2)
  unset APT_CONFIG
  log "unpacking"
  mkdir -p "$dir/root"
  local d
  for d in "$apt"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$d" | tar -x -C "$dir/root" --exclude='./usr/share' --exclude='./usr/lib/rustlib/wasm32-wasip1*' \
      --exclude='*/librustc-*_rt.*' --exclude='./usr/lib/*-linux-gnu/gconv' --exclude='./usr/bin/rustdoc'
  done
  rm -rf "$apt"
  local lib ld
  lib=$(dirname "$(find "$dir/root/usr/lib" -name 'librustc_driver-*.so' | head -1)")
  ld=$(find "$lib" "$dir/root/usr/lib64" "$dir/root/usr/lib" -maxdepth 1 -name 'ld-linux*.so.*' 2>/dev/null | head -1)
  [ -n "$ld" ] || die "no dynamic loader in the unpacked packages"
  mkdir -p "$dir/bin"
  # The packages bring their own glibc, newer than an older host's: start both programs through its loader.
  # $0-relative, so that the folder can be renamed into place or moved.
  local rel_lib=${lib#"$dir"/} rel_ld=${ld#"$dir"/}
  cat >"$dir/bin/rustc" <<WRAP
#!/bin/sh
d=\$(dirname "\$(readlink -f "\$0")")/..
exec "\$d/$rel_ld" --library-path "\$d/$rel_lib" "\$d/root/usr/bin/rustc" --sysroot "\$d/root/usr" "\$@"
WRAP
  cat >"$dir/bin/wasm-ld" <<WRAP
#!/bin/sh
d=\$(dirname "\$(readlink -f "\$0")")/..
exec "\$d/$rel_ld" --library-path "\$d/$rel_lib" --argv0 wasm-ld "\$d/root/usr/lib/llvm-${lld#lld-}/bin/lld" "\$@"
WRAP
  chmod +x "$dir/bin/rustc" "$dir/bin/wasm-ld"
  "$dir/bin/rustc" -vV >&2 || die "the unpacked rustc does not run"
  has_std "$dir/bin/rustc" || die "the unpacked rustc has no std for $target"
}

try_debian() {
  case $target in
  wasm32-unknown-unknown | wasm32-wasip2) ;;
  *) die "the Debian fallback unpacks wasm32-unknown-unknown and wasm32-wasip2 only" ;;
  esac
  command -v cargo >/dev/null || die "cargo is missing; install Rust first (https://rustup.rs, or the package cargo)"
  local final=$cache/debian-$suite-$(dpkg --print-architecture)-v$layout
  mkdir -p "$cache"
  exec 9>"$cache/.lock"
  flock 9
  if ! { [ -e "$final/ok" ] && "$final/bin/rustc" -V >/dev/null 2>&1; }; then
    rm -rf "$cache"/.unpack.* # left by a run that was killed; the lock is ours
    tmp=$(mktemp -d "$cache/.unpack.XXXXXX") # global: the trap runs outside this function
    trap 'rm -rf "$tmp"' EXIT
    debian_unpack "$tmp"
    chmod 755 "$tmp"; touch "$tmp/ok"
    rm -rf "$final"; mv "$tmp" "$final"
    trap - EXIT
  fi
  flock -u 9
  log "using $("$final/bin/rustc" -V) from $final"
  printf 'export RUSTC=%q\n' "$final/bin/rustc"
  printf 'export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=%q\n' "$final/bin/wasm-ld"
  [ "$target" = wasm32-wasip2 ] || return 0
  # Debian has no wasm-component-ld; rustup's toolchains do, and it finds the linker proper on the path.
  local linker
  linker=$(command -v wasm-component-ld) ||
    linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/wasm-component-ld
  [ -x "$linker" ] || die "$target needs the linker wasm-component-ld; run \`cargo install wasm-component-ld\`"
  printf 'export CARGO_TARGET_WASM32_WASIP2_LINKER=%q PATH=%q:"$PATH"\n' "$linker" "$final/bin"
}

case $mode in
system) try_system || die "rustc has no $target" ;;
rustup) try_rustup || die "rustup could not add $target" ;;
debian) try_debian ;;
auto) if ! try_system && ! try_rustup; then log "no rustup target: falling back to Debian packages"; try_debian; fi ;;
*) die "GUEST_RUST is \`$mode\`; it may be auto, system, rustup or debian" ;;
esac
