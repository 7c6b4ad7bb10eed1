# Builds IMAGE of docs/kubernetes/raycronjob.yaml: the pinned packages and, in /fmnist, this code.
#
#     docker build -t fmnist .                                                     # CPUs
#     docker build -t fmnist --build-arg REQUIREMENTS=requirements-mlflow.txt .    # MLflow's client
#     docker build -t fmnist-gpu --build-arg REQUIREMENTS=requirements-gpu.txt .   # NVIDIA's GPUs
#
# The last has CUDA's libraries from pip; the node brings NVIDIA's driver (its container toolkit
# and, on Kubernetes, the device plugin). None was built yet.
FROM python:3.11-slim

# KubeRay asks its pods for their health with wget.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/*

ARG REQUIREMENTS=requirements.txt
COPY ${REQUIREMENTS} /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt

RUN useradd --create-home --uid 1000 ray
COPY fmnist /fmnist/fmnist
COPY jobs /fmnist/jobs
ENV PYTHONPATH=/fmnist
USER ray
WORKDIR /home/ray
