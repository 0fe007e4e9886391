#!/bin/bash
#SBATCH --job-name=worker_many
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --time=1:00:00
#SBATCH --array=4-23
#SBATCH --output=slurm-%a.log
#SBATCH --open-mode=append
#SBATCH --signal=USR1@120
#SBATCH --requeue

# A Slurm job that launch/slurm made. To submit it again: sbatch slurm.sh in the folder in which this file stands.
# The run saves its state when Slurm takes the nodes and before the time limit. Then the job is queued again, and the
# run goes on. A job that scancel ends, or whose run fails by itself, is not queued again.
# shellcheck disable=SC2016 # the flags of a run are no code

processes=1
gpus_per_task=1
max_restarts=20
max_kills=3
command=(/venv/bin/python -m dlcore.launch.series.worker --scheduler=/shared/runs/adding/many/cluster/scheduler.json)

log=$PWD/slurm${SLURM_ARRAY_TASK_ID:+-$SLURM_ARRAY_TASK_ID}.log
first_exit=$PWD/.exit-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}
cd -- / || exit 2
export PYTHONPATH=/project

if [ "$processes" -gt 1 ]; then # they meet at the first node, on which this script runs, at a port of this job
    node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    address=$(scontrol show node -o "$node" | grep -o 'NodeAddr=[^ ]*' | cut -d = -f 2)
    place=$((SLURM_JOB_ID % 4096))
    while (: <>"/dev/tcp/127.0.0.1/$((61440 + place))") 2>/dev/null; do # another program uses it
        place=$(((place + 1) % 4096))
    done
    export DLCORE_COORDINATOR=${address:-$node}:$((61440 + place))
    export DLCORE_NUM_PROCESSES=$processes
fi

# Runs a command as one process of the job, and notes its number and exit code if it is the first one that fails.
# Signals reach this shell and the command; the shell waits for the command.
# shellcheck disable=SC2329
run_process() {
    local first_exit=$1 gpus=$2 first=$((SLURM_LOCALID * $2)) ids code
    shift 2
    if [ "${DLCORE_NUM_PROCESSES:-1}" -gt 1 ]; then
        export DLCORE_PROCESS_ID=$SLURM_PROCID
        ids=$(seq -s , "$first" $((first + gpus - 1)))
        [ "$gpus" -eq 0 ] || export JAX_LOCAL_DEVICE_IDS=$ids
    fi
    trap : TERM USR1 USR2 XCPU HUP INT
    "$@"
    code=$?
    [ "$code" -eq 0 ] || (set -o noclobber && echo "$SLURM_PROCID $code" >"$first_exit") 2>/dev/null
    exit "$code"
}

options=(--kill-on-bad-exit=1 --wait=0)
[ "$processes" -eq 1 ] || options+=(--label)
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || options+=(--cpus-per-task="$SLURM_CPUS_PER_TASK")
trap : TERM # at the time limit Slurm ends this shell too, which has to queue the job again
srun "${options[@]}" bash -c "$(declare -f run_process); run_process \"\$@\"" run_process \
    "$first_exit" "$gpus_per_task" "${command[@]}"
code=$?
process=0
[ ! -s "$first_exit" ] || read -r process code <"$first_exit"
rm -f -- "$first_exit"
[ "$code" -ne 0 ] || exit 0

# The state is COMPLETING if scancel ended the job or Slurm itself queues it again, and at the time limit.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
case $(squeue --noheader --jobs="$job" --format='%T %r') in
RUNNING\ * | *\ TimeLimit) ;;
*) exit "$code" ;;
esac

say() { echo "launch: job $job: $*"; }
case $code in
75) ;;
134 | 137 | 138 | 143) # killed by a signal, as when the memory of the node is full
    say "process $process was killed, with exit code $code"
    if [ "$(grep -a -c "^launch: job $job: process .* was killed" "$log")" -gt "$max_kills" ]; then
        say "it was killed $max_kills times before, so it is not queued again"
        exit "$code"
    fi
    ;;
*)
    if [ "$processes" -gt 1 ]; then
        say "process $process ended first, with exit code $code; the end of its output:"
        grep -a "^[ 0]*$process: " "$log" | tail -n 40
    fi
    exit "$code"
    ;;
esac
if [ "${SLURM_RESTART_COUNT:-0}" -ge "$max_restarts" ]; then
    say "it was queued again $max_restarts times already (--max_restarts)"
    exit "$code"
fi
say "exit code $code, so it is queued again"
scontrol requeue "$job"
exit "$code"
