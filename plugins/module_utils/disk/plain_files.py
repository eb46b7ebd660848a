# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Small files of a host, read as untrusted and possibly damaged, without ever blocking.

Anything but a regular file is not read at all: a FIFO may have no writer, a device no end.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn

# Our own records have a few layers, and a probe in them those of its tensor; deeper nesting would exceed the recursion
# limit of code that walks them.
MOST_DEPTH = 100


def read(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of a regular file. Raises OSError, also for more than ``most`` bytes."""
    content = beginning(path, most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", os.fspath(path))
    return content


def beginning(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the first ``most`` bytes of a regular file. Raises OSError."""
    with _opened(path) as file:
        # A file without data at the moment, such as /proc/kmsg, counts as empty.
        return file.read(most) or b""


def ending(path: str | os.PathLike[str], most: int) -> tuple[bytes, bool]:
    """Return the last ``most`` bytes of a regular file, and whether more precede them. Raises OSError."""
    with _opened(path) as file:
        start = max(0, file.seek(0, os.SEEK_END) - most)
        file.seek(start)
        return file.read(most) or b"", start > 0


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise OSError(errno.EINVAL, f"it is {'a directory' if stat.S_ISDIR(mode) else 'no file'}", os.fspath(path))
    return os.fdopen(handle, "rb")


def json_of(path: str | os.PathLike[str], most: int) -> Any:
    """Return the value of a JSON file. Raises OSError as ``read`` does, ValueError for invalid JSON."""
    return parsed(read(path, most))


def parsed(content: bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError, also for what json and decoding reject."""
    try:
        value = json.loads(content.decode(), parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _is_deeper(value):
        raise ValueError("it is nested too deeply")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    """Parse a JSON number. Raises ValueError for one that only infinity could represent, such as 1e999."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"a number is too large ({text[:20]})")
    return value


def _is_deeper(value: Any, most: int = MOST_DEPTH) -> bool:
    """Return whether a JSON value is nested deeper than ``most`` layers."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return not most or any(_is_deeper(each, most - 1) for each in inner)


def fits(value: Any, shape: Any) -> bool:
    """Return whether a JSON value has the shape that its reader expects.

    A shape is a type, several types in a tuple, a predicate, ``[shape]`` for a list, ``{str: shape}`` for a mapping
    with any names, or a mapping of required names; a name that ends in ``?`` may be missing. Other names are ignored.
    """
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(each, shape[0]) for each in value)
    if isinstance(shape, Mapping):
        return isinstance(value, dict) and _mapping_fits(value, shape)
    if isinstance(shape, (type, tuple)):
        return isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
    return bool(shape(value))


def _mapping_fits(value: Mapping[str, Any], shape: Mapping[Any, Any]) -> bool:
    if str in shape:
        return all(is_path(name) and fits(each, shape[str]) for name, each in value.items())
    return all(
        fits(value[name.rstrip("?")], inner) if name.rstrip("?") in value else name.endswith("?")
        for name, inner in shape.items()
    )


def is_path(value: Any) -> bool:
    """Return whether a value is text that the kernel accepts as a path: encodable and without a NUL."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return _can_be(value, os.fsencode)


def is_latin(value: Any) -> bool:
    """Return whether a value is text that stands for bytes, one character each."""
    return isinstance(value, str) and _can_be(value, lambda text: text.encode("latin-1"))


def _can_be(text: str, encode: Callable[[str], bytes]) -> bool:
    try:
        encode(text)
    except UnicodeEncodeError:
        return False
    return True
