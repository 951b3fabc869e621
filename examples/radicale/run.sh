#!/usr/bin/env bash
# Starts Radicale on the loopback address and Doorward in front of it; Ctrl-C ends both.
set -euo pipefail
cd "$(dirname "$0")"

python3 -m radicale --config radicale.conf &
radicale=$!
doorward serve -c doorward.yaml &
doorward=$!

# Doorward first, which finishes the requests under way. A signal to this script alone, as a service
# manager sends it, must leave neither behind.
end() {
  kill -TERM "$doorward" 2>/dev/null || true
  wait "$doorward" 2>/dev/null || true
  kill -TERM "$radicale" 2>/dev/null || true
}
trap end EXIT
trap 'exit 143' TERM HUP
trap 'exit 130' INT
wait -n "$doorward" "$radicale"
