"""An S3 on this machine: moto's server, as real to a client as that of a cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3  # type: ignore[import-untyped]
from moto.server import ThreadedMotoServer

KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@contextmanager
def s3_server(bucket: str) -> Iterator[str]:
    """Run a server with one bucket, and yield its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        s3_client(address).create_bucket(Bucket=bucket)
        yield address
    finally:
        server.stop()


def s3_client(address: str) -> Any:
    return boto3.client("s3", endpoint_url=address, region_name="us-east-1", **KEYS)


def connection_of(address: str) -> dict[str, Any]:
    """Return the fields of a connection to a server."""
    extra = {"endpoint_url": address, "region_name": "us-east-1"}
    return {"conn_type": "aws", "login": "a", "password": "an-s3-secret", "extra": extra}
