# What a batch job does around `srun sluice train`: it starts the ranks, passes signals on, and when
# they have ended decides whether the job goes back into the queue. The scripts beside this file
# source it; `sluice submit` writes it into the script it submits.
#
#   train_and_continue RUN.toml [OPTIONS OF sluice train]
#
# Settings, from the environment or a file in sites/ (every one may be left out):
#   SLUICE               the program [sluice]
#   SLUICE_RUN_DIR       the run folder [runs/<name of the run file>]
#   SLUICE_MODULES       modules to load
#   SLUICE_SRUN_OPTIONS  more options for srun
#   SLUICE_MAX_STALLED   starts in a row that may end without a newer checkpoint [3]

say() { printf '[job %s] %s\n' "${SLURM_JOB_ID:-?}" "$*"; }

# The launcher keeps no exit code worth having (a rank that exits 7 comes back as 137 or 143); what
# happened stands in status.json or, before training, in the file that rank 0 leaves its own in.
status_text() { cat "$run_dir/status.json" 2>/dev/null; }
status_of() { status_text | sed -n 's/^ *"'"$1"'": *"\{0,1\}\(.*[^",]\)"\{0,1\},\{0,1\}$/\1/p'; }

# Progress is what survives: the newest checkpoint, not the update that was reached.
newest_checkpoint() {
    local newest
    newest=$(printf '%s\n' "$run_dir"/checkpoints/update-* | sort | tail -n 1)
    newest=${newest##*/update-}
    [[ $newest =~ ^[0-9]+$ ]] && echo $((10#$newest)) || echo 0
}

# One chain is one submission: an array with its slices, or a job with its restarts.
chain_id() { echo "${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-0}}"; }
chain_value() { sed -n "s/^$1=\([0-9]*\)$/\1/p" "$run_dir/slurm-chain" 2>/dev/null; }

# Whether the chain gets on. `stalled`: starts in a row without a newer checkpoint than they began from.
# `rewinds`: those that ended further back than they began, until the run is further than ever. So a run
# that makes up for a rewind goes on, and one that rewinds for ever to the same place ends.
check_progress() {
    local now
    now=$(newest_checkpoint)
    if ((now > furthest)); then furthest=$now rewinds=0; fi
    if ((now > newest_before)); then stalled=0; elif ((now < newest_before)); then ((++rewinds)); fi
    ((stalled < ${SLUICE_MAX_STALLED:-3} && rewinds < ${SLUICE_MAX_STALLED:-3}))
}

# Counts this start before it does anything, for this script may be killed together with it: it is one
# without progress until there is a newer checkpoint, and that the next start sees.
count_start() {
    local record=$run_dir/slurm-chain
    newest_before=$(newest_checkpoint) furthest=$newest_before rewinds=0 stalled=0
    if [[ $(chain_value chain) == "$(chain_id)" ]]; then
        furthest=$(chain_value furthest) newest_before=$(chain_value newest_before)
        rewinds=$(chain_value rewinds) stalled=$(chain_value stalled)
        check_progress || give_up 71 "the last start ended without getting on"
        newest_before=$(newest_checkpoint)
    fi
    ((++stalled))
    printf 'chain=%s\nfurthest=%s\nnewest_before=%s\nrewinds=%s\nstalled=%s\n' "$(chain_id)" "$furthest" \
        "$newest_before" "$rewinds" "$stalled" >"$record.new" && mv -f "$record.new" "$record" && return
    say "warning: cannot write $record: this start is not counted"
}

# The trainer stops by itself before the job ends. Slurm 22.05 does not tell jobs when that is.
tell_end_time() {
    local end
    [[ -z ${SLURM_JOB_END_TIME:-} && -n ${SLURM_JOB_ID:-} ]] || return 0
    end=$(squeue -h -j "$SLURM_JOB_ID" -o %e 2>/dev/null) && [[ -n $end ]] && end=$(date -d "$end" +%s 2>/dev/null) || return 0
    export SLURM_JOB_END_TIME=$end
}

# Ends the chain: waiting slices of an array would only find the same. A job that is requeued by hand
# after this counts anew; slices that could not be cancelled do not, and another chain's count stays.
end_chain() {
    if [[ -n ${SLURM_ARRAY_JOB_ID:-} ]]; then
        scancel --quiet --state=PENDING "$SLURM_ARRAY_JOB_ID" || exit "$1"
    fi
    if [[ $(chain_value chain) == "$(chain_id)" ]]; then rm -f "$run_dir/slurm-chain"; fi
    exit "$1"
}

give_up() {
    local text
    text="$stalled starts in a row without a newer checkpoint"
    ((stalled >= ${SLUICE_MAX_STALLED:-3})) || text="$rewinds starts that ended further back than they began"
    text="gave up after $text: $2"
    say "$text"
    printf '%s\njob: %s\nlast exit code: %s\nnewest checkpoint: update %s\n' "$text" \
        "${SLURM_JOB_ID:-?}" "$1" "$(newest_checkpoint)" >"$run_dir/slurm-stopped.txt"
    end_chain "$1"
}

# Slurm holds a requeued job back for two minutes (cred_expire), counted from the end of its script,
# unless it was told a start that is still to come by then.
start_soon() { scontrol update JobId="$1" StartTime=now+10 2>/dev/null || true; }

# Back into the queue, unless the job no longer runs: then somebody has decided already.
# `$2`: soon, or later, which is when Slurm likes.
requeue() {
    local job=${SLURM_JOB_ID:?}
    if [[ -n ${SLURM_ARRAY_JOB_ID:-} ]]; then job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
    if [[ $(squeue -h -j "$job" -o %T 2>/dev/null) == RUNNING ]]; then
        say "back into the queue"
        trap '' TERM USR1 # requeueing ends this script: first tell Slurm when to start
        scontrol requeue "$job" || exit "$1"
    else
        say "cancelled, or requeued by Slurm"
    fi
    if [[ $2 == soon ]]; then start_soon "$job"; fi
    exit "$1"
}

# Exit code 3 is about files and disks. What was met before the first update, or where the last start
# ended, another start would meet, too; anything else may be gone by then.
would_be_the_same() {
    local update
    update=$(status_of update)
    [[ $1 == 2 || ($1 == 3 && ($update == "$newest_before" || $update == "$update_before")) ]]
}

# What comes next. `$1`: srun's exit code.
decide() {
    local code=$1 state=none reason when=soon
    if [[ $(status_text) != "$status_before" ]]; then
        state=$(status_of state) code=$(status_of exit_code)
    elif [[ $(cat "$SLUICE_EXIT_FILE" 2>/dev/null) =~ ^[0-9]+$ ]]; then # rank 0's own: it never trained
        state=refused code=${BASH_REMATCH[0]}
        if [[ -e $run_dir/.lock ]] && ! flock --nonblock "$run_dir/.lock" true; then state=occupied code=71; fi
    fi
    rm -f "$SLUICE_EXIT_FILE"
    reason=$(status_of reason)
    reason=${reason//'\n  '/; } reason=${reason//'\"'/'"'} # as JSON writes them
    case $state in
    finished) say "finished"; end_chain 0 ;;
    occupied) reason="another start has not left the run folder yet: its message is above" ;;
    refused) reason="it did not begin to train: its message is above" ;;
    running | none) reason="the ranks ended without a word (srun: exit code $1)"; code=$1 ;;
    esac
    say "update $(status_of update), exit code $code: $reason"
    if [[ $code == 0 ]]; then say "nothing to do"; end_chain 0; fi
    if would_be_the_same "$code"; then say "another start would meet the same; not requeued"; end_chain "$code"; fi
    if [[ $state == stopped && $reason == *"STOP file"* ]]; then
        say "stopped for good: submit again to continue"
        end_chain "$code"
    fi
    check_progress || give_up "$code" "$reason"
    # The next slice of an array continues; a job alone starts again.
    if [[ -n ${SLURM_ARRAY_JOB_ID:-} ]]; then exit "$code"; fi
    if [[ $code == 3 || $state == occupied ]]; then when=later; fi # what is in the way takes its time
    requeue "$code" "$when"
}

# As `sluice train` without --run-dir.
run_dir_of() {
    local folder
    folder=$(dirname "$1")
    if [[ ${1##*/} == config.toml && ( -e $folder/metrics.jsonl || -e $folder/status.json ) ]]; then
        printf '%s' "$folder"
    else
        printf '%s' "runs/$(basename "$1" .toml)"
    fi
}

# TERM and USR1 may reach this shell only (--signal=B:USR1@N, scancel --batch): ranks take both for
# "save and stop". srun runs in the background, because a shell that waits runs no traps.
train_and_continue() {
    local run_file=$1 code=0 step options=()
    shift
    run_dir=${SLUICE_RUN_DIR:-$(run_dir_of "$run_file")}
    status_before=$(status_text)
    update_before=$(status_of update)
    if [[ -n ${SLUICE_MODULES:-} ]]; then
        # shellcheck disable=SC2086
        module load $SLUICE_MODULES
    fi
    tell_end_time
    mkdir -p "$run_dir" || { say "cannot create the run folder; not requeued"; end_chain 3; }
    [[ $(chain_value chain) == "$(chain_id)" ]] || rm -f "$run_dir/slurm-stopped.txt"
    say "start ${SLURM_RESTART_COUNT:-0}${SLURM_ARRAY_TASK_ID:+, slice $SLURM_ARRAY_TASK_ID} on ${SLURM_JOB_NODELIST:-?}"
    count_start
    SLUICE_EXIT_FILE=$(mktemp) && export SLUICE_EXIT_FILE # on this node, which has rank 0 too
    # srun does not inherit --cpus-per-task since Slurm 22.05.
    if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then options+=(--cpus-per-task="$SLURM_CPUS_PER_TASK"); fi
    # shellcheck disable=SC2086
    srun --mpi=pmix --kill-on-bad-exit=1 "${options[@]}" ${SLUICE_SRUN_OPTIONS:-} \
        "${SLUICE:-sluice}" train "$run_file" --run-dir "$run_dir" "$@" &
    step=$!
    trap 'kill -USR1 "$step" 2>/dev/null' USR1 TERM
    while wait "$step"; code=$?; kill -0 "$step" 2>/dev/null; do :; done
    trap - USR1 TERM
    decide "$code"
}
