# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong in the inventory is refused in one sentence, before the host is touched."""

from __future__ import annotations

import pytest

DIGITS = {"name": "digits", "version": 1, "source": {"type": "path", "uri": "/nowhere"}}

REFUSALS = {
    "a typo in a variable's name": (
        {"tfserving_verison": "2.19.1"},
        "tfserving_verison: is not a variable of this collection; did you mean 'tfserving_version'?",
    ),
    "a typo in a model's key": (
        {"tfserving_models": [{**DIGITS, "verion": 2}]},
        "tfserving_models[0].verion: is not a key of a model; did you mean 'version'?",
    ),
    "a typo in an instance's key": (
        {"tfserving_instances": [{"name": "main", "models": ["digits"], "profil": "latency"}]},
        "tfserving_instances[0].profil: is not a key of an instance; did you mean 'profile'?",
    ),
    "a version that is not a number": (
        {"tfserving_models": [{**DIGITS, "version": "seven"}]},
        "tfserving_models[0].version: ",
    ),
    "a model root that no server sees": (
        {"tfserving_model_root": "/home/ml/models"},
        "tfserving_model_root: is the string '/home/ml/models', and that is in /home, which the servers do not see",
    ),
    "a variable that is gone": (
        {"tfserving_config_root": "/etc/other"},
        "tfserving_config_root: is no longer a variable of this collection; remove it",
    ),
    "two instances on one port": (
        {
            "tfserving_instances": [
                {"name": "one", "models": ["digits"], "ports": {"grpc": 8500, "rest": 8501}},
                {"name": "two", "models": ["digits"], "ports": {"grpc": 8501, "rest": 8502}},
            ]
        },
        "tfserving_instances[1].ports.grpc: ",
    ),
    "an unknown model": (
        {"tfserving_instances": [{"name": "main", "models": ["digit"]}]},
        "did you mean 'digits'?",
    ),
    "a misspelt flag": (
        {"tfserving_instances": [{"name": "main", "models": ["digits"], "flags": {"rest_api_timeout_ms": 5}}]},
        "rest_api_timeout_in_ms",
    ),
    "more cores than there are": (
        {"tfserving_instances": [{"name": "main", "models": ["digits"], "cpus": 4096}]},
        "tfserving_instances[0].cpus: ",
    ),
    "a GPU on a host that has none": (
        {
            "tfserving_instances": [{"name": "main", "models": ["digits"], "gpus": 1}],
            "tfserving_install_method": "image",
        },
        "tfserving_instances[0].gpus: ",
    ),
}


# One of what a name can tell, one of what the wishes can tell together, one of what only the host can tell.
QUICK = ("a typo in a variable's name", "two instances on one port", "more cores than there are")


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        pytest.param(*refusal, id=fault, marks=() if fault in QUICK else pytest.mark.long)
        for fault, refusal in REFUSALS.items()
    ],
)
def test_it_is_refused_in_one_sentence_and_nothing_changes(site, main, wishes, sentence):
    pid = main.pid
    run = site(**wishes)
    assert run.status != 0
    assert sentence in run.message
    assert "Traceback" not in run.output
    assert not run.changed
    assert main.pid == pid
