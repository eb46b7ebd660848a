# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The counters of a gateway's cache, as Varnish 7 prints them, and nginx on a page."""

from __future__ import annotations

import json
import socket
import threading
from types import SimpleNamespace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.collector import answer_cache
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.host import PartError

COUNTERS = {
    "MAIN.cache_hit": 24, "MAIN.cache_miss": 3, "MAIN.busy_sleep": 2, "MAIN.n_object": 3, "SMA.answers.g_bytes": 900,
    "MAIN.fetch_failed": 1, "SMA.Transient.c_fail": 4,
}  # fmt: skip
PRINTED = {name: {"description": "x", "flag": "c", "format": "i", "value": value} for name, value in COUNTERS.items()}


def host(text, status=0, asked=None):
    def run(command):
        if asked is not None:
            asked.append(command)
        return status, text

    return SimpleNamespace(run=run, tree=SimpleNamespace(exists=lambda path: path.endswith("tfserving-cache.service")))


def samples(text, **keys):
    return {each.name: each.value for each in answer_cache.read(host(text, **keys))}


@pytest.mark.parametrize(
    "printed", [{"version": 1, "timestamp": "x", "counters": PRINTED}, {"timestamp": "x", **PRINTED}]
)
def test_counters_become_samples(printed):
    assert samples(json.dumps(printed)) == {
        "tfserving_cache_hits_total": 24, "tfserving_cache_misses_total": 3, "tfserving_cache_coalesced_total": 2,
        "tfserving_cache_errors_total": 5, "tfserving_cache_answers": 3, "tfserving_cache_used_bytes": 900,
    }  # fmt: skip


def test_it_is_asked_by_its_folder():
    asked = []
    list(answer_cache.read(host(json.dumps(PRINTED), asked=asked)))
    assert asked[0][:3] == ["varnishstat", "-n", "/var/cache/tfserving-cache"]


def test_a_cache_that_does_not_run_has_none():
    with pytest.raises(PartError, match="the cache does not run"):
        samples("", status=1)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"counters": 3}', '{"MAIN.cache_hit": {"value": "x"}}'])
def test_other_words_are_no_counters(text):
    with pytest.raises(PartError, match="varnishstat prints something else than counters"):
        samples(text)


def test_only_a_gateway_with_a_cache_has_some():
    assert answer_cache.applies(host(""))
    assert not answer_cache.applies(SimpleNamespace(tree=SimpleNamespace(exists=lambda path: False)))


def nginx(path):
    tree = SimpleNamespace(exists=lambda name: name.startswith("etc/"), path=lambda name: str(path))
    return SimpleNamespace(tree=tree)


def told(path, page):
    """Return the samples of an nginx that tells a page."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def answer():
            line, _ = listening.accept()
            with line:
                line.recv(100)
                line.sendall(b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n" + page)

        thread = threading.Thread(target=answer)
        thread.start()
        found = {each.name: each.value for each in answer_cache.read(nginx(path))}
        thread.join()
    return found


def test_nginx_tells_its_counters_on_a_page(tmp_path):
    page = b"hit 24\nmiss 3\nbypass 2\nage_seconds 240\nstore_up 1\nnonsense 4\nspilled x\n"
    assert told(tmp_path / "store.sock", page) == {
        "tfserving_cache_hits_total": 24, "tfserving_cache_misses_total": 3, "tfserving_cache_passed_total": 2,
        "tfserving_cache_age_seconds_total": 240, "tfserving_cache_store_up": 1,
    }  # fmt: skip


def test_an_nginx_that_says_no_end_is_cut(tmp_path):
    assert told(tmp_path / "store.sock", b"hit 1\n" + b"x" * 4096) == {"tfserving_cache_hits_total": 1}


def test_an_nginx_that_does_not_run_has_none(tmp_path):
    with pytest.raises(PartError, match="the cache does not run"):
        list(answer_cache.read(nginx(tmp_path / "none")))
