#!/bin/bash
# The service of docs/ lives as docs/ says: it counts what its client sends,
# shows it on /metrics, says what is wrong with its configuration, and ends in
# good order.
set -euo pipefail

service=$1
client=$2
log=$TEST_TMPDIR/log
followed=$TEST_TMPDIR/followed

fail() {
  echo "$1"
  cat "$log" "$followed" 2>/dev/null || true
  exit 1
}

# Configuration: a wrong value, then one from the environment.
said=$("$service" --max_names=0 2>&1) && fail "a wrong value was taken"
[[ $said == "tally: --max_names=0: must be a whole number from 1 to 4294967295" ]] ||
  fail "about a wrong value it said: $said"
"$service" --help | grep -q -e "--max_names" || fail "--help lists no flags"

TALLY_MAX_NAMES=1 TALLY_SERVICE_LOG_LEVEL=debug \
  "$service" --service.http_listen=127.0.0.1:9100 2>"$log" &
pid=$!
trap 'kill -9 "$pid" 2>/dev/null || true' EXIT

get() { curl --silent --max-time 5 "http://127.0.0.1:9100$1"; }

for _ in $(seq 100); do
  [[ $(get /readyz || true) == ready ]] && break
  kill -0 "$pid" 2>/dev/null || fail "it has ended"
  read -r -t 0.1 <> <(:) || true
done
[[ $(get /readyz) == ready ]] || fail "it isn't ready"

"$client" >"$followed" &
client_pid=$!
for _ in $(seq 100); do
  get /metrics | grep -qx "tally_followers 1" && break
  read -r -t 0.1 <> <(:) || true
done

metrics=$(get /metrics)
for line in 'tally_votes_total{result="counted"} 1' \
  'tally_votes_total{result="refused"} 0' 'tally_followers 1' \
  'braid_service_ready 1'; do
  grep -qxF "$line" <<<"$metrics" || fail "/metrics has no $line"
done
grep -q '^grpc_server_handled_total{.*grpc_method="Vote".*} 1$' <<<"$metrics" ||
  fail "/metrics doesn't count the RPC"

# The stream ends well, and so does the service.
kill -TERM "$pid"
wait "$client_pid" || fail "the client's stream didn't end well"
grep -qx "votes: 1" "$followed" || fail "the client was told no count"
wait "$pid" || fail "the service didn't end well"
