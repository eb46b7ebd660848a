# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files that a server's flags name, read as the server finds them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..visible_text import told
from . import secrets
from .inside import Inside

# Flags of the server that name a text file.
TEXTS = (
    "model_config_file",
    "batching_parameters_file",
    "monitoring_config_file",
    "platform_config_file",
    "tensorflow_session_config_file",
    "thread_pool_factory_config_file",
)
# Its text holds the private key itself (ssl_config.proto).
KEYS = ("ssl_config_file",)
MOST_BYTES = 256 << 10


class Read(NamedTuple):
    """The files as they are shown, and the true text of the model config file, which is not."""

    shown: dict[str, dict[str, Any]]
    model_config: str | None


def read(inside: Inside, flags: Mapping[str, str]) -> Read:
    """Return the files that flags name. Never raises: what cannot be read is told in ``error``."""
    shown, config = {}, None
    for flag in (*TEXTS, *KEYS):
        path = flags.get(flag)
        if path:
            text, error = (None, "it holds a private key, and so is not read") if flag in KEYS else _text(inside, path)
            local = is_local(path)
            shown[flag] = {
                "path": secrets.text(path),
                "host_path": _told(inside.on_host(path)) if local else None,
                "text": None if text is None else secrets.lines(text),
                "error": error,
            }
            config = text if flag == "model_config_file" else config
    return Read(shown, config)


def is_local(path: str) -> bool:
    """Return whether a path is of the host, and not an address such as gs://bucket/model."""
    return "://" not in path


def _text(inside: Inside, path: str) -> tuple[str | None, str | None]:
    if not is_local(path):
        return None, "it is not on this host"
    try:
        return inside.read(path, MOST_BYTES).decode("utf-8", "replace"), None
    except OSError as error:
        return None, told(os.strerror(error.errno) if error.errno else str(error), 200)


def _told(path: str | None) -> str | None:
    return None if path is None else told(path, 4096)
