# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Versions out of moto's S3, and our signatures beside botocore's."""

from __future__ import annotations

import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources import imports, s3, sigv4
from archive_files import read_tree
from real_servers import OBJECTS, said
from saved_models import MODEL

SILENCE_S = 60
KEYS = {"access_key": "reader", "secret_key": "secret"}


def wish(bucket, **changes):
    return {"type": "s3", "uri": "s3://models/ranker/{version}/", "endpoint": bucket, "credentials": KEYS, **changes}


def bring(source, tmp_path):
    (tmp_path / "run").mkdir(exist_ok=True)
    return imports.bring(
        source, 8, None, imports.Desk(str(tmp_path / "run"), str(tmp_path / "pins"), {}, SILENCE_S, True)
    )


def refused(source):
    with pytest.raises(RefusalError) as refusal:
        s3.look(source, 8, KEYS, SILENCE_S)
    return f"{refusal.value.key}: {refusal.value}"


def test_a_folder_of_several_pages_is_fetched_with_all_its_odd_names(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(s3, "PAGE", 5)
    found = bring(wish(bucket), tmp_path)
    inside = {key[len("ranker/8/") :]: each for key, each in OBJECTS.items() if key.startswith("ranker/8/")}
    assert read_tree(Path(found.path)) == {path: each for path, each in inside.items() if not path.endswith("/")}


def test_an_archive_is_fetched(bucket, tmp_path):
    found = bring(wish(bucket, uri="s3://models/ranker.tar.gz"), tmp_path)
    assert Path(found.path).name == "ranker.tar.gz"
    assert Path(found.path).stat().st_size > len(MODEL)


def test_what_the_store_does_not_have_is_said_in_words(bucket):
    assert refused(wish(bucket, uri="s3://other/x/")) == (
        f"source.uri: {bucket}/other/ answers 404 NOT FOUND (NoSuchBucket); correct the bucket"
    )
    assert refused(wish(bucket, uri="s3://models/ranker")) == (
        f"source.uri: {bucket}/models/ranker answers 404 NOT FOUND (NoSuchKey); "
        "correct the uri, which for a folder ends in /"
    )
    assert refused(wish(bucket, uri="s3://models/gone/")) == (
        "source.uri: there is nothing in that folder; correct the uri"
    )
    assert refused(wish(bucket, uri="s3://models/odd/{version}/")) == (
        "source.uri: it lists the odd name ../saved_model.pb; remove or rename it there"
    )


CASES = [
    {"url": "https://examplebucket.s3.amazonaws.com/test.txt", "query": {}},
    {
        "url": "https://s3.eu-central-1.amazonaws.com/models/",
        "query": {"list-type": "2", "prefix": "a b/é+&/", "max-keys": "500"},
    },
    {"url": "http://127.0.0.1:9000/models/", "query": {"continuation-token": "1/+=", "prefix": "~x*"}},
    {"url": "https://minio.example.com:9000/models/" + sigv4.escaped_path("a b/é+&<~*'(!).txt"), "query": {}},
]


@pytest.mark.parametrize("token", ["", "temporary/+="])
def test_addresses_are_signed_as_botocore_signs_them(token):
    login = {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "wJalr/bPxRfiCY+KEY", "session_token": token}
    theirs = said("fill_bucket.py", "--sign", given=[{**case, **login, "region": "eu-central-1"} for case in CASES])
    for case, their in zip(CASES, theirs):
        query = parse_qs(urlsplit(their).query)
        moment = datetime.datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ")
        ours = sigv4.presigned(case["url"], case["query"], sigv4.Keys(**login), "eu-central-1", moment)
        assert parse_qs(urlsplit(ours).query) == query
