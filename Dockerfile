# The image of the algorithm: `docker run IMAGE train`, `docker run IMAGE serve`.
#
#   docker build -t s2s .                                                                        for CPUs
#   docker build -t s2s --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cu130 .    for NVIDIA GPUs
#
# The layers go from what changes least to what changes most, so a change of the code rebuilds the last one alone.

ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

# The version must be the one that constraints.txt pins. The index decides for which devices torch is built; it is an
# extra one, so a builder that cannot reach it may find the wheel elsewhere. What torch itself depends on comes later.
ARG TORCH_VERSION=2.13.0
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN python -m pip install --no-cache-dir --root-user-action=ignore --no-deps --retries 1 \
        --extra-index-url "${TORCH_INDEX_URL}" "torch==${TORCH_VERSION}"

# The dependencies alone, without the code that needs them. Asking for another torch than the pinned one is allowed.
WORKDIR /opt/s2s
COPY constraints.txt pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        > /tmp/requirements.txt \
    && sed "s/^torch==.*/torch==${TORCH_VERSION}/" constraints.txt > /tmp/constraints.txt \
    && python -m pip install --no-cache-dir --root-user-action=ignore \
        --constraint /tmp/constraints.txt --requirement /tmp/requirements.txt \
    && rm /tmp/constraints.txt /tmp/requirements.txt

COPY LICENSE README.md ./
COPY container container
COPY s2s_algo s2s_algo
COPY serve serve
RUN python -m pip install --no-cache-dir --root-user-action=ignore --no-deps . && rm -r /opt/s2s/*

# Log lines appear when they are written, and nothing is written beside the code, whose owner is not always the user.
# Python must not import from the folder it is started in, which may hold a user's files.
# The last two make an NVIDIA runtime hand the GPUs in; without one they mean nothing.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    LANG=C.UTF-8 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="s2s" \
      org.opencontainers.image.description="Open, drop-in successor of the Amazon SageMaker Seq2Seq container, in PyTorch" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      com.amazonaws.sagemaker.capabilities.multi-models="true"

EXPOSE 8080
WORKDIR /

# The exec form: Python is process 1 and gets the signals itself.
ENTRYPOINT ["python", "-m", "container.entrypoint"]
