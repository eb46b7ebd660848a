# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Changes of a monitoring host: new targets without a restart, and a wrong configuration that never gets into force."""

from __future__ import annotations

import pytest
from callers import await_that
from watched import HOST, WATCHERS


def pid(host, unit: str) -> str:
    return host.check_output("systemctl show --value -p MainPID %s", unit)


@pytest.mark.long
def test_a_target_that_goes_and_comes_is_no_restart(on, site, watcher):
    before = {name: pid(on(name), "prometheus") for name in WATCHERS}
    wishes = [{"name": "main", "models": ["digits", "ranker"], "slo_p99_ms": 1000}]
    assert site(tfserving_instances=wishes).status == 0
    await_that(lambda: {each["labels"]["instance"] for each in watcher.targets()} >= {f"{HOST}.main"}, "targets")
    await_that(
        lambda: f"{HOST}.second" not in {each["labels"]["instance"] for each in watcher.targets()}, "the target is gone"
    )
    assert site().status == 0
    await_that(
        lambda: f"{HOST}.second" in {each["labels"]["instance"] for each in watcher.targets()}, "the target is back"
    )
    assert {name: pid(on(name), "prometheus") for name in WATCHERS} == before


@pytest.mark.long
def test_an_instance_without_a_plan_is_refused_in_one_sentence_and_changes_nothing(on, site):
    files = "find /etc/prometheus -type f -exec sha256sum {} + | sort"
    before = {name: on(name).check_output(files) for name in WATCHERS}
    refused = site(monitoring_mail={"to": ["nobody"], "from": "fleet@lab.test", "smarthost": "x:1"})
    assert refused.status != 0
    assert "monitoring_mail.to[0]: is the string 'nobody'; write it as NAME@DOMAIN" in refused.message
    assert {name: on(name).check_output(files) for name in WATCHERS} == before
