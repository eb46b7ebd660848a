# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A Prometheus of a distribution that serves a folder of console pages over made-up series."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import prometheuses
import promtools
from ports import free_port

PATIENCE_S = 60


@contextmanager
def prometheus(version: str, place: Path, pages: dict[str, str], series: str) -> Iterator[str]:
    """Run a version of the server over series in OpenMetrics, and give its address."""
    server = prometheuses.program(version)
    consoles = place / "consoles"
    consoles.mkdir(parents=True)
    for name, text in pages.items():
        (consoles / name).write_text(text, encoding="utf-8")
    _fill(promtools.program(promtools.TRIXIE), place, series)
    config = place / "prometheus.yml"
    config.write_text("global:\n  external_labels: {fleet: lab}\n", encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [server, f"--config.file={config}", f"--storage.tsdb.path={place / 'data'}"]
    command += [f"--web.listen-address={address}", f"--web.console.templates={consoles}"]
    command += [f"--web.console.libraries={place}", "--log.level=warn"]
    with (place / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            _await(f"http://{address}/-/ready", running, place / "log")
            yield f"http://{address}"
        finally:
            running.terminate()


def _fill(promtool: str, place: Path, series: str) -> None:
    (place / "data").mkdir()
    if series:
        (place / "series").write_text(series, encoding="utf-8")
        command = [
            str(promtool),
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            str(place / "series"),
            str(place / "data"),
        ]
        subprocess.run(command, check=True, capture_output=True)


def _await(address: str, running: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while running.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text(encoding="utf-8"))


def got(address: str) -> tuple[int, str]:
    """Return status and text of a page."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def asked(server: str, query: str) -> list[dict[str, Any]]:
    """Return the series that a query gives now; fails with the server's words where it is refused."""
    status, text = got(f"{server}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
    answer = json.loads(text)
    assert status == 200, f"{query}: {answer.get('error')}"
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found
