# sfam-live on the CPU. Build: docker build -t sfam-live .   Run: docker run --rm -it --network host --shm-size=256m sfam-live
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY . .
# The compiler builds the loops of motion.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir -c constraints.txt build \
    && python -m build --wheel --outdir /wheels .

FROM python:3.11-slim-bookworm
# The first two belong to OpenCV's wheel, libusb to the RealSense SDK: the Makefile's names.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 libusb-1.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /wheels/
COPY --from=build /wheels/*.whl /wheels/
RUN wheel=$(ls /wheels/*.whl) \
    && python -m pip install --no-cache-dir -c /wheels/constraints.txt "${wheel}[realsense,files,web]" \
    && rm -r /wheels
# Cameras belong to these groups where capture/data/99-sfam-cameras.rules is installed on the host.
RUN groupadd --force --system plugdev && useradd --uid 1000 --create-home --groups video,plugdev sfam \
    && install --directory --owner sfam /data
USER 1000
WORKDIR /data
VOLUME /data
ENTRYPOINT ["sfam"]
CMD ["live", "--camera", "demo", "--overlay", "web"]
