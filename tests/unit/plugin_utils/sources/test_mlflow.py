# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a registry says of a version, and what is said of registries that say it wrongly."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources import found, mlflow
from http_double import Server
from model_servers import API, LOGGED, ROOT, RUN, Registry
from patience import LONG_S
from saved_models import MODEL


@pytest.fixture
def registry():
    with Server() as server:
        yield Registry(server)


def look(registry, version=8, credentials=None, silence_s=LONG_S, **changes):
    return mlflow.look(registry.wish(**changes), version, credentials or {}, silence_s)


def refused(registry, *arguments, **changes):
    with pytest.raises(RefusalError) as refusal:
        look(registry, *arguments, **changes)
    return f"{refusal.value.key}: {refusal.value}".replace(registry.server.url, "URL")


def paths(found):
    return {file.path: file.size for file in found.files}


def test_the_files_of_the_saved_model_are_found(registry):
    assert paths(look(registry)) == {name: len(content) for name, content in MODEL.items()}


def test_an_alias_must_point_to_the_version_in_the_wish(registry):
    assert look(registry, alias="champion").notes == ("champion of ranker is version 8",)
    registry.aliases["champion"] = "9"
    assert refused(registry, alias="champion") == (
        "source.alias: champion is version 9 of ranker now, and the wish is for 8; "
        "write version: 9, or leave out alias to take 8"
    )


@pytest.mark.parametrize(
    "steps",
    [
        {"8": f"runs:/{RUN}/model"},
        {"8": "models:/m-8bdabb88974c4da084ff9e73bc122600"},
        {"8": "models:/copied/3", "3": ROOT},
        {"8": f"mlflow-artifacts://HOST/1/{RUN}/artifacts/model"},
    ],
    ids=str,
)
def test_every_way_of_naming_the_place_of_artifacts_is_followed(registry, steps):
    host = registry.server.url.partition("//")[2]
    registry.source = {version: uri.replace("HOST", host) for version, uri in steps.items()}
    above, _, _ = ROOT.rpartition("/")
    registry.json("mlflow/runs/get", lambda _query: (200, {"run": {"info": {"artifact_uri": above}}}))
    logged = {"model": {"info": {"artifact_uri": ROOT}}}
    registry.json("mlflow/logged-models/m-8bdabb88974c4da084ff9e73bc122600", lambda _query: (200, logged))
    assert paths(look(registry)) == {name: len(content) for name, content in MODEL.items()}


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        (
            "s3://bucket/1/model?x=hush",
            "source.type: its artifacts are in a bucket, s3://bucket/1/model; use type s3 with that uri and the folder "
            "of the SavedModel, or start mlflow server with --artifacts-destination",
        ),
        (
            "file:///srv/artifacts",
            "source.uri: its artifacts are not behind the server but at file:; "
            "start mlflow server with --artifacts-destination and log it again",
        ),
        (
            "/srv/mlruns",
            "source.uri: its artifacts are not behind the server but at a path of another machine; "
            "start mlflow server with --artifacts-destination and log it again",
        ),
        (
            "mlflow-artifacts://me:hush@other.example.com:5000/1/x",
            "source.uri: its artifacts are at another server, other.example.com:5000; "
            "give the address of that server as uri",
        ),
        (
            "models:/copied/8",
            "source.model: its source names another version, and that one again; register it once more",
        ),
        (
            "models:/champion@x",
            "source.uri: the registry answers with a source that names neither a logged model nor a version; "
            "check that uri is the address of MLflow",
        ),
        (
            "mlflow-artifacts:/1/../../etc",
            "source.uri: it lists the odd name 1/../../etc; remove or rename it there",
        ),
    ],
)
def test_artifacts_that_are_elsewhere_are_refused_with_the_remedy(registry, uri, sentence):
    registry.source["8"] = uri
    assert refused(registry) == sentence


JSON = "check that uri is the address of the MLflow server"
ODD = "check that uri is the address of MLflow"
GET, URI, LIST = "mlflow/model-versions/get", "mlflow/model-versions/get-download-uri", "mlflow-artifacts/artifacts"
ENTRY = {"name": "ranker", "version": "8", "status": "READY"}


def files(*entries):
    return 200, {"files": list(entries)}


@pytest.mark.parametrize(
    ("call", "says", "sentence"),
    [
        (GET, (200, b"<html>login</html>"), f"URL{API}/{GET} answers with something else than MLflow's JSON; {JSON}"),
        (
            GET,
            (200, b'{"model_version": {"na'),
            f"URL{API}/{GET} answers with something else than MLflow's JSON; {JSON}",
        ),
        (GET, (200, b"[" * 100_000), f"URL{API}/{GET} answers with something else than MLflow's JSON; {JSON}"),
        (
            URI,
            (200, {"artifact_uri": "mlflow-artifacts:/\ud83d"}),
            f"URL{API}/{URI} answers with something else than MLflow's JSON; {JSON}",
        ),
        (
            LIST,
            files({"path": "\ud83d", "file_size": 1}),
            f"URL{API}/{LIST} answers with something else than MLflow's JSON; {JSON}",
        ),
        (GET, (200, {}), f"the registry answers with an answer without model_version; {ODD}"),
        (
            GET,
            (200, {"model_version": {**ENTRY, "name": "other"}}),
            f"the registry answers with another model's version; {ODD}",
        ),
        (
            GET,
            (200, {"model_version": {**ENTRY, "version": "9"}}),
            f"the registry answers with the version of another number; {ODD}",
        ),
        (
            GET,
            (200, {"model_version": {**ENTRY, "version": "8x"}}),
            f"the registry answers with an answer without version; {ODD}",
        ),
        (
            GET,
            (200, {"model_version": {**ENTRY, "status": "PENDING_REGISTRATION"}}),
            "the registry says PENDING_REGISTRATION of it; wait until it is registered, or register it again",
        ),
        (GET, (401, b"hush"), f"URL{API}/{GET} answers 401 Unauthorized; check source.credentials"),
        (
            GET,
            (403, {"error_code": "PERMISSION_DENIED", "message": "Permission\x1b denied"}),
            f"URL{API}/{GET} answers 403 Forbidden (Permission\\x1b denied); check source.credentials",
        ),
        (
            GET,
            (404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}),
            "ranker has no version 8 there; correct the wish, or register it first",
        ),
        (GET, (404, b""), f"URL{API}/{GET} answers 404 Not Found; check the address"),
        (
            GET,
            (500, {"message": "boom"}),
            f"URL{API}/{GET} answers 500 Internal Server Error (boom); run again, or check that server",
        ),
        (
            GET,
            (200, b" " * (found.MOST_BYTES + 1)),
            f"URL{API}/{GET} answers a question with more than 4096 KiB; check that server",
        ),
        (
            URI,
            (200, {"artifact_uri": "mlflow-artifacts:/"}),
            f"the registry answers with an empty path of artifacts; {ODD}",
        ),
        (LIST, (200, {"files": {}}), f"the registry answers with a listing that is none; {ODD}"),
        (LIST, files({"path": "../saved_model.pb"}), "it lists the odd name ../saved_model.pb; check that server"),
        (LIST, files({"path": "..", "is_dir": True}), "it lists the odd name ..; remove or rename it there"),
        (LIST, files({"path": "a\\b"}), "it lists the odd name a\\b; remove or rename it there"),
        (LIST, files({"path": 5}), f"the registry answers with a listing without paths; {ODD}"),
        (LIST, files({"path": "x", "file_size": -1}), f"the registry answers with a file without a size; {ODD}"),
        (
            LIST,
            files(*[{"path": f"{n}"} for n in range(10_001)]),
            "it lists more than 10000 files; log the model alone",
        ),
        (LIST, files({"path": "again", "is_dir": True}), "it lists the odd name"),
        (LIST, (404, {"error_code": "NOT_FOUND"}), "its artifacts are gone; correct the wish, or register it first"),
    ],
    ids=str,
)
def test_a_registry_that_answers_wrongly_is_refused_in_one_sentence(registry, call, says, sentence):
    registry.calls[call] = lambda _query: says
    assert sentence in refused(registry)


def test_a_registry_that_keeps_silent_is_given_up(registry):
    registry.server.answers[f"{API}/{GET}"] = lambda handler: handler.rfile.read(1)
    sentence = refused(registry, silence_s=0.2)
    assert sentence.startswith(f"source.uri: URL{API}/{GET} cannot be fetched (")
    assert sentence.endswith("; check the address from this host")


def test_questions_end_however_long_the_server_has_answers(registry, monkeypatch):
    monkeypatch.setattr(found, "LOOK_S", -1)
    assert "has been asked for -1 s and there is no end of it; check that server" in refused(registry)


def test_credentials_follow_no_redirect(registry):
    with Server() as other:
        place = f"{API}/mlflow/model-versions/get"
        registry.server.answers[place] = (302, {"Location": f"{other.url}/login"}, b"")
        assert refused(registry, 8, {"token": "hush"}) == (
            f"source.uri: URL{place} redirects to another address; give the final address itself if you trust it"
        )
        assert other.requests == []
    assert registry.server.requests[-1][1]["Authorization"] == "Bearer hush"


def test_what_a_version_is_called_tells_it_from_others(registry):
    assert mlflow.told_of({"uri": "https://h/", "model": "ranker"}, 8) == "version 8 of ranker at https://h"


def test_a_file_that_is_no_description_is_not_taken_for_one(registry):
    registry.files["MLmodel"] = json.dumps({"flavors": []}).encode()
    assert refused(registry) == "source.model: its MLmodel is no description of a model; log the model again"


def test_a_keras_file_is_refused_before_anything_is_fetched():
    with Server() as server:
        registry = Registry(server, {"MLmodel": b"flavors: {tensorflow: {}}", "data/model.keras": b"x" * 100})
        assert "data/model.keras is a file of Keras, which TensorFlow Serving cannot load" in refused(registry)
        assert not [path for path, _headers in server.requests if path.endswith(".keras")]


def test_names_are_escaped_in_questions(registry):
    look(registry, model="a b&c")
    assert any("name=a+b%26c" in path for path, _headers in registry.server.requests)
    assert LOGGED.keys() > {"MLmodel"}
