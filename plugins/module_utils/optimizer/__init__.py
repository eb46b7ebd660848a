# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The builder's program: makes candidates of a model in the environment of a server's own TensorFlow minor.

``python -m optimizer REQUEST.json`` reads one request and writes one result, both JSON. It imports nothing but its own
files and, in the confined process alone, TensorFlow and NumPy.

Request::

    {"schema": 1, "task": "survey" | "build" | "answer",
     "model": DIR,                  a version directory; it is only read
     "out": DIR | null,             build: the version directory to make; answer: the folder of answers.jsonl
     "server_version": "2.19.1",    of the server that is to run the candidate
     "recipe": {...} | null,        build: what to make; answer: what ``model`` was made by, null for an original
     "requests": FILE | null,       answer: JSON lines {"signature_name"?, "inputs" | "instances"}, as over REST
     "batch_sizes": [1, 3, 64],     answer, optional: without it requests are answered as they were recorded
     "limits": {"memory_mb": 4096, "seconds": 600, "cpus": 2}}     cpus is optional

Recipes, with what may be left out and its default::

    {"kind": "freeze"}
    {"kind": "xla", "how": "attribute" | "flags", "device": "cpu" | "gpu"}          attribute, cpu
    {"kind": "mixed_precision"}
    {"kind": "tflite_float" | "tflite_int8", "signature": "serving_default"}        the only signature
    {"kind": "tf_trt", "gpu": "NVIDIA A10", "precision": "FP32" | "FP16"}           FP32

Result, on standard output; the exit code is 0 whenever there is one, and 2 for a request that is none::

    {"schema": 1, "task": ..., "why": "",      one sentence where something was refused or failed
     "tensorflow": "2.19.1" | null, "seconds": 1.9, "peak_memory_mb": 611,
     "confinement": {"by": "systemd" | "unshare" | "surroundings", "network": "none",
                     "memory": "cgroup" | "data segment", "memory_mb": 4096, "seconds": 600, "cpus": 2}}

and beside those, by task::

    survey   {"surveyed": true | false, "model": {...}, "candidates": [...]}
             model: {"size_mb", "variables_mb", "assets_mb", "ops": {op: count}, "already_frozen", "has_state",
                     "has_random", "refused_ops": [op], "warmup": bool, "signatures": {name: {
                         "method", "inputs" and "outputs": {name: {"dtype", "shape": [int] | null}},
                         "parses_examples", "has_state", "has_random", "batchable"}}}
             candidates: [{"recipe", "possible", "why", "server_flags", "environment", "touches_others", "others",
                           "lost_signatures": [name]}], one for each that this server's release could run
    build    {"built": true | false, "size_mb", "server_flags": {flag: value}, "environment": {name: value},
              "touches_others": bool, "others": sentence, "lost_signatures": [name]}
    answer   {"answered": true | false, "file": "answers.jsonl", "requests": int, "lines": int, "failed": int}

A line of answers.jsonl, one for each request and batch size, in the order of the file and the sizes::

    {"request": 0, "batch_size": 64 | null, "signature": "serving_default", "error": "",
     "outputs": {name: {"dtype": "DT_FLOAT", "shape": [3, 10], "values": [...]}}}

``values`` are flat, in row order. Numbers that JSON does not know are NaN, Infinity and -Infinity, as TensorFlow
Serving writes them; bytes that are no text are {"b64": ...}. With a batch size, the rows of all requests of a signature
are put in one line and answered that many at a time, the last batch filled up from the front; each request gets its own
rows back.
"""
