#!/usr/bin/env bash
# Fuzzes: fuzz.sh SANDHOG SECONDS [TARGET...]. SANDHOG is the program, which compiles components. Each target begins with
# seeds made of files of this repository. Ends with 1 if anything was found. FUZZ_RUST=auto|nightly|stable chooses the
# compiler: nightly Rust if it is installed or can be installed, or the `cargo` of this machine.
set -euo pipefail

cd "$(dirname "$0")/.."
sandhog=$(realpath "$1") seconds=$2
shift 2
all="manifest settings envelope names release replies records component cache calls"
export SANDHOG_PROGRAM=$sandhog SANDHOG_COMPONENT=$PWD/guest-examples/built/noop.wasm

need() { # WHAT HOW-TO-GET-IT
  printf 'fuzzing needs %s\nhint: %s\n' "$1" "$2" >&2
  exit 1
}
has_nightly() {
  cargo +nightly --version >/dev/null 2>&1 ||
    { command -v rustup >/dev/null && rustup toolchain install nightly --profile minimal; }
}
fuzz=(cargo +nightly fuzz)
set_up() {
  case ${FUZZ_RUST:-auto} in
  nightly) has_nightly || need "nightly Rust" "rustup toolchain install nightly, or FUZZ_RUST=stable" ;;
  auto | stable)
    if [ "${FUZZ_RUST:-auto}" = stable ] || ! has_nightly; then
      # Without a sanitizer, cargo-fuzz passes only stable flags. The variable allows unstable flags of other versions.
      fuzz=(cargo fuzz)
      export RUSTC_BOOTSTRAP=1
    fi
    ;;
  *) need "a compiler" "FUZZ_RUST is auto, nightly or stable" ;;
  esac
  cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz ||
    need "cargo-fuzz" "cargo install cargo-fuzz"
}

seed() { # TARGET FILE...: each file under the digest of what it holds
  local target=$1 file
  shift
  mkdir -p "fuzz/corpus/$target"
  for file in "$@"; do
    if [ -f "$file" ]; then cp "$file" "fuzz/corpus/$target/$(sha256sum <"$file" | cut -c1-16)"; fi
  done
}
seed_text() { # TARGET TEXT...: as printf writes them
  local target=$1 text
  shift
  mkdir -p "fuzz/corpus/$target"
  for text in "$@"; do
    # shellcheck disable=SC2059 # The text is the format: it has escapes.
    printf -- "$text" >"fuzz/corpus/$target/$(sha256sum <<<"$text" | cut -c1-16)"
  done
}
seeds() {
  seed manifest plugin.example.toml guest-examples/rust/*/*.toml
  seed settings sandhog.example.toml
  seed_text settings '[redis]\nurl = "redis://anna:hunter2@db:6379/1"\ntimeout = "9s"\n' \
    '[redis]\nurl = "redis://anna:hunter2@db:x/1"\n'
  seed_text envelope '1 h.00000001.0000000003e8-7 1 0 1000 a=b !reason=x%%20y !unique=u\npayload' '1 push-1 0 0 5\n'
  seed_text names 'g*\ngood' 'a?[b]\\\\c\na?[b]\\\\c' '*:x*y\n{t}:xzy' 'h.00000001.0000000003e8\nh.00000001.0000000003e8'
  local digest=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
  seed_text release "{\"component\":\"$digest\",\"manifest\":\"kind = 1\"}" "$digest" "ed25519:$digest" \
    "{\"release\":\"$digest\",\"component\":\"$digest\",\"number\":1,\"at_ms\":2,\"by\":\"me\"}" \
    "ed25519:$digest $digest$digest" "ed25519-private:$digest"
  seed_text replies '*10\r\n:0\r\n:1\r\n:1000\r\n$-1\r\n:1\r\n:0\r\n:7\r\n*0\r\n*1\r\n$1\r\nx\r\n\x00' \
    '*2\r\n$2\r\ne1\r\n$1\r\n2\r\n\x02' '*4\r\n:0\r\n:1\r\n:0\r\n:0\r\n\x04' '*1\r\n:0\r\n\x06' '-NOPERM no\r\n\x05'
  seed_text records "$(record 1 0 '' '' "1 id-1 4294967295 1 0 t=a !key=a\\npayload")" "$(record 10 1 '' 7 '1 id-1 0 3 5\nx')" \
    "$(record 14 0 nightly 5 '{"queue":"jobs","when":{"every":1000},"jitter_ms":86400000}')$(record 15 0 nightly '' '0-18446744073709550000')" \
    "$(record 12 1 '' '' '[{"name":"p","versions":[{"runs":18446744073709551615}]}]')" "$(record 8 0 '' '' 'ready')" \
    "$(record 4 0 a '' '1 id-2 0 0 5 !key=a\nx')$(record 5 0 a 1 '')$(record 6 0 a 1 '')" \
    "$(record 23 0 p '' "{\"release\":\"$digest\",\"component\":\"$digest\",\"number\":1,\"at_ms\":2,\"by\":\"me\"}")"
  seed component guest-examples/built/*.wasm guest-examples/built/probes/*.wasm
  seed_text cache '' '\x00\x01\x02\x03\x04\x05'
  local mode
  for mode in 0 1 2; do
    seed_text calls \
      "$(calls_seed $mode 2:5 0:3 1:3 3:8 4:3 6:3 7:4 8:4 9:9 10:5 11:3 12:6 5:3)" \
      "$(calls_seed $mode 13:5 15:5 17:3 18:4 16:4 16:4 14:12 16:4)"
  done
}
record() { # KIND WHICH NAME NUMBER TEXT: one record of the target `records`; the pieces have no escapes but \n
  local piece bytes
  printf '\\x%02x\\x%02x' "$1" "$2"
  shift 2
  for piece in "$@"; do
    bytes=${piece//\\n/.}
    printf '\\x%02x%s' "${#bytes}" "${piece//%/%%}"
  done
}
# The functions of `kv` or of `queue`, each with as many arguments as it has, on the name `good`, which each record holds
# 4 bytes behind its beginning; from 80 bytes on, a list of one pair of texts. The last argument is the answer's place.
calls_seed() { # MODE FUNCTION:ARGUMENTS...
  local record=4096 call function count at words
  printf '\\x%02x' "$1"
  shift
  for call in "$@"; do
    function=${call%:*} count=${call#*:}
    words=("$((record + 4))" 4 "$((record + 4))" 4 0 0 0 0 0 0 0 0)
    case $function in
    1 | 4) words[0]=$((record + 80)) words[1]=1 ;;
    15) words[2]=$((record + 80)) words[3]=1 ;;
    16) words[2]=0 ;;
    18) words[2]=3 ;;
    esac
    if [ "$count" -lt 9 ]; then words[9]=$((record + 4 + (4 << 32))) words[10]=${words[9]}; fi
    words[count - 1]=1024
    printf '\\x%02x\\x00\\x00\\x00good' "$function"
    for at in "${words[@]}"; do
      printf '\\x%02x' $((at & 255)) $((at >> 8 & 255)) $((at >> 16 & 255)) $((at >> 24 & 255)) \
        $((at >> 32 & 255)) 0 0 0
    done
    record=$((record + 104))
  done
}

set_up
seeds
found=0
for target in ${@:-$all}; do
  # The engine's maps of guests' memories and the child's are no leaks: only what the target itself holds counts.
  log=$(mktemp)
  if (cd fuzz && "${fuzz[@]}" run --sanitizer none "$target" -- \
    -max_total_time="$seconds" -rss_limit_mb=8192 -timeout=60 -len_control=20 -max_len=65536 -print_final_stats=1) \
    >"$log" 2>&1; then
    printf '%-10s %s executions, nothing found\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
  else
    found=1
    printf '%-10s FOUND something, or could not run; the end of what it said:\n' "$target"
    tail -n 40 "$log"
  fi
  rm -f "$log"
done
exit $found
