#!/bin/bash
# Builds and tests the project in tests/consumer, as its owner would: Bazel
# inside Bazel, with an output base of its own among the outer one's files. That
# is kept, so that only the first time is slow.
set -euo pipefail

# The test itself is a link to the source tree.
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/consumer"
output_base=${TEST_TMPDIR%%/execroot/*}/consumer
if [[ $output_base == "$TEST_TMPDIR/consumer" ]]; then
  echo "TEST_TMPDIR=$TEST_TMPDIR isn't below Bazel's execroot: run me with bazel test"
  exit 1
fi

flags=(--nosandbox_debug --noshow_progress --keep_going
  --experimental_convenience_symlinks=ignore)
# What other checkouts have compiled. A test is not told whose it is.
HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d : -f 6)}
if [[ -w $HOME ]]; then
  source ../../tools/common.sh
  flags+=("$(braid_cache_flags)")
else
  HOME=$TEST_TMPDIR
fi

# Nothing that the outer Bazel tells a test.
env --ignore-environment HOME="$HOME" PATH="$PATH" USER="${USER:-nobody}" \
  bazel --batch --output_base="$output_base" test "${flags[@]}" //...
