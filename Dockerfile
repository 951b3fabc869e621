# Doorward in a container: wheels are built in one stage and installed in the other, which keeps
# neither sources nor build tools. It runs as a user without a name, on a read-only root file system.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS wheels
# The head reader is compiled. Whatever the distribution's newest compiler is will do.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE constraints.txt ./
COPY config config
COPY proxy proxy
RUN DOORWARD_EXTENSION=required pip wheel --no-cache-dir --constraint constraints.txt --wheel-dir /wheels '.[postgresql]'

FROM python:${PYTHON}-slim
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Doorward" \
      org.opencontainers.image.description="A login in front of web applications that lack one" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.3.0.dev0" \
      org.opencontainers.image.revision="${REVISION}"
# The versions are those of the first stage: nothing comes from an index here.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'doorward[postgresql]' \
    && install -d -o 10001 -g 10001 -m 0700 /data \
    && install -d /etc/doorward

# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data

# The environment goes before the file: inside a container these three are fixed by the image.
# Listening on every address needs a public_url in the file; Doorward says so when it is missing.
ENV DOORWARD_CONFIG=/etc/doorward/doorward.yaml \
    DOORWARD_DATA_DIR=/data \
    DOORWARD_LISTEN=0.0.0.0:8080 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

EXPOSE 8080
STOPSIGNAL SIGTERM
# Asks /readyz of the admin listener, which stays on the container's loopback address.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["doorward", "health"]

ENTRYPOINT ["doorward"]
CMD ["serve"]
