"""A fresh API server for each test: it is up in some milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client, config

from tests.unit.reference.apiserver.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path).running() as running:
        yield running


@pytest.fixture
def api(world: World) -> Iterator[client.ApiClient]:
    """The real Kubernetes client, configured by the kubeconfig."""
    with config.new_client_from_config(str(world.config)) as api_client:
        yield api_client


@pytest.fixture
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


@pytest.fixture
def custom(api: client.ApiClient) -> client.CustomObjectsApi:
    return client.CustomObjectsApi(api)
