#!/usr/bin/env bash
# Makes a Python environment with the plain `redis` client in target/python, for the tests that play a producer
# and a consumer that know nothing of Sandhog.
set -euo pipefail

client=redis==7.0.1
cd "$(dirname "$0")/.."
venv=$PWD/target/python
[ "$(cat "$venv/.client" 2>/dev/null)" = "$client" ] && exit 0

command -v python3 >/dev/null || scripts/apt-install.sh python3 python3-venv
make_venv() { rm -rf "$venv" && python3 -m venv "$venv"; }
mkdir -p target
# Debian keeps what `venv` needs in a package of its own.
make_venv >/dev/null 2>&1 || { scripts/apt-install.sh python3-venv && make_venv; }
"$venv/bin/pip" install --quiet --disable-pip-version-check "$client"
echo "$client" >"$venv/.client"
