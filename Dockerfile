# syntaxdiff with GPUs: docs/docker.md says how to build and run it, and what of it was checked where.
#
# devel, because DeepSpeed compiles its ops with nvcc on first use; 13.0, because the torch 2.13 wheel of the package index
# is built for it, and DeepSpeed refuses an nvcc of another version than torch's. No `cudnn` in the tag: the torch wheel
# brings the cuDNN that it was built with (9.20). Ubuntu 24.04 has Python 3.12.
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04

# The compiler, Python's headers and ninja are for DeepSpeed's ops.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        build-essential ca-certificates git ninja-build python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

# Give your own id (--build-arg USER_ID=$(id -u)), and what a container writes to a mounted folder is yours. It may exist
# already: Ubuntu's image has a user 1000.
ARG USER_ID=1000
RUN useradd --create-home --non-unique --uid "$USER_ID" syntaxdiff \
    && install -d -o "$USER_ID" /opt/venv /opt/syntaxdiff

USER syntaxdiff
WORKDIR /opt/syntaxdiff
ENV VIRTUAL_ENV=/opt/venv
ENV PATH=$VIRTUAL_ENV/bin:$PATH
ENV PIP_NO_CACHE_DIR=1

# The dependencies are a layer of their own, rebuilt only when these two files change.
RUN python3 -m venv "$VIRTUAL_ENV"
COPY --chown=syntaxdiff pyproject.toml constraints.txt ./
RUN python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt

COPY --chown=syntaxdiff . .
RUN pip install --no-deps -e .
CMD ["bash"]
