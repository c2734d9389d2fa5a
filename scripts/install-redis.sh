#!/usr/bin/env bash
# Makes sure that there is a redis-server: tests, `sandhog dev` and `sandhog demo` start private ones.
set -euo pipefail

command -v redis-server >/dev/null || "$(dirname "$0")/apt-install.sh" redis-server
major=$(redis-server --version | sed -n 's/.*v=\([0-9]*\)\..*/\1/p')
if [ "${major:-0}" -lt 7 ]; then
  echo "redis-server is of version $major; version 7 or newer is needed" >&2
  exit 1
fi
