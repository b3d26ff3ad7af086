#!/bin/bash
# Server and client as processes: a call and a stream over a Unix socket, the
# metrics over HTTP, and an end in good order.
set -euo pipefail
server=$1
client=$2

folder=$(mktemp -d)
trap 'kill -9 "${pid:-}" 2>/dev/null || true; cat "$folder/log"; rm -r "$folder"' EXIT
"$server" --coldest=-50 --service.rpc_listen="unix:$folder/rpc" \
  --service.http_listen=127.0.0.1:0 2>"$folder/log" &
pid=$!

http=""
for _ in $(seq 200); do
  # It is ready, and says where.
  if grep -q 'msg=ready' "$folder/log"; then
    http=$(grep 'endpoint=http' "$folder/log" | grep -o '127\.0\.0\.1:[0-9]*')
    break
  fi
  kill -0 "$pid"
  sleep 0.05
done
[[ -n $http ]]

[[ $("$client" "unix:$folder/rpc" oslo -4.5) == "oslo -4.5" ]]

code=0
said=$("$client" "unix:$folder/rpc" oslo -51 2>&1) || code=$?
((code == 1))
[[ $said == *INVALID_ARGUMENT*"too cold to be true"* ]]

metrics=$(curl --silent --fail "http://$http/metrics")
grep -Fx 'weather_readings_total{result="taken"} 1' <<<"$metrics"
grep -Fx 'weather_readings_total{result="refused"} 1' <<<"$metrics"
grep 'grpc_server_handled_total{.*grpc_code="OK".*} 1' <<<"$metrics" |
  grep 'grpc_service="weather.v1.Weather"' | grep 'grpc_method="Report"'

kill -TERM "$pid"
wait "$pid"
