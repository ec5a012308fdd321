# syntax=docker/dockerfile:1
# The image of a node: the program, the public certificate authorities (Stripe,
# a MongoDB that is reached by TLS), and nothing else: no shell, no libraries.
#
#   docker build --build-arg VERSION=$(git describe --always) -t stampede .
FROM golang:1.26.8 AS build
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -ldflags "-s -w -X main.release=${VERSION}" -o /out/stampede ./cmd/stampede
# A new volume takes its owner over from the folder that it is mounted on.
RUN mkdir -p /root-of-image/etc /root-of-image/tmp /root-of-image/run/stampede /root-of-image/var/lib/stampede && \
    echo 'stampede:x:65532:65532::/var/lib/stampede:/nonexistent' > /root-of-image/etc/passwd && \
    echo 'stampede:x:65532:' > /root-of-image/etc/group && \
    chmod 1777 /root-of-image/tmp && \
    chmod 700 /root-of-image/run/stampede /root-of-image/var/lib/stampede && \
    chown -R 65532:65532 /root-of-image/run/stampede /root-of-image/var/lib/stampede

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="Stampede" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /root-of-image /
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /out/stampede /usr/local/bin/stampede
USER 65532:65532
WORKDIR /var/lib/stampede
# All addresses of the container: which of them anyone reaches is said where it
# is run. The admin port must never be published.
ENV STAMPEDE_LISTEN=0.0.0.0:8080 \
    STAMPEDE_ADMIN_LISTEN=0.0.0.0:8081 \
    STAMPEDE_DATA_DIR=/var/lib/stampede \
    STAMPEDE_LOG_FORMAT=json
EXPOSE 8080 8081 8082
VOLUME /var/lib/stampede
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["/usr/local/bin/stampede", "health"]
ENTRYPOINT ["/usr/local/bin/stampede"]
CMD ["serve"]
