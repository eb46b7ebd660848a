# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version in a bucket: an archive, or a folder that is listed page by page.

An ETag is an opaque text, MD5 only for some objects, so it serves to notice a change and never as a digest.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import unquote_plus, urlsplit
from xml.etree import ElementTree

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources.s3 import URI
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told
from ansible_collections.tfserving.fleet.plugins.module_utils.web import fetching

from . import sigv4
from .found import MOST_FILES, File, Found, Server, checked, denied, saved_model

REGION = "us-east-1"
PAGE = 500
PARTIAL = 206
_MOST_SAID = 120

# What the codes of refusals mean for a wish (API_Error responses of S3): key and remedy.
CURES = {
    "NoSuchBucket": ("source.uri", "correct the bucket"),
    "NoSuchKey": ("source.uri", "correct the uri, which for a folder ends in /"),
    "AccessDenied": ("source.credentials", "let that key list and read the bucket (s3:ListBucket, s3:GetObject)"),
    "InvalidAccessKeyId": ("source.credentials", "correct access_key"),
    "SignatureDoesNotMatch": ("source.credentials", "correct secret_key and region"),
    "ExpiredToken": ("source.credentials", "renew session_token"),
    "InvalidToken": ("source.credentials", "renew session_token"),
    "RequestTimeTooSkewed": ("source.uri", "set the controller's clock"),
    "AuthorizationHeaderMalformed": ("source.region", "correct the region"),
    "AuthorizationQueryParametersError": ("source.region", "correct the region"),
    "PermanentRedirect": ("source.region", "give the endpoint and the region of that bucket"),
    "TemporaryRedirect": ("source.region", "give the endpoint and the region of that bucket"),
}


@dataclass(frozen=True)
class Bucket:
    """A bucket at an endpoint; without keys, requests are not signed."""

    base: str
    region: str
    keys: sigv4.Keys | None

    def address(self, key: str, query: Mapping[str, str]) -> str:
        """Return the address of an object (of the bucket for an empty key), signed for some minutes from now on."""
        url = f"{self.base}/{sigv4.escaped_path(key)}"
        if self.keys is None:
            return f"{url}?{sigv4.encoded(query)}" if query else url
        now = datetime.datetime.now(datetime.timezone.utc)
        return sigv4.presigned(url, query, self.keys, self.region, now)

    def file(self, key: str, path: str, size: int, etag: str) -> File:
        """Return an object as a file of the version."""
        return File(path, size, lambda: (self.address(key, {}), {}), etag)


def told_of(source: Mapping[str, Any], version: int) -> str:
    """Return what a version is called in messages; it also tells it from all others."""
    told = f"version {version} in {source['uri'].replace('{version}', str(version))}"
    return f"{told} at {source['endpoint'].rstrip('/')}" if source.get("endpoint") else told


def look(source: Mapping[str, Any], version: int, credentials: Mapping[str, str], timeout: float) -> Found:
    """Return what a bucket holds of a version."""
    place = URI.fullmatch(source["uri"].replace("{version}", str(version)))
    if place is None:
        raise RefusalError("it is not the place of a model", "write s3://BUCKET/FOLDER/", "source.uri")
    bucket = _bucket(source, place["bucket"], credentials)
    try:
        if place["key"].endswith("/"):
            return Found(saved_model(_folder(bucket, place["key"], Server(timeout))))
        return Found((_archive(bucket, place["key"], timeout),), archive=True)
    except fetching.StatusError as refusal:
        _refuse(refusal)


def _bucket(source: Mapping[str, Any], name: str, credentials: Mapping[str, str]) -> Bucket:
    region = source.get("region") or REGION
    endpoint = (source.get("endpoint") or f"https://s3.{region}.amazonaws.com").rstrip("/")
    by_path = source.get("path_style")
    if by_path is None:
        by_path = bool(source.get("endpoint")) or "." in name
    parts = urlsplit(endpoint)
    base = f"{endpoint}/{name}" if by_path else parts._replace(netloc=f"{name}.{parts.netloc}").geturl()
    return Bucket(base, region, sigv4.Keys(**credentials) if credentials else None)


def _archive(bucket: Bucket, key: str, timeout: float) -> File:
    """Return an object by its first byte alone, which needs no permission to list."""
    address, headers = bucket.address(key, {}), {"Range": "bytes=0-0"}
    with fetching.answered(address, timeout=timeout, headers=headers, most_redirects=0) as answer:
        total = re.fullmatch(r"bytes 0-0/([0-9]{1,18})", answer.header("Content-Range"))
        size = int(total[1]) if answer.status == PARTIAL and total else answer.length
        if size is None:
            raise RefusalError(f"{answer.place} does not tell its size", "check that server", "source.uri")
        return bucket.file(key, key.rpartition("/")[2], size, answer.header("ETag"))


def _folder(bucket: Bucket, prefix: str, server: Server) -> tuple[File, ...]:
    files = checked(
        bucket.file(prefix + path, path, size, etag) for path, size, etag in _objects(bucket, prefix, server)
    )
    if not files:
        raise RefusalError("there is nothing in that folder", "correct the uri", "source.uri")
    return files


def _objects(bucket: Bucket, prefix: str, server: Server) -> Iterator[tuple[str, int, str]]:
    """Yield path below the prefix, size and ETag of every object."""
    query = {"list-type": "2", "prefix": prefix, "max-keys": str(PAGE), "encoding-type": "url"}
    token, seen = "", 0
    while True:
        address = bucket.address("", {**query, **({"continuation-token": token} if token else {})})
        page = _page(server.ask(address, {}))
        for entry in page.iterfind("Contents"):
            seen += 1
            if seen > MOST_FILES:
                raise RefusalError(f"it lists more than {MOST_FILES} files", "give the SavedModel alone", "source.uri")
            path, size, etag = _entry(entry, prefix, _text(page, "EncodingType") == "url")
            if path and not path.endswith("/"):  # others stand for folders
                yield path, size, etag
        if _text(page, "IsTruncated") != "true":
            return
        before, token = token, _text(page, "NextContinuationToken")
        if not token or token == before:
            raise RefusalError("its listing does not go on and does not end", "check that server", "source.uri")


def _page(body: bytes) -> ElementTree.Element:
    # Entities are defined in a document type, which no answer of S3 has. Read as UTF-8, whatever the answer declares:
    # in another encoding these words are other bytes, and one that Python does not know ends in no ParseError.
    if not any(odd in body for odd in (b"<!DOCTYPE", b"<!ENTITY", b"\0")):
        try:
            page = ElementTree.fromstring(body.decode("utf-8"))
        except (ElementTree.ParseError, UnicodeDecodeError):
            page = None
        if page is not None:
            for element in page.iter():
                element.tag = element.tag.rpartition("}")[2]
            if page.tag == "ListBucketResult":
                return page
    problem = "its answer is no listing of a bucket (ListObjectsV2)"
    raise RefusalError(problem, "check that endpoint is the address of the object store", "source.endpoint")


def _entry(entry: ElementTree.Element, prefix: str, escaped: bool) -> tuple[str, int, str]:
    key, size = _text(entry, "Key"), _text(entry, "Size")
    key = unquote_plus(key) if escaped else key
    if not key.startswith(prefix) or not re.fullmatch(r"[0-9]{1,15}", size):
        problem = f"it lists {told(key, _MOST_SAID)!r}, which is not what was asked for"
        raise RefusalError(problem, "check that server", "source.uri")
    return key.removeprefix(prefix), int(size), _text(entry, "ETag")


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip() if name != "Key" else element.findtext(name) or ""


def _refuse(refusal: fetching.StatusError) -> NoReturn:
    """Refuse in the words of the store, where it gives its code."""
    found = re.search(rb"<Code>([A-Za-z0-9.]{1,60})</Code>", refusal.said)
    code = found[1].decode() if found else ""
    if not code:
        raise denied(refusal)
    key, remedy = CURES.get(code, ("source.uri", refusal.remedy))
    raise RefusalError(f"{refusal.problem} ({code})", remedy, key) from refusal
