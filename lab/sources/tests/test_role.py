# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The role as users run it, with models of a real registry and a real bucket."""

from __future__ import annotations

import json
import os

from archive_files import read_tree
from real_servers import OBJECTS
from repository import REPOSITORY
from running import run_playbook
from saved_models import MODEL

HOSTS = ("a", "b")


def test_a_registered_model_and_a_folder_of_a_bucket_are_published_on_every_host(registry, bucket, tmp_path):
    version = int(registry["run"])
    mlflow = {"type": "mlflow", "uri": registry["url"], "model": "ranker", "alias": "champion"}
    s3 = {"type": "s3", "uri": "s3://models/ranker/{version}/", "endpoint": bucket}
    keys = {"access_key": "reader", "secret_key": {"environment": "LAB_SECRET_KEY"}}
    variables = {
        "tfserving_plan": {
            "paths": {"models": f"{tmp_path}/{{{{ inventory_hostname }}}}"},
            "models": [
                {"name": "ranker", "versions": [version], "source": mlflow},
                {"name": "stored", "versions": [8], "source": s3},
            ],
            "instances": [],
        },
        "tfserving_plan_secrets": {"sources": {"stored": {"uri": s3["uri"], "credentials": keys}}},
        "model_repository_owner": str(os.geteuid()),
        "model_repository_group": str(os.getegid()),
        "model_repository_min_free_mb": 0,
        "model_repository_imports": str(tmp_path / "pins"),
    }
    (tmp_path / "vars.json").write_text(json.dumps(variables))
    (tmp_path / "site.yml").write_text(
        "- {hosts: all, gather_facts: false, roles: [{role: tfserving.fleet.model_repository}]}\n"
    )
    settings = {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "LAB_SECRET_KEY": "of-the-environment"}
    command = ("-i", f"{','.join(HOSTS)},", "-c", "local", "-e", "@vars.json", "-vvv", "site.yml")
    done = run_playbook(tmp_path, *command, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    inside = {key[len("ranker/8/") :]: each for key, each in OBJECTS.items() if key.startswith("ranker/8/")}
    for host in HOSTS:
        assert read_tree(tmp_path / host / "ranker" / str(version)) == MODEL
        stored = read_tree(tmp_path / host / "stored" / "8")
        assert stored == {path: each for path, each in inside.items() if not path.endswith("/")}
    assert f"champion of ranker is version {version}" in done.stdout
    assert "of-the-environment" not in done.stdout + done.stderr
