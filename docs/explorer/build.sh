#!/usr/bin/env bash
# Build the explorer's program: docs/explorer/source and its packages become two files.
#
#   docs/explorer/build.sh            writes into tinygrad_nn/drawing/explorer
#   docs/explorer/build.sh FOLDER     writes into FOLDER instead
#
# Needs node 18 or later, and npm where node_modules is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(cd "${1:-$here/../../tinygrad_nn/drawing/explorer}" && pwd)
cd "$here"
[ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund
node bundle.mjs "$folder"
