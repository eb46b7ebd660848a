# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fills a bucket by boto3, or prints addresses as botocore signs them.

    python fill_bucket.py ENDPOINT         objects on stdin: {key: text}
    python fill_bucket.py --sign           cases on stdin: [{url, query, access_key, secret_key, session_token, region}]

Runs in the virtual environment that has moto.
"""

from __future__ import annotations

import base64
import json
import sys
from urllib.parse import urlencode

BUCKET = "models"


def fill(endpoint: str, objects: dict[str, str]) -> None:
    import boto3

    keys = {"aws_access_key_id": "writer", "aws_secret_access_key": "secret"}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket=BUCKET)
    for key, content in objects.items():
        client.put_object(Bucket=BUCKET, Key=key, Body=base64.b64decode(content))


def sign(cases: list[dict]) -> list[str]:
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    found = []
    for case in cases:
        url = f"{case['url']}?{urlencode(case['query'])}" if case["query"] else case["url"]
        request = AWSRequest("GET", url)
        login = Credentials(case["access_key"], case["secret_key"], case["session_token"] or None)
        S3SigV4QueryAuth(login, "s3", case["region"], expires=900).add_auth(request)
        found.append(request.url)
    return found


if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(json.dumps(sign(given) if sys.argv[1] == "--sign" else fill(sys.argv[1], given)))
