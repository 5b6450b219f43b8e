#!/usr/bin/env bash
# Builds the registry's archive of the last commit, checks it, loads it in a ComfyUI of its own, and says what is next:
# `bash scripts/release.sh`. Publishes nothing. With --rehearse version and changelog need not be ready.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh # say, fail, and where ComfyUI lies

rehearse=
case "${1:-}" in
  "") ;;
  --rehearse) rehearse=1 ;;
  *) fail "the one option is --rehearse, got $1" ;;
esac
[ -x .venv/bin/comfy ] && [ -f "$COMFYUI_DIR/main.py" ] || fail "a release is what was tested: run bash scripts/test.sh first"
version=$(.venv/bin/python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')

say "Version $version"
if [ -z "$rehearse" ]; then
  [ -z "$(git status --porcelain)" ] || fail "the archive is made of commits; commit or remove: $(git status --porcelain | head -5)"
  .venv/bin/python scripts/check_archive.py --version || fail "the version is not ready; see above"
fi

say "comfy node validate"
export DO_NOT_TRACK=1 COMFY_NO_TELEMETRY=1
# This command exits with 0 whatever it finds, so its words decide.
verdict=$(.venv/bin/comfy --skip-prompt node validate </dev/null 2>&1)
echo "$verdict"
grep -q "All validation checks passed" <<<"$verdict" || fail "comfy node validate found the above"

say "The archive"
archive=$PWD/out/spatialdreamer-$version.zip
mkdir -p out
.venv/bin/comfy --skip-prompt node pack </dev/null >/dev/null # writes node.zip here
mv node.zip "$archive"
.venv/bin/python scripts/check_archive.py "$archive" || fail "the archive is not fit for the registry; see above"

say "ComfyUI $COMFYUI_VERSION with nothing but the archive"
base=$(mktemp -d)
trap 'rm -rf "$base"' EXIT
mkdir -p "$base/custom_nodes"
.venv/bin/python -m zipfile -e "$archive" "$base/custom_nodes/spatialdreamer" # the folder that Manager makes
(cd "$base" && HF_HUB_OFFLINE=1 PYTHONPATH=$OLDPWD/tests/comfyui/server_site "$OLDPWD/.venv/bin/python" \
  "$OLDPWD/$COMFYUI_DIR/main.py" --cpu --base-directory "$base" --database-url sqlite:///:memory: \
  --disable-api-nodes --quick-test-for-ci >"$base/log" 2>&1) || { tail -40 "$base/log"; fail "ComfyUI does not start"; }
if grep -q "IMPORT FAILED.*spatialdreamer" "$base/log" || ! grep -q "seconds: .*custom_nodes/spatialdreamer$" "$base/log"; then
  tail -40 "$base/log"
  fail "the pack does not load; see above"
fi
echo "the pack loads"

say "$archive is ready. Next:"
cat <<NEXT
  1. bash scripts/test.sh --slow, and on a machine with an NVIDIA card bash scripts/gpu_check.sh
  2. git tag -a v$version -m $version && git push origin v$version
  3. comfy node publish --token TOKEN     (the registry's API key of the publisher; packs the same files)
  4. a release of the tag on GitHub, with CHANGELOG.md's section as its text and the archive beside it
  5. a day later: is the version listed as active, not flagged? https://registry.comfy.org/nodes/spatialdreamer
  6. a new heading [Unreleased] in CHANGELOG.md, and the next version in pyproject.toml, workflows/ and subgraphs/
NEXT
