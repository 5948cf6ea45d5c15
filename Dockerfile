# A small image that predicts, scores, verifies and benchmarks: numpy, OpenCV, ONNX Runtime and the shipped models; no torch.
#   python -m build --wheel && docker build -t rarn-edge .
#   docker run --rm -v "$PWD:/data" rarn-edge predict face.png
FROM python:3.12-slim AS build
COPY constraints.txt dist/*.whl /tmp/
RUN python -m venv /opt/rarn-edge \
    && /opt/rarn-edge/bin/pip install --no-cache-dir -c /tmp/constraints.txt "$(echo /tmp/*.whl)[cpu,score]"

FROM python:3.12-slim
COPY --from=build /opt/rarn-edge /opt/rarn-edge
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin rarn
USER 10001
WORKDIR /data
ENV PATH=/opt/rarn-edge/bin:$PATH PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["rarn-edge"]
CMD ["--help"]
