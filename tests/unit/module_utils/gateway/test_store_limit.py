# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A Redis that may keep no answers, by what nginx says of it."""

from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.store_limit import refusal


@pytest.fixture
def said(tmp_path):
    """Return what is refused of a store of which nginx says a text."""

    def ask(text, status=200):
        path = str(tmp_path / "store.sock")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()

            def answer():
                line, _ = listening.accept()
                with line:
                    line.recv(100)
                    line.sendall(f"HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\n\r\n{text}".encode())

            thread = threading.Thread(target=answer)
            thread.start()
            found = refusal(path)
            thread.join()
        return found

    return ask


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("maxmemory 1048576\nmaxmemory_human 1\nmaxmemory_policy allkeys-lru\n", ""),
        ("maxmemory 1048576\nmaxmemory_policy volatile-ttl\n", ""),
        (
            "maxmemory 0\nmaxmemory_policy noeviction\n",
            "gateway_cache_store: has no maxmemory and would take all memory of its host;"
            " set maxmemory in the Redis there",
        ),
        (
            "maxmemory 1048576\nmaxmemory_policy noeviction\n",
            "gateway_cache_store: refuses new answers when it is full (maxmemory-policy noeviction);"
            " set maxmemory-policy allkeys-lru in the Redis there",
        ),
        ("", "gateway_cache_store: does not say what limit it has; let its user read INFO memory"),
    ],
)
def test_a_store_needs_a_limit_and_room_for_new_answers(said, text, sentence):
    assert said(text) == sentence


def test_a_store_that_is_away_is_told_in_its_own_words(said):
    assert said("connection refused\n\x1b[31m", 503) == (
        "gateway_cache_store: keeps no answers (connection refused\\n\\x1b[31m);"
        " start it, or correct its address, tls_name, ca or password"
    )


def test_an_nginx_that_is_away_is_told(tmp_path):
    assert refusal(str(tmp_path / "none")).startswith("gateway_cache_store: nginx does not say what limit it has (")
