#!/usr/bin/env bash
# Runs a training job on the folders that make_channels.py laid out.
#   local_test/train_local.sh FOLDER          with the Python of .venv (or of $PYTHON)
#   local_test/train_local.sh FOLDER IMAGE    with Docker
set -euo pipefail

if [ "$#" -lt 1 ] || [ "$#" -gt 2 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(cd "$1" && pwd)

if [ "$#" -eq 2 ]; then
    # The user's own id, so that the model does not belong to root. SageMaker itself runs the image as root.
    exec docker run --rm --user "$(id -u):$(id -g)" --volume "$folder:/opt/ml" "$2" train
fi
export SAGEMAKER_BASE_DIR=$folder
exec "${PYTHON:-$repository/.venv/bin/python}" -m container.entrypoint train
