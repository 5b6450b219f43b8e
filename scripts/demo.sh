#!/usr/bin/env bash
# Installs SpatialDreamer into .venv and turns a short clip into 3D: out/bigbuckbunny_LRF_Full_SBS.mp4.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh

setup run
mkdir -p out
say "Converting assets/bigbuckbunny.mp4"
.venv/bin/spatialdreamer convert assets/bigbuckbunny.mp4 -o out/ --overwrite --preview out/preview.png
say "Done"
for file in out/bigbuckbunny_LRF_Full_SBS.mp4 out/preview.png; do
  [ -s "$file" ] || fail "$file is missing"
  printf '%s/%s  (%s kB)\n' "$PWD" "$file" "$(($(wc -c <"$file") / 1024))"
done
