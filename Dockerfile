# The images tropilla:cpu and tropilla:cuda: docs/compose.md.
#
#   docker build --target cpu  -t tropilla:cpu .
#   docker build --target cuda -t tropilla:cuda .
#
# Two stages each: one with compilers, which makes /opt/tropilla, and one that takes that over. The layers are in the order
# in which they change: llama.cpp (minutes), the other packages (a minute), the sources (seconds). Nothing here needs
# BuildKit; the classic builder makes the stages above a target, too, so what most people want comes first.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG CUDA_VERSION=12.8.1
ARG CUDA_SYSTEM=ubuntu24.04

# -- cpu ---------------------------------------------------------------------------------------------------------------

FROM ${PYTHON_IMAGE} AS cpu-build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/tools/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# pip and what builds stay here: /opt/tropilla has no pip.
RUN python -m venv /opt/tools \
    && /opt/tools/bin/python -m pip install "pip>=24" "setuptools>=77" wheel scikit-build-core cmake ninja \
    && python -m venv --without-pip /opt/tropilla
# Must be pyproject.toml's; a test says so.
ARG LLAMA_CPP_PYTHON=0.3.36
# Jobs at once, one for each core where it is not given; and further options of cmake.
ARG CMAKE_BUILD_PARALLEL_LEVEL
ARG LLAMA_CMAKE_ARGS
COPY compose/image/llama.sh /build/
RUN sh /build/llama.sh "${LLAMA_CPP_PYTHON}" cpu /build/llama
COPY pyproject.toml compose/image/install.sh /build/
RUN sh /build/install.sh packages
COPY . /build/sources/
RUN sh /build/install.sh sources

FROM ${PYTHON_IMAGE} AS cpu
# llama.cpp's threads.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log
# One user for all of ours, with a number that volumes can be given to. No shell, no password, nothing of its own.
RUN groupadd --system --gid 10001 tropilla \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/tropilla --shell /usr/sbin/nologin tropilla \
    && install -d -o tropilla -g tropilla -m 700 /var/lib/tropilla
COPY --from=cpu-build /opt/tropilla /opt/tropilla
ENV PATH=/opt/tropilla/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/tropilla \
    TROPILLA_HOME=/var/lib/tropilla
LABEL org.opencontainers.image.title="Tropilla" \
      org.opencontainers.image.description="An inference cluster for GGUF models: API, CPU worker, store, Flower" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
WORKDIR /var/lib/tropilla
# `tropilla web` and its like become the process that they start, so that one has signals and children to itself.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tropilla"]
CMD ["--help"]

# -- cuda: the same, with the compiler and the libraries of CUDA ---------------------------------------------------------

FROM nvidia/cuda:${CUDA_VERSION}-devel-${CUDA_SYSTEM} AS cuda-build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/tools/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/tools \
    && /opt/tools/bin/python -m pip install "pip>=24" "setuptools>=77" wheel scikit-build-core cmake ninja \
    && python3 -m venv --without-pip /opt/tropilla
ARG LLAMA_CPP_PYTHON=0.3.36
ARG CMAKE_BUILD_PARALLEL_LEVEL
ARG LLAMA_CMAKE_ARGS
# Generations of GPUs, as in CMAKE_CUDA_ARCHITECTURES: one that is yours builds in a fifth of the time.
ARG CUDA_ARCHITECTURES
COPY compose/image/llama.sh /build/
RUN sh /build/llama.sh "${LLAMA_CPP_PYTHON}" cuda /build/llama
COPY pyproject.toml compose/image/install.sh /build/
RUN sh /build/install.sh packages
COPY . /build/sources/
RUN sh /build/install.sh sources

FROM nvidia/cuda:${CUDA_VERSION}-runtime-${CUDA_SYSTEM} AS cuda
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log
RUN groupadd --system --gid 10001 tropilla \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/tropilla --shell /usr/sbin/nologin tropilla \
    && install -d -o tropilla -g tropilla -m 700 /var/lib/tropilla
COPY --from=cuda-build /opt/tropilla /opt/tropilla
ENV PATH=/opt/tropilla/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/tropilla \
    TROPILLA_HOME=/var/lib/tropilla
LABEL org.opencontainers.image.title="Tropilla" \
      org.opencontainers.image.description="An inference cluster for GGUF models: GPU worker (CUDA)" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
WORKDIR /var/lib/tropilla
STOPSIGNAL SIGTERM
ENTRYPOINT ["tropilla"]
CMD ["--help"]
