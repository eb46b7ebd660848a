# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Entry point: python3 -m tfs_reference --flag=value ..."""

from __future__ import annotations

import os
import sys

from tfs_reference import flags, log, process, runtime
from tfs_reference.version import library_version, server_version

PROGRAM = "tensorflow_model_server"
EXIT_FAILURE = 255  # upstream's main returns -1


def main() -> int:
    process.default_signals()
    process.set_thread_name(process.PROCESS_NAME)
    version = server_version()
    try:
        parsed = flags.parse(sys.argv[1:], version)
    except flags.BadValueError as error:
        log.error(str(error))
        flags.print_out(flags.usage(PROGRAM, version))
        return EXIT_FAILURE
    if parsed.unknown:
        flags.print_out(f"unknown argument: {parsed.unknown[0]}\n{flags.usage(PROGRAM, version)}")
    if parsed.version:
        flags.print_out(f"TensorFlow ModelServer: {version}\nTensorFlow Library: {library_version()}\n")
        return 0
    return _serve(parsed)


def _serve(parsed: flags.Parsed) -> int:
    runtime.set_environment()
    runtime.prepare_import()
    from tfs_reference.server import Server
    from tfs_reference.status import of_exception

    server = Server(parsed)
    try:
        server.start()
    except Exception as error:
        flags.print_out(f"Failed to start server. Error: {of_exception(error)}\n")
        if not server.has_listener():
            return EXIT_FAILURE
    server.wait()
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # at once: threads that still retry loads must not hold up the end
