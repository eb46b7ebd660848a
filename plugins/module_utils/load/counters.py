# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the server itself counted, from its Prometheus page, to be compared with what the client counted.

The server counts every Predict over gRPC and everything under /v1 over REST, by model and final status. So whoever asks
for the status or the metadata of a model over REST counts as a caller too. The page is on the REST port, without TLS.
"""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from typing import Any

from .replies import shown

NAME = ":tensorflow:serving:request_count"
OK = "OK"

# Rendering the page takes milliseconds; one that needs longer belongs to a server that is not well.
TIMEOUT_S = 5.0
DEADLINE_S = 15.0
# A server that still answers requests of callers who have given up answers one in this time.
PAUSE_S = 0.5
CHUNK_BYTES = 64 * 1024
# Names of models come from callers, so pages grow without limit; this is some 100,000 series.
MOST_BYTES = 32 * 1024 * 1024
# A label holds at most what fits into the first line of a request, which the server limits to some kilobytes.
MOST_LINE_BYTES = 64 * 1024
# Statuses are those of gRPC, 17 of them.
MOST_STATUSES = 40

_LINE = re.compile(re.escape(NAME) + r"\{(?P<labels>.*)\} (?P<value>[0-9]{1,19})")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")


class CountersError(ValueError):
    """The server's counters cannot be read; the text says why."""


def read(target: Mapping[str, Any], models: Collection[str]) -> dict[str, int]:
    """Return how many requests for ``models`` the server has answered since its start, by status: ``{"OK": 4980}``.

    ``target`` is that of a stage: host, rest and metrics. Raises CountersError.
    """
    if not target.get("metrics"):
        raise CountersError("the server has no page of metrics")
    host, port, path = str(target["host"]), int(target["rest"]), str(target["metrics"])
    try:
        with closing(http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise CountersError(f"the page of metrics at port {port} answers with status {answer.status}")
            return of_lines(_lines(answer), models)
    except (OSError, http.client.HTTPException) as error:
        words = shown(str(error) or type(error).__name__)
        raise CountersError(f"the page of metrics at port {port} cannot be read ({words})") from None


def settled(target: Mapping[str, Any], models: Collection[str], longest_s: float) -> dict[str, int]:
    """Return the counts as soon as they no longer grow, after ``longest_s`` at the latest.

    Requests that nobody waits for any more stay in the server's queues: they would count in the next stage, and slow it
    down. Raises CountersError.
    """
    until, found = time.monotonic() + longest_s, read(target, models)
    while time.monotonic() < until:
        time.sleep(PAUSE_S)
        last, found = found, read(target, models)
        if found == last:
            break
    return found


def _lines(answer: http.client.HTTPResponse) -> Iterator[str]:
    """Yield the lines of the page. Raises CountersError if it is too long or takes too long."""
    end, size, rest = time.monotonic() + DEADLINE_S, 0, b""
    while chunk := answer.read1(CHUNK_BYTES):
        size += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        if size > MOST_BYTES or len(rest) > MOST_LINE_BYTES:
            raise CountersError(f"the page of metrics is longer than {MOST_BYTES >> 20} MiB, or a line of it too long")
        if time.monotonic() > end:
            raise socket.timeout("it does not end")
        yield from (line.decode("utf-8", "replace") for line in lines)
    if answer.length:
        raise http.client.IncompleteRead(rest)
    yield rest.decode("utf-8", "replace")


def of_lines(lines: Iterator[str], models: Collection[str]) -> dict[str, int]:
    """Return the counts by status from the lines of a page. Raises CountersError if one is counted twice.

    The server does not escape line breaks in labels, so a caller can make up lines; a series that comes twice tells.
    """
    found: dict[tuple[str, str], int] = {}
    for line in lines:
        parts = _LINE.fullmatch(line.rstrip("\r")) if line.startswith(NAME) else None
        labels = _labels(parts["labels"]) if parts else {}
        key = (labels.get("model_name", ""), labels.get("status", ""))
        if parts and key[0] in models:
            if key in found or len(found) > MOST_STATUSES * len(models):
                raise CountersError("the page of metrics has a series of request_count twice, or too many of them")
            found[key] = int(parts["value"])
    statuses = sorted({status for _model, status in found})
    return {each: sum(count for (_model, status), count in found.items() if status == each) for each in statuses}


def _labels(text: str) -> dict[str, str]:
    return {name: _ESCAPED.sub(r"\1", value) for name, value in _LABEL.findall(text)}


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return how many requests the server answered in between, by status, without statuses of which there were none."""
    statuses = sorted({*before, *after})
    differences = {status: after.get(status, 0) - before.get(status, 0) for status in statuses}
    return {status: count for status, count in differences.items() if count}


def reconcile(sent: int, ok: int, before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """Return in sentences where the counts of the server and of the client disagree; none where they agree.

    ``sent`` and ``ok`` are the client's, for the same time as ``before`` and ``after``.
    """
    counts = grown(before, after)
    if any(count < 0 for count in counts.values()):
        return ["the server's counters went back during the run, so it was restarted and its counts cannot be compared"]
    answered, good = sum(counts.values()), counts.get(OK, 0)
    surplus = answered - sent
    found = []
    if surplus > 0:
        # A caller asking for the status of a model counts as well.
        found.append(
            f"the server counted {answered:,} requests, the client sent {sent:,}: {surplus:,} came from other callers"
        )
    elif surplus < 0:
        found.append(f"the server counted {answered:,} requests, the client sent {sent:,}: {-surplus:,} never counted")
    if good < ok:
        others = [f"{count:,} {shown(status)}" for status, count in counts.items() if status != OK]
        rest = f" (and {', '.join(others)})" if others else ""
        found.append(f"the server counted {good:,} OK{rest}, the client {ok:,}")
    elif good - ok > max(surplus, 0):
        found.append(
            f"the server counted {good:,} OK, the client {ok:,}: "
            "the rest were answered too late, wrongly, or to other callers"
        )
    return found
