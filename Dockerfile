# The image of the coordinator and of the operators' commands (topics, doctor, dead-letters), without torch and PyAV.
# Installs the versions of requirements/dev.lock and verifies their hashes.

FROM python:3.11.14-slim-bookworm AS build

WORKDIR /src
COPY requirements/uv.lock requirements/uv.lock
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/uv.lock \
    && uv venv /opt/extents
ENV VIRTUAL_ENV=/opt/extents UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1

# Packages first, since they change less often than our own code.
COPY requirements/dev.lock requirements/dev.lock
COPY pyproject.toml ./
# EXTRAS=tracing adds what exports traces.
ARG EXTRAS=""
RUN uv pip install --constraints requirements/dev.lock -r pyproject.toml ${EXTRAS:+--extra "$EXTRAS"} \
    && uv venv /opt/build \
    && uv pip install --python /opt/build/bin/python --constraints requirements/dev.lock hatchling

COPY README.md LICENSE ./
COPY core core
COPY inference inference
COPY storage storage
COPY pages pages
COPY streams streams
COPY cli cli
COPY devstack devstack
COPY deploy/supabase/migrations deploy/supabase/migrations
RUN uv build --wheel --python /opt/build/bin/python --no-build-isolation --out-dir /dist \
    && uv pip install --no-deps /dist/*.whl

FROM python:3.11.14-slim-bookworm

RUN useradd --uid 10001 --create-home extents
COPY --from=build /opt/extents /opt/extents
ENV PATH=/opt/extents/bin:$PATH PYTHONUNBUFFERED=1 EXTENTS_HTTP_HOST=0.0.0.0

# A numeric user, so that Kubernetes can verify that it is not root. Faust creates a folder in the working directory.
USER 10001
WORKDIR /home/extents
EXPOSE 9464
ENTRYPOINT ["extents"]
CMD ["worker", "coordinator"]
