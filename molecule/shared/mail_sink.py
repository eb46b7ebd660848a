# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A mail server at the other end of the engine's bridge, which keeps what the monitoring hosts send."""

from __future__ import annotations

import email
import re
import threading
from dataclasses import dataclass
from datetime import datetime, timezone

from aiosmtpd.controller import Controller

PORT = 2525  # as in group_vars/all/wishes.yml


@dataclass(frozen=True)
class Mail:
    """A mail as it came in."""

    to: tuple[str, ...]
    subject: str
    text: str
    came: datetime

    def is_of(self, alert: str, status: str) -> bool:
        """Return whether the mail tells that an alert has fired (``firing``) or is over (``resolved``)."""
        return bool(re.match(rf"\[{status}\] {alert}\b", self.subject, re.IGNORECASE))


class Sink:
    """A running mail server."""

    def __init__(self, address: str) -> None:
        self._mails: list[Mail] = []
        self._lock = threading.Lock()
        self._server = Controller(self, hostname=address, port=PORT)

    def __enter__(self) -> Sink:
        self._server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.stop()

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802, aiosmtpd's name
        """Keep a mail."""
        message = email.message_from_bytes(envelope.content)
        body = "".join(
            part.get_payload(decode=True).decode() for part in message.walk() if part.get_content_maintype() == "text"
        )
        subject = str(email.header.make_header(email.header.decode_header(message["Subject"])))
        mail = Mail(tuple(envelope.rcpt_tos), " ".join(subject.split()), body, datetime.now(timezone.utc))
        with self._lock:
            self._mails.append(mail)
        return "250 OK"

    @property
    def mails(self) -> list[Mail]:
        """Return all that has come."""
        with self._lock:
            return list(self._mails)

    def of(self, alert: str, status: str = "firing") -> list[Mail]:
        """Return the mails of an alert."""
        return [mail for mail in self.mails if mail.is_of(alert, status)]
