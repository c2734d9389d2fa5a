#!/usr/bin/env bash
# Provides a server for tests, `sandhog dev` and `sandhog demo`, and prints the path of its program.
#
#   install-redis.sh            SANDHOG_REDIS_SERVER if it is set, otherwise `redis-server`, installed if it is missing
#   install-redis.sh redis      the newest Redis of Debian's newer suites
#   install-redis.sh valkey     the newest Valkey of these suites
#   install-redis.sh PATH       this program
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
server=${1:-${SANDHOG_REDIS_SERVER:-redis-server}}
case $server in
  redis | valkey) server=$("$here/fetch-redis.sh" "$server-server") ;;
  redis-server) command -v redis-server >/dev/null || "$here/apt-install.sh" redis-server ;;
esac

program=$(command -v "$server") || {
  printf 'there is no server program `%s`\nhint: REDIS=redis, REDIS=valkey, or the path of a program\n' "$server" >&2
  exit 1
}
version=$("$program" --version)
# "Redis server v=7.0.15 …", "Valkey server v=9.1.2 …"
major=$(sed -n 's/.* v=\([0-9]*\)\..*/\1/p' <<<"$version")
if [ "${major:-0}" -lt 7 ]; then
  printf '%s is too old: `%s`; version 7 or newer is needed\n' "$program" "$version" >&2
  exit 1
fi
realpath -s "$program"
