#!/bin/sh
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
# The entry point of the lab's images. Like the one of upstream's images it runs the server as its child with flags of its
# own, and a stop signal ends here: a unit that ran this script would neither have its flags nor stop.
trap : HUP INT TERM
status=0
tensorflow_model_server --port=8500 --rest_api_port=8501 \
    --model_name="${MODEL_NAME:-model}" --model_base_path="${MODEL_BASE_PATH:-/models}/${MODEL_NAME:-model}" "$@" || status=$?
exit "$status"
