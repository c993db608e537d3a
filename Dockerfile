# Builds with Docker 23 or newer (BuildKit):
#
#   docker build -t vidur-ecs .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" vidur-ecs scenarios/i3_1.ron
#
# All experiments and scenarios, which are in the image, into results/ and vidur_results.tar.gz here:
#
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" --entrypoint run_benchmarks.sh vidur-ecs

FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
# The caches keep the dependencies between builds; the program is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --release --bin vidur-ecs \
    && cp target/release/vidur-ecs /usr/local/bin/vidur-ecs

FROM debian:bookworm-slim
RUN useradd --create-home --uid 1000 vidur
COPY --from=build /usr/local/bin/vidur-ecs /usr/local/bin/vidur-ecs
COPY LICENSE-MIT LICENSE-APACHE docs/data-licences.md /usr/share/doc/vidur-ecs/
COPY scenarios /usr/share/vidur-ecs/scenarios
COPY run_benchmarks.sh /usr/share/vidur-ecs/run_benchmarks.sh
RUN ln -s /usr/share/vidur-ecs/run_benchmarks.sh /usr/local/bin/run_benchmarks.sh
ENV VIDUR_ECS=/usr/local/bin/vidur-ecs VIDUR_RESULTS=/work
USER vidur
# Scenarios are read from, and results written to, the folder that is mounted here.
WORKDIR /work
ENTRYPOINT ["vidur-ecs"]
CMD ["--help"]
