#!/usr/bin/python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Starts a server as its child, as launchers in Python do: with a flag and its value as separate words."""

import os
import subprocess

command = ["/opt/old/bin/tensorflow_model_server", "--port=9520", "--rest_api_port", "9521", "--model_name=by-hand"]
environment = {**os.environ, "STORE_URL": "https://reader:planted-in-the-environment@models.example/store"}
subprocess.run([*command, "--model_base_path=/srv/old/digits"], env=environment, check=False)
