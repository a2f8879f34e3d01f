#!/usr/bin/env bash
# The main job from text to a checkpoint that resumes, on this machine, in about two minutes.
# Usage: recipes/demo.sh PATH/TO/sluice. Environment: DEMO_DIR (default build/demo), DEMO_INPUT.
# It begins anew each time; it deletes only a folder that it made itself and that no run has locked.
set -euo pipefail
sluice=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${DEMO_DIR:-build/demo}
marker=$folder/made-by-the-demo
input=${DEMO_INPUT:-/usr/include}
recipe=recipes/demo.toml

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() {
    printf '  $ %s\n' "${*//$sluice/sluice}"
    "$@"
}
train() { # ranks, then options; 75 means "stopped as asked, run again to continue"
    local ranks=$1 code=0
    shift
    show "$sluice" train "$recipe" --ranks "$ranks" --run-dir "$folder" \
        --set "data.train=$folder/train.h5" --set "data.validation=$folder/validation.h5" "$@" || code=$?
    [[ $code -eq 0 || $code -eq 75 ]] || exit "$code"
    return "$code"
}

refuse() {
    printf 'demo: %s: %s\n  what to do: %s\n' "$folder" "$1" "$2" >&2
    exit 2
}

if [[ -e $folder && -n $(ls -A "$folder") ]]; then
    [[ -f $marker ]] || refuse "this folder is not the demo's; it stays as it is" \
        "name an empty or new folder: DEMO_DIR=FOLDER"
    [[ ! -e $folder/.lock ]] || flock --nonblock "$folder/.lock" true ||
        refuse "a run is writing into this folder" \
            "wait until it has ended, or name another folder: DEMO_DIR=FOLDER"
    rm -rf "$folder"
fi
mkdir -p "$folder"
touch "$marker"
step "1. Text to tokens: the C and C++ headers of this machine, byte by byte"
show "$sluice" data prepare --input "$input" --tokenizer bytes --max-bytes 64M \
    --out "$folder/train.h5" --validation-fraction 0.02 --validation-out "$folder/validation.h5"

step "2. Train 20 layers on 2 pipeline stages; the gates open from the first layer to the last"
stopped=0
train 2 --stop-after "${DEMO_STOP_AFTER:-120}" || stopped=$?
[[ $stopped -eq 75 ]] || { echo "demo: expected to stop half way (exit 75), got $stopped" >&2; exit 1; }

step "3. Continue on 3 stages: the result is the same to the bit as on 2"
train 3

step "4. Look inside the last checkpoint"
last=$(ls -d "$folder"/checkpoints/update-* | tail -n 1)
show "$sluice" inspect "$last"

step "Done"
cat <<TEXT
  checkpoint   $last   (open checkpoint.h5 with h5py, h5ls -rE or HDFView)
  metrics      $folder/metrics.jsonl   one JSON object per update, every layer's gate included
  try next     export PATH=$(dirname "$sluice"):\$PATH
               sluice inspect $last --verify
               sluice eval $last --data $folder/validation.h5
               sluice plan $recipe --stages 4 --set data.train=$folder/train.h5
               edit $recipe: prores.schedule = "off" or "stagewise-L", arrangement = "post"
TEXT
