#!/usr/bin/env bash
# Build the explorer's program: docs/explorer/source and its packages become one file.
#
#   docs/explorer/build.sh            writes tinygrad_nn/drawing/explorer/explorer.js
#   docs/explorer/build.sh FOLDER     writes FOLDER/explorer.js instead
#
# Needs node 18 or later, and npm where node_modules is missing.
set -euo pipefail
cd "$(dirname "$0")"
folder=${1:-../../tinygrad_nn/drawing/explorer}
[ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund
node bundle.mjs "$folder/explorer.js"
cp node_modules/elkjs/LICENSE.md "$folder/EPL-2.0.md"
