#!/usr/bin/env bash
# Serves the model that train_local.sh left in FOLDER/model, on 127.0.0.1 and port 8080 (or $SAGEMAKER_BIND_TO_PORT).
#   local_test/serve_local.sh FOLDER          with the Python of .venv (or of $PYTHON)
#   local_test/serve_local.sh FOLDER IMAGE    with Docker
set -euo pipefail

if [ "$#" -lt 1 ] || [ "$#" -gt 2 ]; then
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
fi
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(cd "$1" && pwd)
port=${SAGEMAKER_BIND_TO_PORT:-8080}

if [ "$#" -eq 2 ]; then
    exec docker run --rm --user "$(id -u):$(id -g)" --publish "127.0.0.1:$port:8080" \
        --volume "$folder/model:/opt/ml/model:ro" "$2" serve
fi
export SAGEMAKER_BASE_DIR=$folder S2S_BIND_ADDRESS=127.0.0.1 SAGEMAKER_BIND_TO_PORT=$port
exec "${PYTHON:-$repository/.venv/bin/python}" -m container.entrypoint serve
