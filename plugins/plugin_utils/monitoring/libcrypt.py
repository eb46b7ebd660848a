# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""bcrypt by the C library's crypt(3), which every Linux since Debian 11 has; Python dropped its module in 3.13."""

from __future__ import annotations

import ctypes
import ctypes.util


def bcrypt(password: str, salt: str, cost: int) -> str:
    """Return the bcrypt hash of a password, or an empty text where this machine's library knows none.

    :param salt: 22 letters of bcrypt's alphabet.
    """
    name = ctypes.util.find_library("crypt")
    if not name:
        return ""
    crypt = ctypes.CDLL(name).crypt
    crypt.restype, crypt.argtypes = ctypes.c_char_p, [ctypes.c_char_p, ctypes.c_char_p]
    found = crypt(password.encode(), f"$2b${cost:02}${salt}".encode())
    # What fails begins with an asterisk, or is nothing.
    return found.decode() if found and found.startswith(b"$2b$") else ""
