# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Secrets, taken out where they are read: none may reach the result of a module.

What is kept of an environment is a list of names whose values a server reads; everything else is a name alone. In texts
secrets are known by the name before them, by their place in an address, or by their form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..visible_text import told, visible_lines

HIDDEN = "***"
LONGEST = 4096

# Words in the name of a flag, variable or parameter whose value is a secret. "key" alone is the name of too much else.
_NAME = (
    r"(?:pass(?:word|wd|phrase|wort)?|pwd|secrets?|tokens?|credentials?|authorization|auth|cookie|signature|sig|sas|jwt|"
    r"bearer|(?:api|access|private|secret|account|shared|encryption|signing|license|server|ssh|ssl|tls|x)[_-]?keys?(?:[_-]?id)?)"
)
# A word in a longer name ends at its end, or at an underline, a hyphen, a dot or a capital: DB_PASSWORD, dbPassword.
_IS_SECRET = re.compile(rf"(?:^|[_.-]|(?<=[a-z0-9])(?=[A-Z])){_NAME}(?:$|[_.-]|(?=[A-Z0-9]))", re.IGNORECASE)
_SQUASHED = re.compile(r"password|passwd|secret|apikey|accesskey|privatekey|authtoken|credential", re.IGNORECASE)

# The value of a switch is no secret, whatever its name: --use_alts_credentials=true.
_SWITCHES = ("", "true", "false", "yes", "no", "on", "off", "0", "1")

# An address is looked for in what has no blanks and no quotes. Every form here takes time in proportion to a text.
_TOKEN = re.compile(r"[^\s'\"]+")
_PARAMETER = re.compile(r"([?&;])([A-Za-z0-9_.%-]{1,80})=([^&;#\s'\"]*)")
# NAME=value, NAME: value, --name value; a value in quotes is one up to the closing quote, one behind a colon or a blank
# up to the end of its line.
_QUOTED = r"\"(?:[^\"\\\n]|\\.)*\"?|'[^'\n]*'?"
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,80})(?:[\"']?=(?![ \t])|(?P<apart>[\"']?[ \t]?[=:][ \t]*))")
_WORDS = re.compile(r"(?<!\S)(--?[A-Za-z][A-Za-z0-9_.-]{0,80})\s+(?!-)(?P<apart>\Z)?")
_VALUE = re.compile(rf"\*\*\*|{_QUOTED}|(?:\\.|\S)+")
_LINE = re.compile(rf"{_QUOTED}|[^\n]+")
_BEARER = re.compile(r"\b(Bearer|Basic|Digest)\s+[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE)
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]*-----.*?(?:-----END [A-Z0-9 ]*-----|\Z)", re.DOTALL)
# By form: keys of AWS, tokens of GitHub, GitLab, Hugging Face, Slack, Google, OpenAI and the like, and of JWT.
_FORMS = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|"
    r"hf_[A-Za-z0-9]{20,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}|ya29\.[\w.-]{20,}|sk-[\w-]{20,}|hvs\.[\w-]{20,}|"
    r"eyJ[\w-]{8,300}\.[\w-]{8,}\.[\w-]*)"
)

# curl -u name:password; of docker run -u it is a user's and a group's number.
_ACCOUNT = re.compile(r"(?P<before>(?<!\S)(?:-u|-U|--user|--proxy-user)[ =]?[^\s:=]{0,60}[^\s:=\d][^\s:=]{0,60}:)\S+")
_ACCOUNTS = ("-u", "-U", "--user", "--proxy-user")

# Variables that TensorFlow, the server, XLA, oneDNN, OpenMP, NVIDIA's libraries, allocators, gRPC, the loader and
# proxies read.
_READ = re.compile(
    r"(?:TF|TENSORFLOW|TFLITE|XLA|MKL|KMP|OMP|GOMP|ONEDNN|DNNL|NVIDIA|CUDA|CUDNN|CUBLAS|NCCL|MALLOC|JEMALLOC|TCMALLOC|GRPC|"
    r"GLIBC|ITT|OPENBLAS)_[A-Z0-9_]+|MODEL_NAME|MODEL_BASE_PATH|MALLOC_CONF|LD_PRELOAD|LD_LIBRARY_PATH|AWS_REGION|"
    r"AWS_LOG_LEVEL|S3_(?:ENDPOINT|USE_HTTPS|VERIFY_SSL)|TZ|PORT|REST_PORT|(?:http|https|no|all|grpc)_proxy",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Return whether what stands under a name is to be hidden."""
    return bool(_IS_SECRET.search(name.strip("-\"' ")) or _SQUASHED.search(name))


def _is_hidden(name: str, value: str) -> bool:
    return is_secret(name) and value.strip("\"'").lower() not in _SWITCHES


def is_read(name: str) -> bool:
    """Return whether a server reads a variable, so that its value matters.

    Blanks around a name make another variable of it, which nobody reads: that is worth telling too.
    """
    return bool(_READ.fullmatch(name.strip())) and not is_secret(name)


def text(content: str, longest: int = LONGEST) -> str:
    """Return one line of text without secrets, made visible."""
    return told(hidden(content[: 2 * longest]), longest)


def lines(content: str) -> str:
    """Return a text of several lines without secrets, made visible."""
    return visible_lines(hidden(content))


def hidden(content: str) -> str:
    """Return a text without the secrets in it."""
    content = _KEY_BLOCK.sub(HIDDEN, content)
    content = _TOKEN.sub(_anonymous, content)
    content = _PARAMETER.sub(_parameter, content)
    content = _BEARER.sub(rf"\1 {HIDDEN}", content)
    content = _ACCOUNT.sub(rf"\g<before>{HIDDEN}", _FORMS.sub(HIDDEN, content))
    return _without_values(_WORDS, _without_values(_PAIR, content))


def _anonymous(found: re.Match[str]) -> str:
    """Return an address without who asks: up to the last sign, since a password may have one itself."""
    scheme, separator, rest = found[0].partition("://")
    _user, sign, place = rest.rpartition("@")
    return f"{scheme}{separator}{HIDDEN}@{place}" if sign and place else found[0]


def _parameter(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}={HIDDEN}" if _is_hidden(found[2], found[3]) else found[0]


def _without_values(names: re.Pattern[str], content: str) -> str:
    """Return a text without the values of secret names; what stands behind any other name is looked at by itself."""
    kept, at = [], 0
    for found in names.finditer(content):
        if found.start() < at or not is_secret(found[1]):
            continue
        value = (_VALUE if found["apart"] is None else _LINE).match(content, found.end())
        if value and _is_hidden(found[1], value[0]):
            end = found.end()
            kept += [content[at:end], HIDDEN]
            at = value.end()
    return "".join([*kept, content[at:]])


def words(argv: Sequence[str], most: int = 400) -> list[str]:
    """Return the words of a command line without secrets. One that follows the name of a secret is its value."""
    found: list[str] = []
    for word in argv[:most]:
        before = argv[len(found) - 1] if found else ""
        is_value = before.startswith("-") and "=" not in before and is_secret(before) and not word.startswith("-")
        name, equals, value = word.partition("=")
        if is_value:
            found.append(HIDDEN)
        elif before in _ACCOUNTS:
            found.append(text(f"{before} {word}").partition(" ")[2])
        else:
            # The whole of it: the value of a word may have blanks.
            found.append(text(f"{name}={HIDDEN}" if equals and _is_hidden(name, value) else word))
    return found


def environment(pairs: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of variables that a server reads, and the names of all others."""
    values: dict[str, str] = {}
    names: list[str] = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if equals and is_read(name):
            values[told(name, 200)] = text(value)
        elif equals:
            names.append(told(name, 200))
    return values, sorted(set(names))
