# The image of the daemon: built in one stage, run as an unprivileged user in another without a compiler.
#   docker run -v ingestd:/var/lib/ingestd -v ./ingestd.toml:/etc/ingestd/ingestd.toml:ro ingestd
# Records wait in the arena below /var/lib/ingestd: keep it on a volume.
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
WORKDIR /source
COPY requirements requirements
RUN python3 -m venv /build && /build/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/build.txt
RUN python3 -m venv /opt/ingestd && /opt/ingestd/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/runtime.txt
COPY pyproject.toml setup.py README.md LICENSE ./
COPY ingestd ingestd
RUN /build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /build/wheels .
RUN /opt/ingestd/bin/pip install --no-cache-dir --no-deps --no-index /build/wheels/*.whl

FROM python:3.12-slim
RUN groupadd --system --gid 950 ingestd && useradd --system --uid 950 --gid ingestd --no-create-home --home-dir /var/lib/ingestd ingestd
RUN install --directory --owner=ingestd --group=ingestd --mode=0750 /var/lib/ingestd /run/ingestd
COPY --from=build /opt/ingestd /opt/ingestd
COPY configs/ingestd.toml /etc/ingestd/ingestd.toml
ENV PATH=/opt/ingestd/bin:$PATH INGESTD_LOG_FORMAT=json PYTHONUNBUFFERED=1
USER ingestd
VOLUME ["/var/lib/ingestd"]
STOPSIGNAL SIGTERM
# 1 is degraded: a daemon that buffers because Kafka is away must not be restarted for it. 75: nobody runs.
HEALTHCHECK --interval=15s --start-period=20s CMD ingestd status --json; [ $? -le 1 ]
ENTRYPOINT ["ingestd"]
CMD ["run", "-c", "/etc/ingestd/ingestd.toml"]
