#!/bin/sh
# A test program under one of NVIDIA's checkers: sanitized.sh memcheck|racecheck|initcheck|synccheck
# PROGRAM [...]. Where there is no GPU or no compute-sanitizer the test is skipped (77).
tool=$1
shift
if ! nvidia-smi -L >/dev/null 2>&1; then
    echo "skipped: no GPU is visible"
    exit 77
fi
if ! command -v compute-sanitizer >/dev/null; then
    echo "skipped: compute-sanitizer (of the CUDA toolkit) is not on PATH"
    exit 77
fi
exec compute-sanitizer --tool "$tool" --error-exitcode 99 "$@"
