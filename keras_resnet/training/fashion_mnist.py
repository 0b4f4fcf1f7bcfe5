"""Fashion-MNIST from Debian's package, for TFDS's own builder. Standard library only.

Debian's `dataset-fashion-mnist` holds the four published files, but without the time
and name in their gzip headers, so that TFDS's checksums refuse them. With the header
put back they are the published files, byte for byte.
"""

import struct
from pathlib import Path

from keras_resnet.common.errors import InputError

PACKAGE = "dataset-fashion-mnist"
FOLDER = Path("/usr/share/datasets/fashion-mnist")  # where the package installs
TIMES = {  # in the published headers: file name -> seconds since 1970
    "train-images-idx3-ubyte.gz": 1504176606,
    "train-labels-idx1-ubyte.gz": 1504176606,
    "t10k-images-idx3-ubyte.gz": 1504176627,
    "t10k-labels-idx1-ubyte.gz": 1504176627,
}
_FIXED = 10  # bytes of a gzip header without a name (RFC 1952, section 2.3)


def installed() -> bool:
    """Whether Debian's files are on this machine."""
    return all((FOLDER / name).is_file() for name in TIMES)


def restore(folder: Path) -> None:
    """Writes the four files into `folder`, with the headers as published.

    Raises:
        InputError: one of Debian's files is no gzip file without a name.
    """
    for name, seconds in TIMES.items():
        content = (FOLDER / name).read_bytes()
        (folder / name).write_bytes(restore_header(content, name, seconds))


def restore_header(content: bytes, name: str, seconds: int) -> bytes:
    """A gzip file's content with the original file's time and name in its header.

    Args:
        content: of a gzip file whose header has no optional field.
        name: of the gzip file; the header takes it without ".gz".
        seconds: the original file's time, in seconds since 1970.

    Raises:
        InputError: `content` does not begin with such a header.
    """
    if content[:4] != b"\x1f\x8b\x08\x00" or len(content) < _FIXED:
        raise InputError(
            f"{name} of the package {PACKAGE}: a gzip file without a name in its "
            f"header is needed, and this begins with {content[:4].hex(' ')!r}."
        )
    # Method 8 (deflate), flag 8 (a name follows), system 3 (Unix).
    header = struct.pack("<2sBBIBB", b"\x1f\x8b", 8, 8, seconds, 0, 3)
    return header + name.removesuffix(".gz").encode() + b"\0" + content[_FIXED:]
