# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Real servers for a session: MLflow on SQLite with proxied artifacts, and moto's S3, both filled."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "collections"))

from archive_files import tar_of, write_tree
from ports import free_port
from real_servers import OBJECTS, said, serving, tools
from saved_models import MODEL


@pytest.fixture(scope="session")
def registry(tmp_path_factory) -> dict[str, str]:
    """Its address and the versions of the model "ranker" by kind (fill_registry.py)."""
    place = tmp_path_factory.mktemp("mlflow")
    url = f"http://127.0.0.1:{free_port()}"
    export = write_tree(place / "exports" / "first", MODEL)
    write_tree(place / "exports" / "second", MODEL)
    command = [tools() / "mlflow", "server", "--host", "127.0.0.1", "--port", url.rpartition(":")[2], "--workers", 1]
    command += ["--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--artifacts-destination", place / "artifacts"]
    with serving(command, f"{url}/version", place / "log"):
        versions = said("fill_registry.py", url, export)
        yield {"url": url, **versions}


@pytest.fixture(scope="session")
def bucket(tmp_path_factory) -> str:
    """The endpoint of a store with a bucket "models" (OBJECTS, and an archive)."""
    place = tmp_path_factory.mktemp("s3")
    url = f"http://127.0.0.1:{free_port()}"
    archive = tar_of(place / "ranker.tar.gz", MODEL).read_bytes()
    with serving([tools() / "moto_server", "-H", "127.0.0.1", "-p", url.rpartition(":")[2]], url, place / "log"):
        objects = {**OBJECTS, "ranker.tar.gz": archive}
        said("fill_bucket.py", url, given={key: base64.b64encode(each).decode() for key, each in objects.items()})
        yield url
