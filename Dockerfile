# docker build -t implicitkit . && docker run --rm -v "$PWD:/data" implicitkit upscale photo.jpg --scale 2
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY . /src
RUN pip install --no-cache-dir /src && rm -rf /src
WORKDIR /data
ENTRYPOINT ["implicitkit"]
