# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is hidden, what is kept, and that no planted secret comes through."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import secrets
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables.read import table
from hypothesis import given
from hypothesis import strategies as st

HIDDEN = {
    "--api_key=abc": "--api_key=***",
    "--authToken=abc": "--authToken=***",
    "-e DB_PASSWORD=abc": "-e DB_PASSWORD=***",
    "https://user:abc@host/x": "https://***@host/x",
    "https://user:a@b/c@host/x": "https://***@host/x",
    "https://ghost@host": "https://***@host",
    "s3://bucket/m?X-Amz-Signature=abc&region=eu": "s3://bucket/m?X-Amz-Signature=***&region=eu",
    "Authorization: Bearer abcdefgh": "Authorization: ***",
    "export AWS_SECRET_ACCESS_KEY='a b c'": "export AWS_SECRET_ACCESS_KEY=***",
    'password: "a b"': "password: ***",
    "password: a b c\nport: 1": "password: ***\nport: 1",
    "password = a b\nport = 1": "password = ***\nport = 1",
    "PASSWORD=a,b;c server": "PASSWORD=*** server",
    "PASSWORD=a\\ b server": "PASSWORD=*** server",
    '{"token": "abc"}': '{"token": ***}',
    "key AKIAABCDEFGHIJKLMNOP": "key ***",
    "curl -u admin:abc http://x": "curl -u admin:*** http://x",
    "curl --user=admin:abc http://x": "curl --user=admin:*** http://x",
    "--password abc --port=1": "--password *** --port=1",
    "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----": "***",
    "-----BEGIN RSA PRIVATE KEY-----\nabc": "***",
}
KEPT = [
    "--model_config_file=/models/models.config",
    "--rest_api_port=8501",
    "--grpc_channel_arguments=grpc.max_concurrent_streams=64",
    "--tensorflow_session_parallelism=4",
    "--model_base_path=gs://bucket/models/digits",
    "curl -f http://localhost:8501/v1/models/digits",
    'config { name: "digits" base_path: "/srv/digits" version_labels { key: "stable" value: 1 } }',
    "server_key_file.pem is a name",
    "http://proxy.example:3128",
    "--use_alts_credentials=true --enable_signature_method_name_check=false",
    "docker run -u 1000:1000 x",
    "background_thread:true,dirty_decay_ms:10000",
]


@pytest.mark.parametrize("text", HIDDEN)
def test_secrets_are_hidden(text):
    assert secrets.hidden(text) == HIDDEN[text]


@pytest.mark.parametrize("text", KEPT)
def test_everything_else_is_kept(text):
    assert secrets.hidden(text) == text


@pytest.mark.parametrize(
    "piece", ["a://", "-eyJ", "-----BEGIN ", "--a ", "a=", 'a:"', "a", "-u a", "?a=", "Basic ", "\\", "eyJaaaaaaaa."]
)
def test_a_text_that_is_made_to_take_long_is_read_like_any_other(piece):
    # What takes the square of its time does not end.
    assert secrets.hidden(piece * (250_000 // len(piece)))


def test_the_word_after_the_name_of_a_secret_is_its_value():
    words = ["server", "--token", "abc", "--port", "8500", "--password", "--verbose"]
    assert secrets.words(words) == ["server", "--token", "***", "--port", "8500", "--password", "--verbose"]


def test_the_password_of_an_account_is_hidden_and_the_group_of_a_user_is_not():
    assert secrets.words(["curl", "-u", "admin:abc"]) == ["curl", "-u", "admin:***"]
    assert secrets.words(["docker", "run", "-u", "1000:1000"]) == ["docker", "run", "-u", "1000:1000"]


def test_of_flags_and_fields_of_the_server_only_keys_and_switches_have_the_name_of_a_secret():
    names = {flag["name"] for flag in table("server_flags")["flags"]}
    fields = {field["name"] for message in table("messages")["messages"].values() for field in message}
    switches = {"enable_signature_method_name_check", "use_alts_credentials"}
    assert {name for name in names | fields if secrets.is_secret(name)} == {"server_key", *switches}


def test_only_values_that_a_server_reads_are_kept():
    pairs = [
        "TF_CPP_MIN_LOG_LEVEL=1",
        "HOME=/root",
        "OMP_NUM_THREADS=2",
        "AWS_ACCESS_KEY_ID=x",
        "TF_API_TOKEN=x",
        "odd",
    ]
    assert secrets.environment(pairs) == (
        {"TF_CPP_MIN_LOG_LEVEL": "1", "OMP_NUM_THREADS": "2"},
        ["AWS_ACCESS_KEY_ID", "HOME", "TF_API_TOKEN"],
    )


def test_a_name_with_blanks_is_another_variable_and_shows_them():
    assert secrets.environment(["TF_FORCE_GPU_ALLOW_GROWTH = True"])[0] == {"TF_FORCE_GPU_ALLOW_GROWTH ": " True"}


def test_the_password_of_a_proxy_is_hidden():
    assert secrets.environment(["https_proxy=http://u:abc@p:3128"])[0] == {"https_proxy": "http://***@p:3128"}


PLANTED = "qz7planted7zq"
WAYS = [
    ["--{name}={secret}"],
    ["--{name}", "{secret}"],
    ["-e", "{NAME}={secret}"],
    ["sh", "-c", "{NAME}={secret} exec server --port=1"],
    ["sh", "-c", "server --{name} {secret} --port=1"],
    ["--model_base_path=https://u:{secret}@host/m"],
    ["--model_base_path=https://host/m?{name}={secret}&x=1"],
    ["--header=Authorization: Bearer {secret}"],
]
# Secrets with what separates words elsewhere.
ODD = st.sampled_from(["", "a b ", "a,b;", "a&b", "a@b/", 'a"', "a'", "\n", "--x=", "a="])
NAMES = st.sampled_from(
    ["password", "token", "api_key", "secret", "access_key", "db_password", "hf_token", "credentials"]
)
WORDS = st.lists(st.text(st.characters(exclude_characters="\0"), max_size=30), max_size=3)


@given(way=st.sampled_from(WAYS), name=NAMES, before=WORDS, after=WORDS)
def test_no_planted_secret_comes_through_a_command_line(way, name, before, after):
    planted = [word.format(name=name, NAME=name.upper(), secret=PLANTED) for word in way]
    assert PLANTED not in json.dumps(secrets.words(["server", *before, *planted, *after]))


@given(name=NAMES, odd=ODD, before=WORDS, after=WORDS)
def test_a_secret_is_hidden_whatever_is_in_it(name, odd, before, after):
    secret = f"{odd}{PLANTED}"
    shown = secrets.words(["server", *before, f"--{name}={secret}", "-e", f"{name.upper()}={secret}", *after])
    assert PLANTED not in json.dumps(
        [shown, secrets.environment([f"{name.upper()}={secret}", f"TF_X_{name.upper()}={secret}"])]
    )


@given(name=st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True))
def test_no_value_of_an_unknown_variable_comes_through(name):
    values, names = secrets.environment([f"{name}={PLANTED}"])
    assert (PLANTED in json.dumps([values, names])) == secrets.is_read(name)
    assert not (secrets.is_read(name) and secrets.is_secret(name))


@given(name=NAMES, around=st.text(max_size=40), between=st.sampled_from(["=", ": ", " = ", "='", '="', '": "']))
def test_no_planted_secret_comes_through_a_text(name, around, between):
    text = f"{around}\n{name}{between}{PLANTED}\n{around}"
    assert PLANTED not in secrets.lines(text)
