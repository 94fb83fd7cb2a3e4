# One file for every image of docker-compose.yml; `docker build .` builds the image of tunnelctl.
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

# Installs the pinned packages (requirements/); the build tools stay in this stage. The slim image has
# the headers of its own Python; with a C compiler the data path is compiled too.
FROM base AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/tunnelctl && python3 -m venv /opt/build
WORKDIR /src
COPY requirements requirements
RUN /opt/tunnelctl/bin/pip install --no-cache-dir --require-hashes -r requirements/run.txt \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/compile.txt
COPY pyproject.toml README.md hatch_build.py ./
COPY man man
COPY tunnelctl tunnelctl
RUN /opt/build/bin/hatchling build -t wheel -d /wheels \
    && /opt/tunnelctl/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
    && /opt/tunnelctl/bin/tunnelctl --version | grep -F '(compiled)'

FROM base AS tunnelctl
COPY --from=build /opt/tunnelctl /opt/tunnelctl
ENV PATH=/opt/tunnelctl/bin:$PATH
USER tunnel
ENTRYPOINT ["tunnelctl"]
CMD ["daemon"]
