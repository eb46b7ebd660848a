# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Models are exported once per run; one server with ordinary settings is shared by all tests that change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[2] / "collections")]
RUNTIME = os.environ.get("TFS_REFERENCE_RUNTIME", str(HERE.parents[2] / ".cache" / "tensorflow"))
sys.path.append(RUNTIME)  # last: pytest's own dependencies come from the environment that runs it

from tfs_reference import runtime  # noqa: E402 (its directory is put on the path above)

runtime.prepare_import()

import harness  # noqa: E402 (imports protocol buffers of the runtime)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A directory with plus (1-3), busy, echo, rowsum, types, frozen and digits (1, 2)."""
    directory = tmp_path_factory.mktemp("models")
    subprocess.run(
        ["/usr/bin/python3", str(HERE / "make_models.py"), str(directory)],
        env={**os.environ, "PYTHONPATH": RUNTIME},
        check=True,
        capture_output=True,
    )
    return directory


@pytest.fixture(scope="session")
def monitoring(tmp_path_factory):
    path = tmp_path_factory.mktemp("monitoring") / "monitoring.config"
    path.write_text("prometheus_config { enable: true }\n")
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory, models, monitoring):
    """plus 1-3 with the labels stable and canary, and the other models; no batching. Not to be reconfigured."""
    directory = tmp_path_factory.mktemp("shared")
    labels = "version_labels { key: 'stable' value: 1 } version_labels { key: 'canary' value: 3 }"
    config = harness.write_config(
        directory / "models.config",
        harness.model_config("plus", models / "plus", f"model_version_policy {{ all {{}} }} {labels}"),
        *(harness.model_config(name, models / name) for name in ("busy", "echo", "rowsum", "types", "digits")),
    )
    running = harness.Server(
        directory,
        f"--model_config_file={config}",
        f"--monitoring_config_file={monitoring}",
        "--allow_version_labels_for_unavailable_models",
        "--enable_grpc_healthcheck_service=true",
        "--rest_api_timeout_in_ms=240000",
        f"--grpc_socket_path={directory}/grpc.sock",
        "--rest_api_enable_cors_support",
    )
    running.socket_path = directory / "grpc.sock"
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path):
    """start(*flags) starts a server of the test's own."""
    running = []

    def starter(*flags, **options):
        running.append(harness.Server(tmp_path, *flags, **options))
        return running[-1]

    yield starter
    for one in running:
        one.process.kill()
        one.process.wait()
