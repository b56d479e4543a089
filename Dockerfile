# The image of the algorithm: `docker run IMAGE train`, `docker run IMAGE serve`. docs/image.md tells more.
#
#   make image, or docker build -t s2s .                                              for CPUs
#   make image TORCH=cuda, or docker build -t s2s --build-arg TORCH_BUILD=cu130 .     for NVIDIA GPUs
#
# The layers go from what changes least to what changes most, so a change of the code rebuilds the small ones alone.

ARG BASE_IMAGE=python:3.11-slim

# The tool that writes the bill of materials, in an environment of its own, so that it is no part of the bill.
FROM ${BASE_IMAGE} AS biller
ARG CYCLONEDX_VERSION=7.5.0
RUN python -m venv /opt/biller \
    && /opt/biller/bin/python -m pip install --no-cache-dir "cyclonedx-bom==${CYCLONEDX_VERSION}"

FROM ${BASE_IMAGE} AS program

# The version must be the one that constraints.txt pins. The build is the name of a folder of the index: cpu, or the
# CUDA that torch is built for. The index is an extra one, so a builder that cannot reach it may find the wheel
# elsewhere. What torch itself depends on comes later.
ARG TORCH_VERSION=2.13.0
ARG TORCH_BUILD=cpu
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl
RUN python -m pip install --no-cache-dir --root-user-action=ignore --no-deps --retries 1 \
        --extra-index-url "${TORCH_INDEX_URL}/${TORCH_BUILD}" "torch==${TORCH_VERSION}"

# The dependencies alone, without the code that needs them. Asking for another torch than the pinned one is allowed.
# The general index has torch for one kind of device only, which need not be the one that was asked for.
WORKDIR /opt/s2s
COPY constraints.txt pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        > /tmp/requirements.txt \
    && sed "s/^torch==.*/torch==${TORCH_VERSION}/" constraints.txt > /tmp/constraints.txt \
    && python -m pip install --no-cache-dir --root-user-action=ignore \
        --constraint /tmp/constraints.txt --requirement /tmp/requirements.txt \
    && rm /tmp/constraints.txt /tmp/requirements.txt \
    && python -c "import sys, torch; (torch.version.cuda is None) == ('${TORCH_BUILD}' == 'cpu') or sys.exit( \
        f'torch {torch.__version__} is installed, but TORCH_BUILD is ${TORCH_BUILD}: see whether pip can reach ' \
        '${TORCH_INDEX_URL}/${TORCH_BUILD}')"

COPY LICENSE README.md ./
COPY container container
COPY s2s_algo s2s_algo
COPY serve serve
RUN python -m pip install --no-cache-dir --root-user-action=ignore --no-deps . && rm -r /opt/s2s/*

FROM program AS bill
COPY --from=biller /opt/biller /opt/biller
COPY pyproject.toml /tmp/
RUN /opt/biller/bin/cyclonedx-py environment --output-reproducible --mc-type application \
        --pyproject /tmp/pyproject.toml --output-file /tmp/sbom.cdx.json "$(command -v python)"

FROM program
COPY --from=bill /tmp/sbom.cdx.json ./

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
ARG REVISION=unknown
LABEL org.opencontainers.image.title="s2s" \
      org.opencontainers.image.description="Open, drop-in successor of the Amazon SageMaker Seq2Seq container, in PyTorch" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      com.amazonaws.sagemaker.capabilities.multi-models="true"

EXPOSE 8080
WORKDIR /

# The exec form: env becomes Python, which is process 1 and gets the signals itself. Process 1 loses what it does not
# handle, so the signal that ends a container waits until Python has started.
ENTRYPOINT ["env", "--block-signal=TERM", "python", "-m", "container.entrypoint"]
