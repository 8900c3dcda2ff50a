# tixd as an image; how to run it: tixd/manual/docker.md.
#   docker build -t tixd .
#   docker build -t tixd-collector --target collector .    runs as the collector, as gracc-collector's

FROM python:3.13-slim AS build
# kafka: the collector's output to Kafka (17 MB); mysql: tixd asn build out of a database.
ARG EXTRAS=kafka,mysql
WORKDIR /src
COPY . .
# No pip in there: nothing is installed later. Bytecode stays, for nobody can write any later on;
# what libraries bring to test themselves (30 MB) is imported by nothing.
RUN python3 -m venv --without-pip /opt/tixd \
    && python3 -m pip --python /opt/tixd/bin/python install --no-cache-dir \
        -c scripts/constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
    && find /opt/tixd -type d -name tests -prune -exec rm -r {} +

FROM python:3.13-slim AS program
LABEL org.opencontainers.image.title="tixd" \
      org.opencontainers.image.description="Turns TiX packet timing reports into line usage, quality and Hurst results" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /opt/tixd /opt/tixd
# Whoever tixd runs as puts its sockets and its schedule there; a new volume takes over the mode.
RUN mkdir /tmp/reports && mkdir -m 0777 /run/tixd /tmp/celerybeat-schedule.d
# docker stop kills after 10 seconds. All other settings have the defaults of the tixd command:
# a variable of the image would overrule the tixd.toml that somebody mounts. The last two do not:
# they are where the collector listens if neither environment nor file says it.
ENV PATH=/opt/tixd/bin:$PATH \
    TIX_STOP_SECONDS=8 \
    GRACC_DEFAULT_ADDRESS=0.0.0.0 \
    GRACC_DEFAULT_PORT=8080
VOLUME ["/tmp/reports", "/tmp/celerybeat-schedule.d"]
# HTTP of standalone and dispatcher, of worker, of collector.
EXPOSE 8889 8890 8080
STOPSIGNAL SIGTERM
# "not ready" counts once a start may take no longer; the answer comes from memory.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["tixd", "health"]
# No USER: tixd gives up root by itself, for the owner of the reports folder, which only the
# volume tells. It runs with --user as well.
ENTRYPOINT ["tixd"]

FROM program AS collector
ENTRYPOINT ["tixd", "--role", "collector"]

FROM program
