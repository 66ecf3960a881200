# Images of the server. `docker build --target cpu -t sppruner-vllm:0.1.0-cpu .` or `--target gpu`.
# Classic syntax only: it builds with buildah and podman as well. Order matters for layers: packages of others first, ours last.

ARG BASE_IMAGE=python:3.11-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84
ARG CUDA_IMAGE=vllm/vllm-openai:v0.32.0

# Our wheel, unpacked: the only layer that a new version of ours changes.
FROM ${BASE_IMAGE} AS wheel
WORKDIR /src
RUN python3 -m venv /pip && /pip/bin/pip install --no-cache-dir "setuptools==78.1.1" "wheel==0.47.0"
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY sppruner_vllm sppruner_vllm
RUN /pip/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /pip/bin/pip install --no-cache-dir --no-deps --target /app /wheels/*.whl \
 && rm -rf /app/bin

# Everything the CPU server needs of others, as locked. torch is the CPU build: from the configured index where it has
# one, else from PyTorch's own.
FROM ${BASE_IMAGE} AS packages
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/sppruner
COPY deploy/requirements-serve-cpu.lock /tmp/lock
RUN torch="$(grep '^torch==' /tmp/lock)+cpu" \
 && pip() { /pip/bin/pip --python /opt/sppruner/bin/python install --no-cache-dir --no-deps "$@"; } \
 && { pip "$torch" || pip --extra-index-url https://download.pytorch.org/whl/cpu "$torch"; } \
 && pip -r /tmp/lock
COPY deploy/_sppruner_torchvision_shim.py /tmp/
RUN packages="$(/opt/sppruner/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
 && cp /tmp/_sppruner_torchvision_shim.py "$packages/" \
 && echo "import _sppruner_torchvision_shim" > "$packages/_sppruner_torchvision_shim.pth" \
 && echo /app > "$packages/sppruner_app.pth"

FROM ${BASE_IMAGE} AS cpu
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sppruner-vllm" \
      org.opencontainers.image.description="OpenAI-compatible vision-language server with per-request visual-token reduction, CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# vLLM's CPU kernels are linked against libnuma.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libnuma1=2.0.16-1 \
 && rm -rf /var/lib/apt/lists/*
# Any user of group 0 may write the cache, so that a platform may choose the UID.
RUN useradd --uid 2000 --gid 0 --no-create-home --home-dir /cache sppruner \
 && install -d -o 2000 -g 0 -m 0775 /cache /cache/tmp
COPY --from=packages /opt/sppruner /opt/sppruner
COPY --from=wheel /app /app
ENV PATH=/opt/sppruner/bin:$PATH \
    HOME=/cache \
    USER=sppruner \
    TMPDIR=/cache/tmp \
    HF_HOME=/cache/huggingface \
    VLLM_CACHE_ROOT=/cache/vllm \
    VLLM_NO_USAGE_STATS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /cache
USER 2000:0
VOLUME /cache
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=10s --start-period=10m --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
# What comes while Python starts waits until the server listens: a first process without handlers would lose it.
ENTRYPOINT ["env", "--block-signal=TERM,HUP", "python", "-m", "sppruner_server.container"]

FROM ${CUDA_IMAGE} AS gpu
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sppruner-vllm" \
      org.opencontainers.image.description="OpenAI-compatible vision-language server with per-request visual-token reduction, CUDA" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 0
RUN install -d -o 2000 -g 0 -m 0775 /cache /cache/tmp
COPY --from=wheel /wheels /tmp/wheels
# What our wheel needs beyond vLLM's own packages is resolved here; vLLM itself must stay what the image has.
RUN python3 -m pip install --no-cache-dir "cachetools==8.0.1" "pydantic-settings==2.16.3" \
 && python3 -m pip install --no-cache-dir --no-deps /tmp/wheels/*.whl \
 && rm -rf /tmp/wheels \
 && python3 -c "from importlib.metadata import entry_points; assert 'sppruner' in entry_points(group='vllm.general_plugins').names"
ENV HOME=/cache \
    USER=sppruner \
    TMPDIR=/cache/tmp \
    HF_HOME=/cache/huggingface \
    VLLM_CACHE_ROOT=/cache/vllm \
    VLLM_NO_USAGE_STATS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /cache
USER 2000:0
VOLUME /cache
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=10s --start-period=30m --retries=3 \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["env", "--block-signal=TERM,HUP", "python3", "-m", "sppruner_server.container"]
