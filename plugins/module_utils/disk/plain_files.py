# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Small files of a host, read as untrusted and possibly damaged, without ever blocking.

What is no regular file is not read at all: a FIFO has no writer, a device no end.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn

# Records that we write have some layers, and a probe in them those of its tensor; what is nested deeper would end the
# walks of whoever reads it.
MOST_DEPTH = 100


def read(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of a regular file. Raises OSError, also for one that holds more than ``most`` bytes."""
    content = beginning(path, most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", os.fspath(path))
    return content


def beginning(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the first ``most`` bytes of a regular file. Raises OSError."""
    with _opened(path) as file:
        # A file that has nothing just now, as /proc/kmsg, is empty.
        return file.read(most) or b""


def ending(path: str | os.PathLike[str], most: int) -> tuple[bytes, bool]:
    """Return the last ``most`` bytes of a regular file, and whether there are more before them. Raises OSError."""
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
    """Return the value of a file of JSON. Raises OSError as ``read`` does, ValueError for what is no JSON of ours."""
    return parsed(read(path, most))


def parsed(content: bytes) -> Any:
    """Return the value of a text of JSON. Raises ValueError, or what json and decoding make of that."""
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
    """Read a number of JSON. Raises ValueError for one that only an infinity could stand for, such as 1e999."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"a number is too large ({text[:20]})")
    return value


def _is_deeper(value: Any, most: int = MOST_DEPTH) -> bool:
    """Tell whether a value of JSON is nested deeper than ``most`` layers."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return not most or any(_is_deeper(each, most - 1) for each in inner)


def fits(value: Any, shape: Any) -> bool:
    """Tell whether a value of JSON has the shape that its reader expects.

    A shape is a type, several in a tuple, a function that tells, ``[shape]`` for a list, ``{str: shape}`` for a mapping
    of any names, or a mapping of the names that must be there; one that ends in ``?`` may be missing. Other names are
    nobody's concern.
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
    """Tell whether a value is text that the kernel takes for a path: any that Python can write, and without a NUL."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return _can_be(value, os.fsencode)


def is_latin(value: Any) -> bool:
    """Tell whether a value is text that stands for bytes, one letter for each."""
    return isinstance(value, str) and _can_be(value, lambda text: text.encode("latin-1"))


def _can_be(text: str, encode: Callable[[str], bytes]) -> bool:
    try:
        encode(text)
    except UnicodeEncodeError:
        return False
    return True
