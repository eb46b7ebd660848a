# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Wishes for models of a registry and of a bucket, and wrong ones."""

from __future__ import annotations

import pytest
from planner_cases import instance, model
from wish_cases import problems

MLFLOW = {"type": "mlflow", "uri": "https://mlflow.example.com/", "model": "ranker"}
S3 = {"type": "s3", "uri": "s3://models/ranker/{version}/"}
PLACE = (
    "is not the place of a model in a bucket; "
    "write s3://BUCKET/FOLDER/ for a SavedModel, or s3://BUCKET/KEY for an archive"
)
SERVER = "is not a web address; begin it with https://HOST/ or http://HOST/"
EXTRA = "holds a user, a query or a fragment; give the server alone, and credentials beside it"


@pytest.mark.parametrize(
    "source",
    [
        MLFLOW,
        {**MLFLOW, "alias": "champion", "sha256": "a" * 64},
        {**MLFLOW, "uri": "http://10.0.0.1:5000/mlflow", "model": "a b.c", "credentials": {"token": "x"}},
        {**MLFLOW, "credentials": {"username": "me", "password": {"environment": "MLFLOW_TRACKING_PASSWORD"}}},
        S3,
        {**S3, "uri": "s3://models/ranker.tar.gz", "endpoint": "https://minio.example.com:9000", "path_style": "false"},
        {**S3, "region": "eu-central-1", "credentials": {"access_key": "a", "secret_key": "b", "session_token": "c"}},
    ],
    ids=str,
)
def test_a_source_is_taken(source):
    assert problems([instance()], [model(source=source)]) == []


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({**MLFLOW, "model": None}, "model: is missing; give the name of the registered model"),
        (
            {**MLFLOW, "model": "a/b"},
            "model: cannot be the name of a registered model; give the name of a registered model alone",
        ),
        ({**MLFLOW, "alias": "a:b"}, "alias: cannot be the name of an alias; give the name of an alias alone"),
        ({**MLFLOW, "uri": "mlflow.example.com"}, f"uri: {SERVER}"),
        ({**MLFLOW, "uri": "https://me@mlflow.example.com"}, f"uri: {EXTRA}"),
        ({**MLFLOW, "uri": "https://mlflow.example.com/#/models/ranker"}, f"uri: {EXTRA}"),
        (
            {**MLFLOW, "uri": "https://mlflow.example.com/{version}"},
            "uri: holds {version}, which an address of a registry has no use for; "
            "leave it out: version is the registry's own number",
        ),
        (
            {**MLFLOW, "credentials": "x"},
            "credentials: is a string; give a mapping of names to values, or to {environment: NAME}",
        ),
        (
            {**MLFLOW, "credentials": {"tokn": "x"}},
            "credentials.tokn: is not a key of credentials; did you mean 'token'?",
        ),
        (
            {**MLFLOW, "credentials": {"username": "x"}},
            "credentials: are not complete; give token, or username and password",
        ),
        ({**MLFLOW, "credentials": {"token": None}}, "credentials.token: is nothing; give a text on one line"),
        (
            {**MLFLOW, "credentials": {"token": "é"}},
            "credentials.token: holds a character that no header can; use ASCII",
        ),
        (
            {**MLFLOW, "credentials": {"token": {"env": "X"}}},
            "credentials.token: is a mapping of something else; write {environment: NAME}, or the value itself",
        ),
        (
            {**MLFLOW, "credentials": {"token": {"environment": "$X"}}},
            "credentials.token.environment: is no name of a variable; give its name, without the dollar sign",
        ),
        ({**MLFLOW, "region": "x"}, "region: means nothing for the type mlflow; leave it out or use type s3"),
        ({**S3, "uri": "s3://models"}, f"uri: {PLACE}"),
        ({**S3, "uri": "models/ranker"}, f"uri: {PLACE}"),
        ({**S3, "uri": "s3://Models/x/"}, f"uri: {PLACE}"),
        ({**S3, "uri": "s3://models/a/../b/"}, f"uri: {PLACE}"),
        ({**S3, "uri": "s3://models/a//"}, f"uri: {PLACE}"),
        ({**S3, "uri": "s3://models/a?versionId=1"}, f"uri: {PLACE}"),
        ({**S3, "endpoint": "minio.example.com"}, f"endpoint: {SERVER}"),
        ({**S3, "endpoint": 5}, f"endpoint: {SERVER}"),
        ({**S3, "endpoint": "https://minio.example.com/?x=1"}, f"endpoint: {EXTRA}"),
        ({**S3, "region": "EU!"}, "region: cannot be the name of a region; give the name of a region alone"),
        ({**S3, "path_style": "maybe"}, "path_style: is the string 'maybe'; give true or false"),
        ({**S3, "credentials": {"access_key": "x"}}, "credentials: are not complete; give access_key and secret_key"),
        (
            {**S3, "credentials": {"token": "x"}},
            "credentials.token: is not a key of credentials; "
            "the keys of credentials are access_key, secret_key, session_token",
        ),
    ],
    ids=str,
)
def test_a_wrong_one_is_refused_in_one_sentence(source, sentence):
    assert problems([instance()], [model(source=source)]) == [f"tfserving_models[0].source.{sentence}"]


def versions(source):
    return problems([instance()], [model(source=source, version=None, versions=[7, 8])])


def test_a_registry_provides_versions_by_their_numbers_and_an_alias_stands_for_one():
    assert versions(MLFLOW) == []
    assert versions({**MLFLOW, "alias": "champion"}) == [
        "tfserving_models[0].source.alias: is one name for 2 versions (7, 8); "
        "leave it out: the registry's versions go by their numbers"
    ]
    assert versions({**S3, "uri": "s3://models/ranker/"}) == [
        "tfserving_models[0].source.uri: is one address for 2 versions (7, 8); "
        "put {version} where the version stands in it"
    ]
