"""A store as S3 is one, on this machine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import s3fs
from moto.server import ThreadedMotoServer


@contextmanager
def s3_server() -> Iterator[str]:
    """Give the address of a server as long as the block lasts."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


def use_s3(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process, and those that it starts, find their store at an address."""
    variables = {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    s3fs.S3FileSystem.clear_instance_cache()


def new_bucket(name: str) -> str:
    """Make a bucket, and give its address."""
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


def objects(address: str) -> Mapping[str, bytes]:
    """Give what is below an address, by names relative to it."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    found: list[dict[str, Any]] = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    keys = [each["Key"] for each in found]
    return {key[len(prefix) + 1 :]: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def upload(folder: Path, address: str) -> str:
    """Copy a folder to a store, and give its address."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        boto3.client("s3").upload_file(str(file), bucket, f"{prefix}/{file.relative_to(folder).as_posix()}")
    return address
