#!/usr/bin/env bash
# Installs Debian packages: apt-install.sh PACKAGE... Says what to do where it cannot.
set -euo pipefail

packages=$*
die() {
  printf '%s\nhint: install `%s` with the means of your system, then run this again\n' "$1" "$packages" >&2
  exit 1
}

command -v apt-get >/dev/null || die "there is no apt-get to install \`$packages\`"
as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die "only root may install \`$packages\`"
  as_root=(sudo)
fi
echo "installing $packages" >&2
apt_get() {
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" >&2
}
install() { apt_get install -y --no-install-recommends "$@"; }
# The package lists of a fresh machine are empty or old.
install "$@" || { apt_get update && install "$@"; } || die "\`$packages\` could not be installed"
