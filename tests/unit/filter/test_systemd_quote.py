# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is quoted for systemd reaches the process unchanged; where this machine has systemd 252, its parsers judge."""

from __future__ import annotations

import ctypes
from functools import cache

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.filter.environment_line import environment_line
from ansible_collections.tfserving.fleet.plugins.filter.systemd_quote import systemd_quote
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("argument", "word"),
    [
        ("--port=8500", "--port=8500"),
        ("--model_base_path=gs://bucket/a,b", "--model_base_path=gs://bucket/a,b"),
        ("", '""'),
        ("a b", '"a b"'),
        ("50%", '"50%%"'),
        ("$HOME and ${HOME}", '"$$HOME and $${HOME}"'),
        ('say "hi"', r'"say \"hi\""'),
        ("it's", '"it\'s"'),
        ("back\\slash", r'"back\\slash"'),
        ("a\nb\tc\rd", r'"a\nb\tc\rd"'),
        ("\x01\x7f", r'"\x01\x7f"'),
        (";", '";"'),
        ("#comment", '"#comment"'),
        ("naïve", '"naïve"'),
    ],
)
def test_an_argument_is_quoted_for_an_exec_line(argument, word):
    assert systemd_quote(argument) == word


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("a\0b", "unit: a value cannot hold a NUL; leave it out"),
        (8500, "unit: needs a string, not a number; let it pass '| string' first"),
    ],
)
def test_what_cannot_be_an_argument_is_refused(argument, message):
    with pytest.raises(AnsibleFilterError) as caught:
        systemd_quote(argument)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("true", 'N="true"'),
        ("", 'N=""'),
        (8, 'N="8"'),
        (0.5, 'N="0.5"'),
        ("50% of $HOME", r'N="50% of \$HOME"'),
        ('a "b" \\c `d`', r'N="a \"b\" \\c \`d\`"'),
        ("a\tb", 'N="a\tb"'),
    ],
)
def test_a_line_of_an_environment_file_keeps_percent_signs_single(value, line):
    assert environment_line("N", value) == line


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "A-B",
            "x",
            "environment.A-B: cannot name a variable; use letters, digits and '_', not beginning with a digit",
        ),
        (
            "1A",
            "x",
            "environment.1A: cannot name a variable; use letters, digits and '_', not beginning with a digit",
        ),
        ("A", True, 'environment.A: needs a string, not the boolean true; write the text in quotes, such as "true"'),
        ("A", None, 'environment.A: needs a string, not nothing; write the text in quotes, such as "true"'),
        (
            "A",
            "x\ny",
            "environment.A: holds a line break or another control character; write one line of plain text",
        ),
    ],
)
def test_what_cannot_be_in_an_environment_file_is_refused(name, value, message):
    with pytest.raises(AnsibleFilterError) as caught:
        environment_line(name, value)
    assert caught.value.message == message


# Private interfaces of libsystemd-shared, as they are in version 252 and only there.
LIBRARY = "/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so"
EXTRACT_CUNESCAPE, EXTRACT_UNQUOTE = 1 << 1, 1 << 5
# An empty table of specifiers: "%%" becomes "%", and an unknown specifier stays. Entries end with a zero byte.
NO_SPECIFIERS = ctypes.create_string_buffer(256)


@cache
def systemd() -> ctypes.CDLL:
    """Return systemd's own library, or skip the test where there is another version or none."""
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        pytest.skip(f"this machine has no {LIBRARY}")


def strings(array) -> list[bytes]:
    """Return the strings of a NULL-terminated array."""
    found = []
    while array and array[len(found)] is not None:
        found.append(array[len(found)])
    return found


def exec_words(line: str) -> list[bytes]:
    """Return the arguments that systemd makes of the words on an ExecStart= line."""
    library, buffer = systemd(), ctypes.create_string_buffer(line.encode())
    position, words = ctypes.cast(buffer, ctypes.c_char_p), []
    environment = (ctypes.c_char_p * 3)(b"HOME=/root a", b"A=1", None)
    library.replace_env_argv.restype = ctypes.POINTER(ctypes.c_char_p)
    while True:
        word, expanded = ctypes.c_char_p(), ctypes.c_char_p()
        flags = EXTRACT_CUNESCAPE | EXTRACT_UNQUOTE
        got = library.extract_first_word(ctypes.byref(position), ctypes.byref(word), None, flags)
        assert got >= 0, line
        if got == 0:
            return words
        size = ctypes.c_size_t(1 << 20)
        assert library.specifier_printf(word, size, NO_SPECIFIERS, None, None, ctypes.byref(expanded)) >= 0
        words += strings(library.replace_env_argv((ctypes.c_char_p * 2)(expanded.value, None), environment))


# Characters that mean something to one of systemd's readers, and some that do not.
ARGUMENTS = st.text(st.sampled_from("ab $%{}\\\"'`;#\t\n\x01\x7f~=,:/AnHOMEé中"), max_size=12)
own_reader = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@own_reader
@given(st.lists(ARGUMENTS, min_size=1, max_size=4))
def test_systemd_reads_any_quoted_arguments_back(arguments):
    line = " ".join(map(systemd_quote, arguments))
    assert exec_words(line) == [argument.encode() for argument in arguments]


@own_reader
@given(st.text(st.sampled_from("ab $%{}\\\"'`;#\t~=,:/AnHOMEé中"), max_size=12))
def test_systemd_reads_any_environment_line_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "environment"
    path.write_text(f"{environment_line('N', value)}\nM=1\n", encoding="utf-8")
    lines = ctypes.POINTER(ctypes.c_char_p)()
    assert systemd().load_env_file(None, str(path).encode(), ctypes.byref(lines)) >= 0
    assert strings(lines) == [f"N={value}".encode(), b"M=1"]
