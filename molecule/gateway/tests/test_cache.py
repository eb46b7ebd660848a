# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The cache of answers: laid down, used, passed while it is dead, right while the version changes, and taken away."""

from __future__ import annotations

import json
import threading
import urllib.request
from contextlib import contextmanager

import pytest
from callers import CACHE

MODELS = CACHE / "lab/www/models"
PLACES = "/etc/tfserving-cache /etc/systemd/system/tfserving-cache.service /var/lib/haproxy/tfserving-cache"
WAIT_S = 30


@pytest.fixture
def wish(known):
    """The inventory's model in a version, with a cache."""
    sums = json.loads((MODELS / "checksums.json").read_text())

    def model(number: int) -> list[dict]:
        file = f"digits-{number}.tar.gz"
        return [{
            "name": "digits",
            "version": number,
            "source": {"type": "http", "uri": f"http://packages.lab/models/{file}", "sha256": sums[file]},
            "probe": {
                "instances": known("digits")["request"]["instances"],
                "expect": known("digits")["answers"][str(number)]["predictions"],
            },
            "cache": {"shadow": False, "max_body_kb": 64, "ttl_s": 3600},
        }]  # fmt: skip

    return model


@pytest.fixture
def call(known):
    """Return a function that calls a gateway, and returns the answer and where it came from."""
    body = json.dumps(known("digits")["request"]).encode()

    def perform(address: str) -> tuple[object, str]:
        request = urllib.request.Request(f"http://{address}:8080/v1/models/digits:predict", body)
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return json.loads(answer.read()), answer.headers.get("x-cache", "")

    return perform


@contextmanager
def calling(call, addresses):
    """Call gateways without a pause; yields the answers, and what failed."""
    seen, failed, over = [], [], threading.Event()

    def run(address):
        while not over.is_set():
            try:
                seen.append(call(address))
            except (OSError, ValueError) as error:
                failed.append(repr(error))

    threads = [threading.Thread(target=run, args=(each,)) for each in addresses]
    for thread in threads:
        thread.start()
    try:
        yield seen, failed
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.long
def test_answers_are_remembered_and_never_those_of_another_version(site, wish, call, gateways, on, shown):
    laid_down = site(tfserving_models=wish(1))
    assert laid_down.status == 0, laid_down.output
    again = site(tfserving_models=wish(1))
    assert not again.changed, again.output
    old = {address: call(address)[0] for address in gateways.values()}
    for address in gateways.values():
        assert call(address) == (old[address], "hit")
    with calling(call, gateways.values()) as (seen, failed):
        for name in gateways:
            on(name).check_output("systemctl kill --signal=KILL tfserving-cache")
        exchanged = site(tfserving_models=wish(2))
    assert exchanged.status == 0, exchanged.output
    shown(f"{len(seen)} calls while the cache was killed and the version exchanged, {len(failed)} failed")
    assert failed == []
    for address in gateways.values():
        answers = [call(address) for _ in range(3)]
        assert answers[-1][1] == "hit"
        assert old[address] not in [answer for answer, _ in answers]
    report = site(playbook="playbooks/cache_report.yml", cache_hours=1)
    assert "digits: the cache answered" in report.output
    # Back to the inventory's own wish, which has none.
    taken_away = site()
    assert taken_away.status == 0, taken_away.output
    for address, name in zip(gateways.values(), gateways):
        assert call(address) == (old[address], "")
        assert on(name).run(f"ls -d {PLACES}").stdout == ""
        assert "tfserving-cache" not in on(name).check_output("systemctl list-units --all --no-legend --plain")
