#!/usr/bin/env bash
# Fetches a newer server than this machine's Debian has, and prints the path of its program.
# Usage: fetch-redis.sh redis-server|valkey-server
#
# Installs nothing and does not need root: it unpacks the package and its libraries into a cache folder. It uses the
# mirror and the signing key of the machine's own apt. A cached server is not fetched again; delete the folder to get
# a newer version.
set -euo pipefail

package=$1
# apt takes the newest version of all of these. A backport comes from `testing`, which gets it from `unstable`.
suites="stable-backports testing unstable"
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/sandhog/servers
program=$cache/$package/bin/$package
[ -x "$program" ] && { echo "$program"; exit 0; }

die() {
  printf '%s\nhint: name a server program that you have: REDIS=/path/to/%s\n' "$1" "$package" >&2
  exit 1
}
command -v apt-get >/dev/null || die "there is no apt-get to fetch \`$package\`"

# The machine's Debian mirror. Before the first `apt-get update` apt knows the sources, but not their origin.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1) || true
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | grep '/debian/*$' | head -n 1) || true
[ -n "$mirror" ] || die "apt has no source of Debian packages"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || die "cannot check signatures: there is no $keyring"

mkdir -p "$cache"
work=$(mktemp -d "$cache/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/apt/none"
# An empty status file: apt then downloads all libraries, including the C library.
: >"$work/apt/status"
for suite in $suites; do
  echo "deb [signed-by=$keyring] $mirror $suite main"
done >"$work/apt/sources.list"
# apt ignores backports by default; give them the same priority.
printf 'Package: *\nPin: release o=Debian*\nPin-Priority: 500\n' >"$work/apt/preferences"
cat >"$work/apt/apt.conf" <<CONF
Dir::State "$work/apt";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt";
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "$work/apt/none";
Dir::Etc::preferences "$work/apt/preferences";
Dir::Etc::preferencesparts "$work/apt/none";
APT::Sandbox::User "root";
APT::Get::List-Cleanup "false";
Acquire::Retries "3";
Acquire::Languages "none";
CONF
export APT_CONFIG=$work/apt/apt.conf
echo "fetching $package of Debian $suites" >&2
apt-get -q update >&2 || die "the package lists of Debian $suites could not be fetched"
apt-get -q install -y --no-install-recommends --download-only "$package" >&2 || die "\`$package\` could not be fetched"

root=$work/root
mkdir -p "$root"
for file in "$work"/apt/archives/*.deb; do dpkg-deb --extract "$file" "$root"; done
loader=$(find "$root" -name 'ld-linux*.so.*' | head -n 1)
libraries=$(dirname "$(find "$root" -name libc.so.6 | head -n 1)")
[ -x "$root/usr/bin/$package" ] && [ -x "$loader" ] || die "\`$package\` has no program, or no loader"

# The libraries are newer than the machine's, so the package's own loader starts the program with these libraries only.
final=$cache/$package
mkdir "$root/bin.new"
cat >"$root/bin.new/$package" <<RUN
#!/bin/sh
exec "$final/${loader#"$root"/}" --library-path "$final/${libraries#"$root"/}" "$final/usr/bin/$package" "\$@"
RUN
chmod +x "$root/bin.new/$package"
# /bin may be a link to /usr/bin.
rm -rf "${root:?}/bin" && mv "$root/bin.new" "$root/bin"
rm -rf "$final" && mv "$root" "$final"
"$program" --version >&2
echo "$program"
