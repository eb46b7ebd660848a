# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HTTP requests for files: where redirects may lead, and how slow a transfer may be.

Refusals never repeat anything that an address, a header or a redirect may hide (user, password, query).
"""

from __future__ import annotations

import http.client
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin

from ansible.module_utils.urls import ConnectionError as AnsibleConnectionError
from ansible.module_utils.urls import open_url

from ..disk.digests import CHUNK
from ..errors import RefusalError
from ..visible_text import shortened
from . import address as web_address

REDIRECTS = (301, 302, 303, 307, 308)
# An object store takes one or two from its public address; browsers stop at 20.
MOST_REDIRECTS = 5
# The slowest acceptable transfer: half a megabit a second, at which a gigabyte takes four and a half hours. A server
# that sends a byte now and then is never silent, so a limit on silence alone would never end it.
LEAST_BYTES_S = 64 * 1024
# For name resolution, connecting and archives that the server packs on request.
GRACE_S = 60
TICK_S = 1.0
# Enough of an error's text to be of help.
MOST_CHARACTERS = 200
# Enough of the body of a refused request: the JSON or XML of an error takes some hundred bytes.
MOST_SAID = 16 * 1024

_BROKEN = (URLError, http.client.HTTPException, AnsibleConnectionError, OSError, ValueError)


class StatusError(RefusalError):
    """A request that the server refuses: its status, and the beginning of what it says."""

    def __init__(self, problem: str, remedy: str, status: int, said: bytes) -> None:
        super().__init__(problem, remedy, "source.uri")
        self.status = status
        self.said = said


class BrokenOffError(RefusalError):
    """A transfer that ended early, or that cannot be begun; asking once more may help."""


class Answer:
    """A file in transfer: ``length`` is what the server declares (None if it does not); iterating yields the bytes."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.length: int | None = None
        self.status = 0
        self.received = 0
        self._response: Any = None
        self._since = time.monotonic()

    def begin(self, response: Any) -> None:
        """Take over the response at the end of the redirects."""
        # The length of a chunked body is told by its chunks alone (RFC 9112, 6.3).
        declared = "" if getattr(response, "chunked", False) else response.headers.get("Content-Length") or ""
        self.length = int(declared) if re.fullmatch(r"[0-9]{1,18}", declared) else None
        self.status = int(response.status)
        self._response = response

    def header(self, name: str) -> str:
        """Return a header of the answer, empty if there is none."""
        return str(self._response.headers.get(name) or "")

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._read():
            self.received += len(chunk)
            self.keep_pace()
            yield chunk
        if self.length is not None and self.received != self.length:
            problem = f"{self.place} broke off after {self.received} of {self.length} bytes"
            raise BrokenOffError(problem, "run again, or check that server", "source.uri")

    def _read(self) -> bytes:
        # Separate from writing, so that a full disk is never taken for a broken connection. Reads only what has
        # arrived: waiting for a full chunk from a slow server would take long.
        try:
            chunk: bytes = self._response.read1(CHUNK)
        except _BROKEN as error:
            raise _unreachable(self.place, error) from error
        return chunk

    def keep_pace(self) -> None:
        """Refuse a transfer that is slower than the limit."""
        seconds = time.monotonic() - self._since
        if seconds > GRACE_S and self.received < LEAST_BYTES_S * seconds:
            problem = f"{self.place} has sent {self.received // 1024} KiB in {seconds:.0f} s, which is too slow"
            raise RefusalError(problem, "check that server, or name one nearer", "source.uri")


@contextmanager
def answered(
    url: str, *, timeout: float, headers: Mapping[str, Any] | None = None, most_redirects: int = MOST_REDIRECTS
) -> Iterator[Answer]:
    """Request ``url`` (http or https). Raises RefusalError with one sentence.

    ``timeout`` is the seconds of silence after which the attempt fails; the transfer as a whole has to keep its pace.
    """
    answer = Answer(web_address.public(url))
    with _ticking(answer), _opened(url, answer.place, headers or {}, timeout, most_redirects) as response:
        answer.begin(response)
        yield answer


@contextmanager
def _ticking(answer: Answer) -> Iterator[None]:
    """Check the pace with a timer: a server may also dribble its headers or the bytes between two chunks."""
    before = signal.signal(signal.SIGALRM, lambda *_: answer.keep_pace())
    signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _opened(url: str, place: str, headers: Mapping[str, Any], timeout: float, most_redirects: int) -> Any:
    for _redirect in range(most_redirects + 1):
        _require_web(url, place)
        try:
            return _ask(url, headers, timeout)
        except HTTPError as error:
            with error:
                location = error.headers.get("Location") if error.code in REDIRECTS else None
                said = b"" if location else _said(error)
            if not location:
                told = f"{place} answers {error.code} {shortened(str(error.reason), MOST_CHARACTERS)}"
                raise StatusError(told, _cure(error.code), error.code, said) from error
        except _BROKEN as error:
            raise _unreachable(place, error) from error
        # Headers often carry credentials for this server, not for one that it redirects to.
        url, headers = _redirected(url, location, place), {}
    if not most_redirects:
        problem, remedy = f"{place} redirects to another address", "give the final address itself if you trust it"
        raise RefusalError(problem, remedy, "source.uri")
    raise RefusalError(f"{place} redirects more than {most_redirects} times", "check the address", "source.uri")


def _said(error: HTTPError) -> bytes:
    try:
        return error.read(MOST_SAID)
    except _BROKEN:
        return b""


def _ask(url: str, headers: Mapping[str, Any], timeout: float) -> Any:
    # decompress: a .tar.gz served with Content-Encoding must keep the bytes that its checksum covers.
    return open_url(
        url,
        headers={**{name: str(value) for name, value in headers.items()}, "Accept-Encoding": "identity"},
        timeout=timeout,
        http_agent="tfserving.fleet",
        follow_redirects="no",
        decompress=False,
        use_netrc=False,
    )


def _require_web(url: str, place: str) -> None:
    parts = web_address.parts(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise RefusalError(f"{place} is not a web address", "begin it with https:// or http://", "source.uri")


def _redirected(url: str, location: str, place: str) -> str:
    target = ""
    with suppress(ValueError):
        target = urljoin(url, location)
    scheme = target.partition(":")[0].lower()
    if scheme not in ("http", "https") or (scheme == "http" and url.lower().startswith("https:")):
        # An unknown scheme is not named: it may be any text.
        kind = "an address without TLS" if scheme == "http" else "something else than http and https"
        problem = f"{place} redirects to {kind}"
        raise RefusalError(problem, "give the final address itself if you trust it", "source.uri")
    return target


def _unreachable(place: str, error: Exception) -> BrokenOffError:
    problem = f"{place} cannot be fetched ({shortened(_words(error), MOST_CHARACTERS)})"
    return BrokenOffError(problem, "check the address from this host", "source.uri")


def _words(error: BaseException) -> str:
    """Return the text of an error, unless it may repeat the address or a header: those hold credentials."""
    reason = getattr(error, "reason", None)
    if isinstance(error, URLError) and isinstance(reason, BaseException):
        return _words(reason)
    if isinstance(error, (OSError, AnsibleConnectionError, http.client.BadStatusLine)):
        return str(error) or type(error).__name__
    if isinstance(error, ValueError) and not isinstance(error, http.client.HTTPException):
        return "its address or a header cannot be sent"
    return type(error).__name__


def _cure(code: int) -> str:
    if code in (401, 403):
        return "check the credentials in its headers"
    return "check the address" if code in (404, 410) else "run again, or check that server"
