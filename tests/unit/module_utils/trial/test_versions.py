# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Versions of a trial: found by the server without a restart, whole from their first moment, or refused."""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.trial.conduct import TrialError
from killed import run_until_killed
from polling_model import Polling
from trial_host import arguments, call, is_back, trial

MOST_STEPS = 200
BATCHING = "batching_params.pbtxt"


def models(host):
    return host.root / "run/tfserving-trial/ranker/models/m"


@pytest.fixture
def place(host, server):
    real = host.root / "models/m/1"
    (real / "variables").mkdir()
    (real / "variables/data").write_text("weights")
    (real / "saved_model.pb").write_text("graph")
    (real / BATCHING).write_text("old")
    server.models["m"] = Polling(host)
    return host


def options(host, number, content="max_batch_size { value: 8 }", **more):
    folder = host.root / "run/tfserving-trial/ranker"
    entry = {"model": "m", "version": 1, "as": number, "files": {BATCHING: content}, **more}
    return {
        "arguments": arguments(host, f"--model_config_file={folder}/models.config"),
        "files": {"models.config": f"base_path: {folder}/models/m"},
        "versions": [entry],
    }


def test_a_version_shares_the_real_ones_files_but_those_that_are_given(place):
    result = call(place, **options(place, 1001))
    assert (result["changed"], result["runs"]) == (True, "trial")
    version = models(place) / "1001"
    assert (version / "saved_model.pb").read_text() == "graph"
    assert (version / "variables/data").read_text() == "weights"
    assert (version / BATCHING).read_text() == "max_batch_size { value: 8 }"
    assert (place.root / "models/m/1" / BATCHING).read_text() == "old"


def test_another_version_restarts_nothing_and_replaces_the_one_before(place):
    call(place, **options(place, 1001))
    restarts = place.state["restarts"]
    result = call(place, **options(place, 1002, "max_batch_size { value: 16 }"))
    assert (result["changed"], place.state["restarts"], result["in_force"]) == (True, restarts, True)
    assert [path.name for path in models(place).iterdir()] == ["1002"]
    assert [timer["seconds"] for timer in place.state["timers"].values()] == ["900s"]


def test_the_same_version_again_changes_nothing(place):
    call(place, **options(place, 1001))
    assert call(place, **options(place, 1001), check_mode=True)["changed"] is False
    assert call(place, **options(place, 1001))["changed"] is False
    assert call(place, **options(place, 1002), check_mode=True)["changed"] is True
    assert [path.name for path in models(place).iterdir()] == ["1001"]


def test_a_version_that_does_not_load_ends_the_trial(place, server):
    call(place, **options(place, 1001))
    server.models["m"].refused = {1002}
    with pytest.raises(TrialError) as failed:
        call(place, **options(place, 1002, "garbage"))
    assert failed.value.result["msg"] == (
        "The last lines of instance ranker:\nthe server's last words\ninstance ranker: model m version 1002 failed to"
        " load: INVALID_ARGUMENT: bad file; repair it at its source, or name a version that loads;"
        " the trial is ended, and the settings of the plan are back and serve"
    )
    assert is_back(place)


def test_the_end_takes_the_versions_and_leaves_the_real_one(place):
    call(place, **options(place, 1001))
    call(place, state="absent")
    assert is_back(place)
    assert (place.root / "models/m/1/variables/data").read_text() == "weights"


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        (0, "model m version 1002 takes 9 rows at once, so its batching is not in force"),
        (3, "model m version 1002 forms batches of 3 rows, and its files say 8"),
    ],
)
def test_batching_that_the_server_has_not_read_ends_the_trial(place, server, claims, sentence):
    call(place, **options(place, 1001, max_batch_size=8))
    server.models["m"].claims = claims
    with pytest.raises(TrialError) as failed:
        call(place, **options(place, 1002, max_batch_size=8))
    assert failed.value.result["msg"] == (
        f"instance ranker: {sentence}; the trial is ended, and the settings of the plan are back and serve"
    )
    assert is_back(place)


def test_batching_is_proven_by_one_row_too_many_for_that_very_version(place, server):
    call(place, **options(place, 1001, max_batch_size=8))
    call(place, **options(place, 1002, "max_batch_size { value: 16 }", max_batch_size=16))
    asked = [path for verb, path, body in server.calls if verb == "POST" and len(body["inputs"]["x"]) > 1]
    assert asked == ["/v1/models/m/versions/1001:predict", "/v1/models/m/versions/1002:predict"]


@pytest.mark.parametrize("way", ["timer", "again"])
def test_every_crash_while_a_version_is_added_leads_on(place, way):
    start, met = place.state, []
    for at in range(1, MOST_STEPS):
        place.change(**start)
        call(place, **options(place, 1001))
        trying = trial(place, **options(place, 1002, "new"))

        def work(trying=trying):
            with contextlib.suppress(TrialError):
                trying.conduct()

        died = run_until_killed(work, at, [(trying.units, "run"), (trying.back, "run")])
        assert place.state["timers"]
        # The server never sees half a version.
        for version in models(place).glob("[0-9]*"):
            assert {path.name for path in version.iterdir()} == {"saved_model.pb", "variables", BATCHING}
        if died and place.snapshot in met:
            continue
        met.append(place.snapshot)
        if way == "timer":
            place.fire()
        else:
            call(place, **options(place, 1002, "new"))
            assert [path.name for path in models(place).iterdir()] == ["1002"]
            call(place, state="absent")
        assert is_back(place)
        assert (place.root / "models/m/1/variables/data").read_text() == "weights"
        if not died:
            return
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("situation", ["the first trial with a version", "the end", "a restart without versions"])
def test_every_crash_around_versions_leads_back(place, situation):
    start, met = place.state, []
    for at in range(1, MOST_STEPS):
        place.change(**start)
        if situation != "the first trial with a version":
            call(place, **options(place, 1001))
        asked = {
            "the first trial with a version": options(place, 1001),
            "the end": {"state": "absent"},
            "a restart without versions": {},
        }[situation]
        trying = trial(place, **asked)
        died = run_until_killed(trying.conduct, at, [(trying.units, "run"), (trying.back, "run")])
        assert place.state["timers"] or is_back(place), at
        if died and place.snapshot in met:
            continue
        met.append(place.snapshot)
        place.fire()
        assert is_back(place), at
        assert not (place.root / "run/tfserving-trial/ranker").exists()
        assert (place.root / "models/m/1/variables/data").read_text() == "weights"
        if not died:
            return
    pytest.fail("it never came to its end")


def refusal(host, **more):
    before = (host.files, host.state)
    with pytest.raises(WishError) as refused:
        call(host, **more)
    assert (host.files, host.state) == before
    return str(refused.value)


def test_versions_that_the_server_would_not_look_for(place):
    folder = place.root / "run/tfserving-trial/ranker"
    expected = (
        "versions: are where the server of this trial does not look; pass files.models.config with the base paths below"
        f" {folder}/models, and --model_config_file={folder}/models.config"
    )
    assert refusal(place, **{**options(place, 1001), "files": {}}) == expected
    assert refusal(place, **{**options(place, 1001), "arguments": arguments(place)}) == expected


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "x"}, "versions[0].model: is not a model of the instance; name one of m"),
        ({"version": 3}, "versions[0].version: 3 is not in {models}; name a version that is there"),
        ({"as": 0}, "versions[0].as: is not the number of a version; write a number above 0, of 64 bits"),
        ({"as": -1}, "versions[0].as: is not the number of a version; write a number above 0, of 64 bits"),
        ({"files": 3}, "versions[0].files: is a number; write file names with their contents"),
        (
            {"files": {"../x": ""}},
            "versions[0].files: '../x' is not a file name;"
            " write letters, digits, '.', '_' or '-', at most 64, no path, and not 'models'",
        ),
        ({"real": "/etc"}, "versions[0].real: is not a key of a version of a trial; "
         "the keys of a version of a trial are model, version, as, files, max_batch_size"),
        ({"max_batch_size": -1}, "versions[0].max_batch_size: is not the size of a batch; write 1 to 1048576"),
        ({"max_batch_size": True}, "versions[0].max_batch_size: is not the size of a batch; write 1 to 1048576"),
    ],
)  # fmt: skip
def test_versions_that_cannot_be(place, change, sentence):
    found = refusal(place, **options(place, 1001) | {"versions": [options(place, 1001)["versions"][0] | change]})
    assert found == sentence.format(models=place.root / "models/m")


def test_two_versions_of_a_model(place):
    entry = options(place, 1001)["versions"][0]
    assert refusal(place, **options(place, 1001) | {"versions": [entry, entry | {"as": 1002}]}) == (
        "versions: name a model twice; pass one version of each model: only the latest is served"
    )
    assert refusal(place, **options(place, 1001) | {"versions": [entry] * 65}) == (
        "versions: has 65 entries; pass at most 64"
    )


@pytest.mark.parametrize(("number", "content"), [(1000, "x"), (1001, "other")])
def test_a_number_that_the_server_would_not_load(place, number, content):
    call(place, **options(place, 1001))
    assert refusal(place, **options(place, number, content)) == (
        "versions: m has had version 1001 in this trial; take a number above 1001"
    )
