# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of a tuning."""

from __future__ import annotations

import benchmark_documents as documents
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import publish


def test_what_was_found_is_a_file_to_review_with_its_evidence_beside_it(tmp_path):
    (tmp_path / "ranker.journal").write_text("{}\n")
    found = {**documents.tune(), "inventory": "tfserving_tuned: {}\n"}
    published = publish.publish(str(tmp_path / "ranker"), found)
    assert published.verdict == "tuned"
    assert published.files == [str(tmp_path / f"ranker.{suffix}") for suffix in ("yml", "json", "md", "html")]
    assert yaml.safe_load((tmp_path / "ranker.yml").read_text()) == {"tfserving_tuned": {}}
    assert not (tmp_path / "ranker.journal").exists()


def test_a_plan_that_was_right_gets_no_inventory_file(tmp_path):
    published = publish.publish(str(tmp_path / "ranker"), {**documents.tune(), "inventory": None})
    assert published.verdict == "unchanged"
    assert not (tmp_path / "ranker.yml").exists()
    assert (tmp_path / "ranker.html").as_uri() in published.text
