# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a bucket holds of a version, and what is said of stores that say it wrongly."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources import s3
from http_double import Server
from model_servers import Bucket, answer, etag
from patience import LONG_S
from saved_models import MODEL

KEYS = {"access_key": "reader", "secret_key": "hush"}
OBJECTS = {
    **{f"ranker/8/{name}": content for name, content in MODEL.items()},
    "ranker/8/assets/a b+é&<.txt": b"x",
    "ranker/8/variables/": b"",
    **{f"deep/er/{name}": content for name, content in MODEL.items()},
    "deep/README": b"x",
    "ranker/80/saved_model.pb": b"another",
    "ranker/8.tar.gz": b"archive",
}


@pytest.fixture
def bucket():
    with Server() as server:
        yield Bucket(server, OBJECTS)


def look(bucket, version=8, silence_s=LONG_S, **changes):
    return s3.look(bucket.wish(**changes), version, KEYS, silence_s)


def refused(bucket, **changes):
    with pytest.raises(RefusalError) as refusal:
        look(bucket, **changes)
    return f"{refusal.value.key}: {refusal.value}".replace(bucket.server.url, "URL")


def test_a_folder_is_listed_to_its_end_and_only_what_is_in_it(bucket):
    found = {file.path: (file.size, file.etag) for file in look(bucket).files}
    assert found == {
        name: (len(content), etag(content)) for name, content in {**MODEL, "assets/a b+é&<.txt": b"x"}.items()
    }
    assert len(bucket.server.requests) == 3
    assert all("X-Amz-Signature=" in path and "hush" not in path for path, _headers in bucket.server.requests)


def test_of_a_folder_the_saved_model_alone_is_taken_and_a_part_of_one_is_refused(bucket):
    assert {file.path for file in look(bucket, uri="s3://models/deep/").files} == set(MODEL)
    del bucket.objects["deep/er/variables/variables.index"]
    assert refused(bucket, uri="s3://models/deep/") == (
        "source: variables/variables.index is missing or empty; export the model again"
    )


def test_an_archive_is_looked_at_without_permission_to_list(bucket):
    found = look(bucket, uri="s3://models/ranker/8.tar.gz")
    assert (found.archive, [(file.path, file.size) for file in found.files]) == (True, [("8.tar.gz", 7)])
    assert [headers["Range"] for _path, headers in bucket.server.requests] == ["bytes=0-0"]


def test_a_store_without_keys_is_asked_without_a_signature(bucket):
    s3.look(bucket.wish(), 8, {}, LONG_S)
    assert not [path for path, _headers in bucket.server.requests if "X-Amz" in path]


@pytest.mark.parametrize(
    ("changes", "base"),
    [
        ({"endpoint": None}, "https://models.s3.us-east-1.amazonaws.com"),
        ({"endpoint": None, "region": "eu-central-1"}, "https://models.s3.eu-central-1.amazonaws.com"),
        ({"endpoint": None, "path_style": True}, "https://s3.us-east-1.amazonaws.com/models"),
        ({"endpoint": "https://minio.example.com:9000/"}, "https://minio.example.com:9000/models"),
        ({"endpoint": "https://minio.example.com:9000", "path_style": False}, "https://models.minio.example.com:9000"),
    ],
)
def test_a_bucket_stands_in_the_path_or_in_the_name_of_the_host(changes, base):
    assert s3._bucket({"type": "s3", **changes}, "models", {}).base == base


def error(status, code):
    return status, {}, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        (
            error(404, "NoSuchBucket"),
            "source.uri: URL/models/ answers 404 Not Found (NoSuchBucket); correct the bucket",
        ),
        (
            error(403, "AccessDenied"),
            "source.credentials: URL/models/ answers 403 Forbidden (AccessDenied); "
            "let that key list and read the bucket (s3:ListBucket, s3:GetObject)",
        ),
        (
            error(403, "SignatureDoesNotMatch"),
            "source.credentials: URL/models/ answers 403 Forbidden (SignatureDoesNotMatch); "
            "correct secret_key and region",
        ),
        (
            error(403, "RequestTimeTooSkewed"),
            "source.uri: URL/models/ answers 403 Forbidden (RequestTimeTooSkewed); set the controller's clock",
        ),
        (
            error(301, "PermanentRedirect"),
            "source.region: URL/models/ answers 301 Moved Permanently (PermanentRedirect); "
            "give the endpoint and the region of that bucket",
        ),
        (
            (307, {"Location": "https://other.example.com/"}, b""),
            "source.uri: URL/models/ redirects to another address; give the final address itself if you trust it",
        ),
        ((403, {}, b"go away"), "source.credentials: URL/models/ answers 403 Forbidden; check source.credentials"),
        ((503, {}, b""), "source.uri: URL/models/ answers 503 Service Unavailable; run again, or check that server"),
    ],
)
def test_what_a_store_refuses_is_told_with_its_code_and_the_remedy(bucket, says, sentence):
    bucket.server.answers["/models/"] = says
    assert refused(bucket) == sentence


def page(entries="", more="false", token=""):
    rest = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return f"<ListBucketResult><IsTruncated>{more}</IsTruncated>{rest}{entries}</ListBucketResult>".encode()


def content(key, size="1"):
    return f"<Contents><Key>{key}</Key><Size>{size}</Size></Contents>"


NO_LISTING = (
    "source.endpoint: its answer is no listing of a bucket (ListObjectsV2); "
    "check that endpoint is the address of the object store"
)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{}", NO_LISTING),
        (b"<html/>", NO_LISTING),
        (page()[:40], NO_LISTING),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult/>', NO_LISTING),
        ('<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult/>'.encode("utf-16"), NO_LISTING),
        (b'<?xml version="1.0" encoding="klingon"?><ListBucketResult>' + b"\xff" + b"</ListBucketResult>", NO_LISTING),
        (page(), "source.uri: there is nothing in that folder; correct the uri"),
        (page(content("ranker/8/../x")), "source.uri: it lists the odd name ../x; remove or rename it there"),
        (page(content("ranker/8//x")), "source.uri: it lists the odd name /x; remove or rename it there"),
        (page(content("ranker/8/a\\b")), "source.uri: it lists the odd name a\\b; remove or rename it there"),
        (page(content("ranker/8/x") * 2), "source.uri: it lists x twice; check that server"),
        (
            page(content("ranker/8/x") + content("ranker/8/x/y")),
            "source.uri: it lists x as a file and as a folder; rename one of them",
        ),
        (
            page(content("ranker/9/saved_model.pb")),
            "source.uri: it lists 'ranker/9/saved_model.pb', which is not what was asked for; check that server",
        ),
        (
            page(content("ranker/8/x", "-1")),
            "source.uri: it lists 'ranker/8/x', which is not what was asked for; check that server",
        ),
        (
            page(content("ranker/8/x"), "true"),
            "source.uri: its listing does not go on and does not end; check that server",
        ),
        (
            page("".join(content(f"ranker/8/{n}") for n in range(10_001))),
            "source.uri: it lists more than 10000 files; give the SavedModel alone",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_store_that_lists_wrongly_is_refused_in_one_sentence(bucket, body, sentence):
    bucket.server.answers["/models/"] = (200, {}, body)
    assert refused(bucket) == sentence


def test_a_listing_is_utf_8_whatever_it_declares(bucket):
    said = b'<?xml version="1.0" encoding="utf-7"?>' + page(content("ranker/8/x"), "true")
    bucket.server.answers["/models/"] = (200, {}, said)
    assert refused(bucket) == "source.uri: its listing does not go on and does not end; check that server"


def test_a_listing_that_repeats_itself_ends(bucket):
    bucket.server.answers["/models/"] = lambda handler: answer(
        handler, 200, page("", "true", "same" if "continuation" in handler.path else "first")
    )
    assert refused(bucket) == "source.uri: its listing does not go on and does not end; check that server"


def test_a_store_that_keeps_silent_is_given_up(bucket):
    bucket.server.answers["/models/"] = lambda handler: handler.rfile.read(1)
    assert refused(bucket, silence_s=0.2).startswith("source.uri: URL/models/ cannot be fetched (")


def test_what_a_version_is_called_tells_it_from_others():
    wish = {"uri": "s3://models/ranker/{version}/", "endpoint": "https://minio.example.com/"}
    assert s3.told_of(wish, 8) == "version 8 in s3://models/ranker/8/ at https://minio.example.com"
    assert s3.told_of({**wish, "endpoint": None}, 9) == "version 9 in s3://models/ranker/9/"
