#!/bin/bash
# The README's first program does what the README says: it echoes, and ends with
# 0 on SIGTERM.
set -euo pipefail

"$1" &
pid=$!
trap 'kill -9 "$pid" 2>/dev/null || true' EXIT

reply=""
# Until it has bound its port, a read is refused at once.
while ((SECONDS < 30)) && kill -0 "$pid"; do
  exec 3<>/dev/udp/127.0.0.1/7007
  printf 'hello' >&3
  if read -r -t 0.2 -N 5 reply <&3 2>/dev/null; then break; fi
  sleep 0.02
done
[[ $reply == hello ]] || { echo "no echo, got '$reply'"; exit 1; }

kill -TERM "$pid"
wait "$pid"
