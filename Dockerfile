# The image of ovms: docs/container.md tells how to build and run it.
#
# BASE is an image of the Debian family. It may have a Python of its own, 3.11 or later; else it gets its distribution's.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
# hadolint ignore=DL3002
USER 0
WORKDIR /src
COPY tools/system_packages.sh tools/dependencies.py tools/
RUN tools/system_packages.sh python3
# A base with an OpenVINO of its own sets these; the wheel's is used.
ENV LD_LIBRARY_PATH= PYTHONPATH=
# What the sources need changes less often than they do.
ARG EXTRAS=all
COPY pyproject.toml ./
RUN python3 -m venv /opt/venv \
    && python3 tools/dependencies.py pyproject.toml runtime "${EXTRAS}" > requirements.txt \
    && python3 tools/dependencies.py pyproject.toml build >> requirements.txt \
    && /opt/venv/bin/python -m pip install --no-cache-dir -r requirements.txt
# So does what is compiled.
COPY setup.py setup.cfg ./
COPY ovms/__init__.py ovms/
COPY ovms/_native ovms/_native
RUN /opt/venv/bin/python setup.py -q build_ext
COPY LICENSE MANIFEST.in README.md ./
COPY ovms ovms
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-build-isolation --no-deps . \
    && /opt/venv/bin/python -I -c "from ovms._native import frontend" \
    && /opt/venv/bin/python -m pip uninstall --yes cython setuptools \
    && /opt/venv/bin/python -m pip check \
    && /opt/venv/bin/python -m pip uninstall --yes pip

FROM ${BASE}
LABEL org.opencontainers.image.title=ovms \
    org.opencontainers.image.description="Model server for OpenVINO with the TensorFlow Serving API" \
    org.opencontainers.image.licenses=Apache-2.0
USER 0
# Debian's names, which Ubuntu's packages have or provide.
# hadolint ignore=DL3008,SC2046
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libnghttp2-14 libssl3 libstdc++6 libuv1 zlib1g \
        $(command -v python3 > /dev/null || echo python3) \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log \
    && groupadd --gid 5000 ovms \
    && useradd --uid 5000 --gid 5000 --no-create-home --home-dir /var/lib/ovms --shell /usr/sbin/nologin ovms \
    && install -d /models \
    && install -d -o 5000 -g 5000 /var/lib/ovms /var/lib/ovms/models
COPY --from=builder /opt/venv /opt/venv
COPY deploy/image/entrypoint.sh /opt/ovms/
COPY deploy/image/start_server.sh /ie-serving-py/
ENV PATH=/opt/venv/bin:$PATH \
    LD_LIBRARY_PATH= \
    PYTHONPATH= \
    PYTHONDONTWRITEBYTECODE=1 \
    OVMS_MODEL_CACHE=/var/lib/ovms/models
# As in the ancestor's image: the versions of the server and of OpenVINO, and the commit between them.
ARG COMMIT=unknown
RUN python -c "from importlib.metadata import version; print(version('ovms'), '${COMMIT}', version('openvino'), sep='\n')" \
        > /ie-serving-py/version
USER 5000:5000
WORKDIR /var/lib/ovms
EXPOSE 9000 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["ovms", "ready"]
ENTRYPOINT ["/opt/ovms/entrypoint.sh"]
