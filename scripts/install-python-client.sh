#!/usr/bin/env bash
# Makes two Python environments with the plain `redis` client, for the tests that play a producer and a consumer that
# know nothing of Sandhog: target/python has the newest client, target/python-old one that many programs still use.
set -euo pipefail

cd "$(dirname "$0")/.."
make_venv() { rm -rf "$1" && python3 -m venv "$1"; }

install() {
  local venv=$PWD/target/$1 client=$2
  [ "$(cat "$venv/.client" 2>/dev/null)" = "$client" ] && return
  command -v python3 >/dev/null || scripts/apt-install.sh python3 python3-venv
  mkdir -p target
  # Debian keeps what `venv` needs in a package of its own.
  make_venv "$venv" >/dev/null 2>&1 || { scripts/apt-install.sh python3-venv && make_venv "$venv"; }
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$client"
  echo "$client" >"$venv/.client"
}

install python redis==8.1.0
install python-old redis==4.3.4
