#!/bin/bash
# Is what the plugin writes for golden.proto what it wrote before? If a change is
# meant, copy the files that this prints over those in testdata/.
set -u
result=0
while (($#)); do
  if ! diff --unified "$2" "$1"; then
    echo "$1 is not what $2 says" >&2
    result=1
  fi
  shift 2
done
exit "$result"
