"""Makes the bucket of QUANTPLAY_ARTIFACTS_URL where it is not there yet, and writes, reads and removes one object in it."""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit


def main() -> int:
    url = os.environ.get("QUANTPLAY_ARTIFACTS_URL", "")
    bucket = urlsplit(url).netloc
    if urlsplit(url).scheme != "s3" or not bucket:
        print(
            f"make_bucket: QUANTPLAY_ARTIFACTS_URL should be s3://BUCKET or s3://BUCKET/PATH, found {url!r}",
            file=sys.stderr,
        )
        return 2
    from s3fs import S3FileSystem

    s3 = S3FileSystem()
    if not s3.exists(bucket):
        s3.mkdir(bucket)
        print(f"made the bucket {bucket}")
    probe = f"{bucket}/.probe-{os.getpid()}"
    s3.pipe_file(probe, b"quantplay")
    if s3.cat_file(probe) != b"quantplay":
        print(f"make_bucket: {bucket} gives back other bytes than were put there", file=sys.stderr)
        return 1
    s3.rm_file(probe)
    print(f"the bucket {bucket} can be written and read")
    return 0


if __name__ == "__main__":
    sys.exit(main())
