#!/bin/sh
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
# As entry points are written: the secret and the server in one script.
export MODEL_STORE_PASSWORD=planted-in-a-script
exec tensorflow_model_server --port=9590 --model_name=digits --model_base_path=/srv/old/digits
