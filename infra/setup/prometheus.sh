#!/bin/sh
# Unpacks Debian's Prometheus below .cache without installing it: the tests of the platform's gateway run against it, and are skipped without.
set -eu
cd "$(dirname "$0")/../.."
folder=$PWD/.cache/prometheus

if [ -x "$folder/usr/bin/prometheus" ] || command -v prometheus >/dev/null; then exit 0; fi
rm -rf "$folder.new"
mkdir -p "$folder.new"
cd "$folder.new"
apt-get download -qq prometheus 2>/dev/null || { apt-get update -qq && apt-get download -qq prometheus; }
dpkg -x prometheus_*.deb .
rm prometheus_*.deb
mv "$folder.new" "$folder"
