#!/bin/bash
# The program says so itself when all it tried was right.
set -euo pipefail
[[ $("$1" --backend=asio) == "hello: ok" ]]
[[ $("$1") == "hello: ok" ]]

# A wrong command line is 2, and names what is wrong.
code=0
said=$("$1" --backend=steam 2>&1) || code=$?
((code == 2)) && [[ $said == *steam* ]]
