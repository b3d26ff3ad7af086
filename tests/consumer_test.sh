#!/bin/bash
# Builds and runs the project in tests/consumer, as its owner would. Bazel inside
# Bazel: with an output base of its own next to the outer one's files, which is
# kept, so that only the first time is slow.
set -euo pipefail

# The test itself is a link to the source tree.
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/consumer"
output_base=${TEST_TMPDIR%%/execroot/*}/consumer
if [[ $output_base == "$TEST_TMPDIR/consumer" ]]; then
  echo "TEST_TMPDIR=$TEST_TMPDIR isn't below Bazel's execroot: run me with bazel test"
  exit 1
fi

HOME=${HOME:-$TEST_TMPDIR} bazel --batch --output_base="$output_base" run \
  --experimental_convenience_symlinks=ignore --noshow_progress \
  --nosandbox_debug \
  //:consumer | tee "$TEST_TMPDIR/output"

# It says so itself when all it tried was right.
grep -x "consumer: ok" "$TEST_TMPDIR/output"
