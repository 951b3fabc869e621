#!/usr/bin/env bash
# Starts Radicale on the loopback address and Doorward in front of it; Ctrl-C ends both.
set -euo pipefail
cd "$(dirname "$0")"

python3 -m radicale --config radicale.conf &
radicale=$!
trap 'kill "$radicale" 2>/dev/null || true' EXIT
doorward serve -c doorward.yaml
