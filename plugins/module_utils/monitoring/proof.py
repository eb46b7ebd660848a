# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The proof that Prometheus, Alertmanager and the node exporter of this host do what they are configured for."""

from __future__ import annotations

import base64
import os
import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..serving.bounded_http import ExchangeError, exchange, parsed
from ..visible_text import told

# A page of figures of the largest host, a list of targets of the largest fleet.
MOST_BYTES = 32 << 20
_SECONDS = 10.0
_PAUSE_S = 0.5
_LONGEST = 200

_RELOADED = {"prometheus": "prometheus_config", "alertmanager": "alertmanager_config"}


@dataclass(frozen=True)
class Program:
    """A program of this host: what it is, its port, and how it is asked."""

    kind: str
    port: int
    tls: bool = False
    account: str = ""
    password: str = field(default="", repr=False)

    def ask(self, path: str) -> bytes:
        """Return the body of an answer, or raise ExchangeError in words that follow the program's name."""
        token = base64.b64encode(f"{self.account}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}"} if self.password else {}
        status, body = exchange(
            self.port, "GET", path, headers, _SECONDS, MOST_BYTES, wrap=encrypted if self.tls else None
        )
        if status != 200:
            raise ExchangeError(f"answers {path} with {status}: {told(body.decode('utf-8', 'replace'), _LONGEST)}")
        return body


def encrypted(wire: Any) -> Any:
    """Return a socket under TLS. It is this host's own loopback, where there is nobody to be proven."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(wire)


def figure(page: str, name: str) -> float | None:
    """Return a figure without labels of a page in Prometheus's format, None if it is not there."""
    found = re.search(rf"^{re.escape(name)} (\S+)", page, re.MULTILINE)
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None


def reloaded(program: Program, files: Sequence[str]) -> str:
    """Return what keeps a program from running with these files, or nothing."""
    page = program.ask("/metrics").decode("utf-8", "replace")
    prefix = _RELOADED[program.kind]
    if figure(page, f"{prefix}_last_reload_successful") != 1:
        return "has refused its configuration"
    newest = max((os.stat(each).st_mtime for each in files if os.path.exists(each)), default=0.0)
    loaded = figure(page, f"{prefix}_last_reload_success_timestamp_seconds") or 0.0
    # A file's time may have a finer step than the program's clock.
    return "" if loaded + 1 >= newest else "has not read its new configuration yet"


def missing(program: Program, wanted: Mapping[str, Iterable[str]]) -> str:
    """Return which targets Prometheus does not know yet, or nothing.

    :param wanted: the instances of each job.
    """
    answer = parsed(program.ask("/api/v1/targets?state=active"))
    active = answer.get("data", {}).get("activeTargets", []) if isinstance(answer, dict) else []
    labels = [each.get("labels", {}) for each in active if isinstance(each, dict)]
    known = {(str(each.get("job")), str(each.get("instance"))) for each in labels}
    lacking = sorted(f"{job} {name}" for job, names in wanted.items() for name in names if (job, name) not in known)
    return f"does not know {', '.join(lacking[:5])}{' and more' if len(lacking) > 5 else ''}" if lacking else ""


def of_prometheus(program: Program, wanted: Mapping[str, Iterable[str]], files: Sequence[str]) -> str:
    """Return what is wrong with Prometheus, or nothing."""
    program.ask("/-/ready")
    return reloaded(program, files) or missing(program, wanted)


def of_alertmanager(program: Program, files: Sequence[str]) -> str:
    """Return what is wrong with Alertmanager, or nothing."""
    program.ask("/-/ready")
    return reloaded(program, files)


def of_node_exporter(program: Program) -> str:
    """Return what is wrong with the node exporter, or nothing."""
    page = program.ask("/metrics").decode("utf-8", "replace")
    if figure(page, "node_textfile_scrape_error"):
        return "cannot read the file of the collector"
    return "" if "node_uname_info" in page else "shows no figures of the host"


def prove(
    programs: Sequence[Program],
    wanted: Mapping[str, Iterable[str]],
    files: Mapping[str, Sequence[str]],
    seconds: float,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Return once every program does its work, or raise RuntimeError with what does not after so many seconds."""
    end = time.monotonic() + seconds
    for each in programs:
        asked = partial(_ask, each, wanted, files.get(each.kind, ()))
        problem = asked()
        while problem and time.monotonic() < end:
            pause(_PAUSE_S)
            problem = asked()
        if problem:
            raise RuntimeError(f"{each.kind} (port {each.port}) {problem}")


def _ask(program: Program, wanted: Mapping[str, Iterable[str]], files: Sequence[str]) -> str:
    try:
        if program.kind == "prometheus":
            return of_prometheus(program, wanted, files)
        if program.kind == "alertmanager":
            return of_alertmanager(program, files)
        return of_node_exporter(program)
    except (ExchangeError, ValueError, AttributeError) as error:
        return str(error)
