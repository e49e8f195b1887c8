"""``s3://bucket/prefix``."""

import pytest

from headrace.engines.fsspec.address import Address
from headrace.errors import NameRefused, SettingsError


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://models", "models", ""),
        ("s3://models/", "models", ""),
        ("s3://my.models-2/shop/a", "my.models-2", "shop/a/"),
        ("s3://models/shop/", "models", "shop/"),
    ],
)
def test_a_bucket_and_a_prefix(uri, bucket, prefix):
    assert Address.parse(uri) == Address(bucket, prefix)
    assert str(Address.parse(uri)) == uri.rstrip("/")


@pytest.mark.parametrize("uri", ["s3:", "s3://", "s3:///shop", "s3://a", "s3://mo dels/x", "s3:models/x"])
def test_without_a_bucket(uri):
    with pytest.raises(SettingsError, match="names no bucket"):
        Address.parse(uri)


@pytest.mark.parametrize("uri", ["s3://key:hush@models/shop", "s3://models/shop?secret=hush", "s3://models/x#hush"])
def test_secrets_do_not_belong_there_and_are_not_said(uri):
    with pytest.raises(SettingsError, match="AWS_PROFILE") as refused:
        Address.parse(uri)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("uri", ["s3://models/../other", "s3://models/a//b", "s3://models/.a"])
def test_a_prefix_is_a_path_of_names(uri):
    with pytest.raises(NameRefused):
        Address.parse(uri)
