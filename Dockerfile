# One file for every image of docker-compose.yml and deploy/compose-fleet.yaml; `docker build .` builds
# the image of tunnelctl.
# No image runs as root or contains a key.

FROM python:3.13-slim AS base
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin tunnel \
    && install -d -o tunnel -g tunnel -m 0700 /keys
ENV PYTHONUNBUFFERED=1

# A web service without SSH.
FROM base AS web
COPY docker/web /srv/web
USER tunnel
CMD ["python3", "-m", "http.server", "--directory", "/srv/web", "8000"]

# The client that proves a forward.
FROM base AS test
COPY docker/test/prove.py /srv/prove.py
USER tunnel
CMD ["python3", "/srv/prove.py"]

# OpenSSH's server, run by the only user that may log in.
FROM base AS sshd
RUN apt-get update \
    && apt-get install -y --no-install-recommends openssh-server openssh-client \
    && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
    && install -d -o tunnel -g tunnel -m 0700 /var/lib/sshd
COPY docker/sshd/sshd_config /etc/ssh/sshd_config
COPY docker/sshd/entrypoint.sh /usr/local/bin/entrypoint.sh
USER tunnel
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]

# The same, for a fleet's remote port.
FROM sshd AS fleet_sshd
COPY docker/fleet/sshd_config /etc/ssh/sshd_config

# A member of the store of a fleet.
FROM base AS etcd
RUN apt-get update \
    && apt-get install -y --no-install-recommends etcd-server \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o tunnel -g tunnel -m 0700 /var/lib/etcd
USER tunnel
CMD ["etcd"]

# Installs the pinned packages (requirements/); the build tools stay in this stage. The slim image has
# the headers of its own Python; with a C compiler the data path is compiled too.
FROM base AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
# Without pip, which nothing needs at run time.
RUN python3 -m venv --without-pip /opt/tunnelctl && python3 -m venv /opt/build
WORKDIR /src
COPY requirements requirements
RUN /opt/build/bin/pip --python /opt/tunnelctl/bin/python install --no-cache-dir --require-hashes -r requirements/all.txt \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/compile.txt
COPY pyproject.toml README.md LICENSE hatch_build.py ./
COPY man man
COPY tunnelctl tunnelctl
ARG SOURCE_DATE_EPOCH
RUN /opt/build/bin/hatchling build -t wheel -d /wheels \
    && /opt/build/bin/pip --python /opt/tunnelctl/bin/python install --no-cache-dir --no-deps /wheels/*.whl \
    && /opt/tunnelctl/bin/tunnelctl --version | grep -F '(compiled)'
COPY packaging/image packaging/image
RUN packaging/image/collect /collected

# Process 1 reaps orphans itself (docs/service.md), so it needs no other init. The bill of materials
# is /opt/tunnelctl/lib/python3.13/site-packages/tunnelctl-*.dist-info/sboms/tunnelctl.cdx.json.
FROM scratch AS runtime
COPY --from=build /collected /
ENV PATH=/opt/tunnelctl/bin:/usr/local/bin:/usr/bin PYTHONUNBUFFERED=1
USER tunnel
STOPSIGNAL SIGTERM
# Fails unless every wanted profile is up.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["tunnelctl", "ps"]
ENTRYPOINT ["tunnelctl"]
CMD ["daemon"]

# The daemons of the compose files. Their profiles are copied, so that they belong to root: those of a
# clone belong to its user, and no other user's profile is read.
FROM runtime AS daemon
COPY docker/profiles /etc/tunnelctl
FROM runtime AS machine
COPY docker/fleet/machine /etc/tunnelctl

# Last, so that `docker build .` builds it.
FROM runtime AS tunnelctl
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="tunnelctl" \
    org.opencontainers.image.description="Keeps SSH tunnels up" \
    org.opencontainers.image.licenses="MIT AND Apache-2.0" \
    org.opencontainers.image.url="https://github.com/tunnelctl/tunnelctl" \
    org.opencontainers.image.source="https://github.com/tunnelctl/tunnelctl" \
    org.opencontainers.image.documentation="https://github.com/tunnelctl/tunnelctl/blob/main/docs/install.md" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
