# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests stand on: limits that no machine reaches, ports that nobody else gets."""

from __future__ import annotations

import socket

import pytest
from patience import LONG_S, stretched
from ports import free_port


@pytest.mark.parametrize(("given", "counts"), [(None, None), (0, 0), (0.2, 0.2), (1, LONG_S), (5.0, LONG_S)])
def test_a_limit_of_a_second_or_more_is_one_that_no_machine_reaches(given, counts):
    assert stretched(given) == counts
    with socket.socket() as one:
        one.settimeout(given)
        assert one.gettimeout() == counts


def test_a_free_port_refuses_and_is_given_to_nobody_else_but_a_server_of_the_test():
    port = free_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
