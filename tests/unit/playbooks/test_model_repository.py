# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The role as users run it: a real ansible-playbook, models on the controller, a host that lacks them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.digests import file_digest
from archive_files import read_tree, tar_of, write_tree
from http_double import Server
from model_servers import Bucket, Registry
from repository import REPOSITORY
from running import run_playbook
from saved_models import MODEL, model_pb


class Controller:
    """A directory with a playbook that runs the role on this machine."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = place / "host" / "models"

    def model(self, name: str, uri: str, **source: object) -> dict[str, object]:
        """Return a model as the plan holds it, with keys that are of no concern to the role."""
        return {"name": name, "versions": [7], "source": {"type": "path", "uri": uri, **source}, "probe": None}

    def run(
        self, *models: dict[str, object], options: tuple[str, ...] = (), hosts: str = "host,", **variables: object
    ) -> dict[str, object]:
        """Run the role once; returns `rc`, `output` and, with -vvv among the options, `calls` of its module."""
        plan = {"paths": {"models": str(self.root)}, "models": models, "instances": variables.pop("instances", [])}
        mine = {"model_repository_owner": str(os.geteuid()), "model_repository_group": str(os.getegid())}
        (self.place / "site.yml").write_text(
            "- {hosts: all, gather_facts: false, roles: [{role: tfserving.fleet.model_repository}]}\n"
        )
        (self.place / "vars.json").write_text(
            json.dumps({"tfserving_plan": plan, "model_repository_min_free_mb": 0, **mine, **variables})
        )
        settings = {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
        settings["FLEET_TEST_SECRET"] = "of-the-environment"
        command = ("-i", hosts, "-c", "local", "-e", "@vars.json", *options, "site.yml")
        done = run_playbook(self.place, *command, **settings)
        calls = done.stdout.count("Using module file")
        return {"rc": done.returncode, "output": done.stdout + done.stderr, "calls": calls}


@pytest.fixture
def controller(tmp_path) -> Controller:
    write_tree(tmp_path / "exports" / "ranker", MODEL)
    tar_of(tmp_path / "exports" / "other.tar.gz", {f"other/7/{name}": content for name, content in MODEL.items()})
    return Controller(tmp_path)


def leftovers(controller: Controller) -> list[str]:
    places = [controller.place / name for name in (".ansible/controller-tmp", ".ansible/host-tmp", "staging")]
    return [str(path) for place in places for path in place.glob("*")]


def test_models_of_the_controller_are_sent_once_and_only_where_they_lack(controller):
    packed = controller.place / "exports" / "other.tar.gz"
    digest = archives.directory_digest(str(controller.place / "exports" / "ranker"))
    ranker = controller.model("ranker", "exports/ranker", sha256={"7": digest})
    other = controller.model("other", str(packed), sha256=file_digest(str(packed)))
    staging = controller.place / "staging"
    staging.mkdir()
    variables = {"model_repository_staging": str(staging)}

    would = controller.run(ranker, other, options=("--check", "--diff"), **variables)
    assert "changed=1" in would["output"], would["output"]
    assert "+ranker: 7" in would["output"]
    assert not controller.root.exists()

    first = controller.run(ranker, other, options=("-vvv",), **variables)
    assert "changed=1" in first["output"], first["output"]
    assert f"{staging}/tfserving-model-" in first["output"]
    assert read_tree(controller.root / "ranker" / "7") == read_tree(controller.root / "other" / "7") == MODEL

    second = controller.run(ranker, other, options=("-vvv",), **variables)
    assert (second["rc"], "changed=0" in second["output"]) == (0, True), second["output"]
    assert (first["calls"], second["calls"]) == (2, 1)

    third = controller.run(ranker, other, controller.model("late", str(packed)))
    assert "changed=1" in third["output"], third["output"]
    assert leftovers(controller) == []


def test_what_is_wrong_on_the_controller_is_told_in_one_sentence_each_and_nothing_is_sent(controller):
    wrong = controller.model("ranker", "exports/ranker", sha256="0" * 64)
    gone = controller.model("gone", "exports/gone")
    for options in (("--check",), ()):
        result = controller.run(wrong, gone, options=options)
        digest = archives.directory_digest(str(controller.place / "exports" / "ranker"))
        assert result["rc"] != 0
        assert (
            f"tfserving_models[0].source.sha256: {controller.place}/exports/ranker on the controller cannot be sent: "
            f"its checksum is {digest}, not the wished {'0' * 64}; check what changed the source, or correct the wish"
        ) in result["output"]
        assert (
            f"tfserving_models[1].source.uri: {controller.place}/exports/gone on the controller cannot be sent: "
            "No such file or directory; correct the path, or set remote for one on the host"
        ) in result["output"]
        assert "Traceback" not in result["output"]
    assert not controller.root.exists()


def test_a_copy_that_never_served_follows_its_source_on_the_controller(controller):
    ranker = controller.model("ranker", "exports/ranker")
    instances = [{"name": "main", "models": ["ranker"], "ports": {"rest": 1}, "flags": {"port": 2}}]
    first = controller.run(ranker, instances=instances)
    assert "changed=1" in first["output"], first["output"]
    assert "changed=0" in controller.run(ranker, instances=instances)["output"]

    mended = {**MODEL, "saved_model.pb": model_pb(ops=["VarHandleOp", "Identity"])}
    write_tree(controller.place / "exports" / "ranker", mended)
    for options in (("--check",), ()):
        result = controller.run(ranker, options=options, instances=instances)
        assert "changed=1" in result["output"], result["output"]
        assert "version 7 has never served and its source has other content; it is replaced" in result["output"]
    assert read_tree(controller.root / "ranker" / "7") == mended


def test_headers_and_what_is_secret_in_an_address_are_shown_nowhere(controller):
    model = controller.model("ranker", "http://127.0.0.1:9/x", type="http", uri_digest="hmac:0")
    source = {
        "uri": "http://me:of-its-user@127.0.0.1:9/x?sig=of-its-query",
        "headers": {"Authorization": "Bearer of-one"},
    }
    variables = {
        "tfserving_plan_secrets": {"sources": {"ranker": source}},
        "model_repository_headers": {"X-Token": "of-all-of-them"},
    }
    result = controller.run(model, options=("-vvv",), **variables)
    assert "http://127.0.0.1:9/x cannot be fetched" in result["output"]
    for secret in ("of-one", "of-all-of-them", "of-its-user", "of-its-query"):
        assert secret not in result["output"]


def test_models_of_a_registry_and_a_bucket_are_fetched_once_a_run_and_credentials_stay_on_the_controller(controller):
    with Server() as mlflow, Server() as s3:
        registry = Registry(mlflow)
        bucket = Bucket(s3, {f"ranker/8/{name}": content for name, content in MODEL.items()})
        ranker = {"name": "ranker", "versions": [8], "source": registry.wish(alias="champion")}
        stored = {"name": "stored", "versions": [8], "source": bucket.wish()}
        keys = {"access_key": "of-the-wish", "secret_key": {"environment": "FLEET_TEST_SECRET"}}
        secrets = {
            "ranker": {"uri": mlflow.url, "credentials": {"token": {"environment": "FLEET_TEST_SECRET"}}},
            "stored": {"uri": bucket.wish()["uri"], "credentials": keys},
        }
        variables = {
            "tfserving_plan_secrets": {"sources": secrets},
            "model_repository_imports": str(controller.place / "pins"),
            "tfserving_plan": {
                "paths": {"models": str(controller.root) + "/{{ inventory_hostname }}"},
                "models": [ranker, stored],
                "instances": [],
            },
        }
        would = controller.run(options=("--check",), hosts="a,b", **variables)
        assert "changed=1" in would["output"], would["output"]
        assert not controller.root.exists()
        assert not (controller.place / "pins").exists()

        before = registry.asked("mlflow/registered-models/alias")
        done = controller.run(options=("-vvv",), hosts="a,b", **variables)
        assert done["rc"] == 0, done["output"]
        for host in ("a", "b"):
            assert read_tree(controller.root / host / "ranker" / "8") == MODEL
            assert read_tree(controller.root / host / "stored" / "8") == MODEL
        assert "champion of ranker is version 8" in done["output"]
        assert registry.asked("mlflow/registered-models/alias") == before + 1
        assert mlflow.requests[-1][1]["Authorization"] == "Bearer of-the-environment"
        for secret in ("of-the-environment", "of-the-wish", "X-Amz"):
            assert secret not in done["output"]

        asked = len(mlflow.requests) + len(s3.requests)
        again = controller.run(hosts="a,b", **variables)
        assert (again["rc"], again["output"].count("changed=0")) == (0, 2), again["output"]
        assert len(mlflow.requests) + len(s3.requests) == asked

        bucket.objects["ranker/8/saved_model.pb"] = MODEL["saved_model.pb"][::-1]
        changed = controller.run(hosts="c,", **variables)
        assert (
            f"tfserving_models[1].source: version 8 in s3://models/ranker/8/ at {s3.url} cannot be sent: "
            "it is not what was imported at "
        ) in changed["output"]
        assert "saved_model.pb has other content; publish it under a new number" in changed["output"]

        registry.aliases["champion"] = "9"
        moved = controller.run(hosts="c,", **variables)
        assert (
            f"tfserving_models[0].source.alias: version 8 of ranker at {mlflow.url} cannot be sent: champion is "
            "version 9 of ranker now, and the wish is for 8; write version: 9, or leave out alias to take 8"
        ) in moved["output"]
        assert not (controller.root / "c").exists()
    assert leftovers(controller) == []
