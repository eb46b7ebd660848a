# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs real servers of models on loopback, and the scripts that fill them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from saved_models import MODEL

HERE = Path(__file__).parent
# Both import a lot; on a busy machine that takes half a minute.
PATIENCE_S = 300


def tools() -> Path:
    """Return the programs of the virtual environment with mlflow and moto, made by `lab.py test sources`."""
    place = os.environ.get("LAB_SOURCES", "")
    if not place:
        pytest.skip("needs mlflow and moto: make sources")
    return Path(place) / "bin"


def said(script: str, *arguments: object, given: object = None) -> object:
    """Return what a script of this folder prints as JSON."""
    command = [str(tools() / "python"), str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def serving(command: list[object], url: str, log: Path) -> Iterator[None]:
    """Run a server until the end, from when it answers on."""
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=log.parent,
            env={**os.environ, **quiet},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + PATIENCE_S
        while not answers(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


OBJECTS = {
    **{f"ranker/8/{name}": content for name, content in MODEL.items()},
    **{f"ranker/8/assets/a {number} é+&<%.txt": b"x" for number in range(12)},
    "ranker/8/assets/": b"",
    "ranker/80/saved_model.pb": b"another version",
    "odd/8/../saved_model.pb": b"x",
}
