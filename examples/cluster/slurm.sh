#!/bin/bash
# One chief and four workers on Slurm. Run it in this directory, on a shared file system:
#
#     sbatch slurm.sh [OPTIONS OF search.py]
#     sbatch --ntasks=33 --gpus-per-task=1 slurm.sh --dataset mnist --data-dir "$HOME/tensorflow_datasets"
#
# The search resumes when it is submitted again with the same options.
#SBATCH --job-name=hyper-deep-search
#SBATCH --ntasks=5
#SBATCH --cpus-per-task=2
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

# Task 0 runs on the first node of the list. The three consecutive ports are below the ephemeral ports of Linux, and
# unlikely to be shared by two jobs on one node.
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
KERASTUNER_ORACLE_IP=${nodes%%$'\n'*}
KERASTUNER_ORACLE_PORT=$((10000 + 3 * (SLURM_JOB_ID % 7000)))
export KERASTUNER_ORACLE_IP KERASTUNER_ORACLE_PORT

# The chief listens on all its addresses, because the name of a host may resolve to its loopback address.
# shellcheck disable=SC2016  # each task expands this
srun --kill-on-bad-exit=1 bash -c '
    if [[ $SLURM_PROCID == 0 ]]; then
        export KERASTUNER_TUNER_ID=chief KERASTUNER_ORACLE_IP=0.0.0.0
    else
        export KERASTUNER_TUNER_ID=worker$SLURM_PROCID
    fi
    exec python search.py "$@"' search "$@"
