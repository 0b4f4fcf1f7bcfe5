"""Published weights onto this machine, through the libraries of their publishers.

Files are kept in those libraries' own caches, where a file that another program has
fetched is found as well; what is there needs no network.
"""

import errno
import hashlib
import os
from pathlib import Path

from keras_resnet.common.errors import DownloadError
from keras_resnet.common.files import write_beside
from keras_resnet.weights.registry import PublishedWeights

_SAFETENSORS = "model.safetensors"  # in each of timm's repositories
# Of a folder of keras-hub: the second holds the backbone, the third the classifier.
_PRESET = ("config.json", "model.weights.h5", "task.weights.h5")

_DISK_ERRORS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENOENT,
    errno.ENOTDIR,
}
_checked: set[Path] = set()  # files of the cache, by this process


def fetch(weights: PublishedWeights) -> Path:
    """The file of published weights, downloaded unless the cache has it.

    Weights on the Hugging Face hub go through huggingface_hub (cache, endpoint, token
    and offline mode as HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE say), which
    goes on where a connection broke off; keras.applications' go through
    `keras.utils.get_file` into `models` below KERAS_HOME, or ~/.keras. A file is
    compared with its published hash once in a process. Where the system has no
    symbolic links the hub's cache does not keep the hash, and only the size is checked.

    Returns:
        Path of a `.safetensors` or `.h5` file; of "keras_hub" weights, of the folder
        with config.json, model.weights.h5 and task.weights.h5.

    Raises:
        DownloadError: not in the cache, and the download fails (no network, refused,
            not what a hub answers, broken off) or cannot be written to the cache;
            or the file is damaged, in which case it is removed.
    """
    if weights.publisher == "keras":
        return _from_keras(weights)
    if weights.publisher == "keras_hub":
        config, *arrays = _PRESET
        folder = _from_hub(weights, config).parent
        for file in arrays:
            _from_hub(weights, file, revision=folder.name)  # of the same commit
        return folder
    return _from_hub(weights, _SAFETENSORS)


def _from_hub(weights: PublishedWeights, file: str, revision: str = "main") -> Path:
    from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache

    try:
        # Asked first, since a download asks the hub for news of a file that it has.
        path = try_to_load_from_cache(weights.source, file, revision=revision)
        if not isinstance(path, str):
            path = hf_hub_download(weights.source, file, revision=revision)
    except Exception as error:  # of the network, the hub or the disk
        url = hf_hub_url(weights.source, file, revision=revision)
        raise _failure(weights, url, error, _hub_reason(error)) from error
    _require_published_hash(Path(path))
    return Path(path)


def _require_published_hash(path: Path) -> None:
    """Compares a file of the hub's cache with its SHA-256.

    The cache holds a link to a blob that is named by that hash (of a small file, by a
    shorter one of Git); the blob may be a link to where repositories share content.
    """
    published = path.readlink().name if path.is_symlink() else ""
    if path in _checked or len(published) != 64:
        return
    if _hash(path, "sha256") == published:
        _checked.add(path)
        return
    try:
        for file in (path.resolve(), path.parent / path.readlink(), path):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(
            f"{path} is damaged and cannot be removed ({error.strerror})."
        ) from error
    raise DownloadError(
        f"{path} is damaged: its SHA-256 is not the published {published}. It was "
        "removed; call again to download it anew."
    )


def _hub_reason(error: Exception) -> str:
    """What went wrong, for people, from an exception of huggingface_hub."""
    from huggingface_hub import constants, errors

    cause = error.__cause__ or error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if status in (401, 403):
        return f"{constants.ENDPOINT} grants no access (status {status}): see HF_TOKEN"
    if status:
        return f"{constants.ENDPOINT} answers with status {status}"
    if isinstance(cause, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(cause, errors.FileMetadataError):
        return f"{constants.ENDPOINT} does not answer as a hub does"
    return f"no network, or it broke off: {_one_line(cause)}"


def _from_keras(weights: PublishedWeights) -> Path:
    import keras

    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    path = home / "models" / weights.source.rpartition("/")[2]
    if path.is_file() and (path in _checked or _hash(path, "md5") == weights.md5):
        _checked.add(path)
        return path
    # Downloaded beside and renamed: get_file writes to the final name at once, and
    # where it may not, it silently uses a folder below /tmp.
    try:
        with write_beside(path, force=True) as part:
            keras.utils.get_file(
                part.name,
                weights.source,
                file_hash=weights.md5,
                cache_dir=str(part.parent),
                cache_subdir="",
            )
    except Exception as error:  # get_file raises Exception itself
        raise _failure(weights, weights.source, error, _one_line(error)) from error
    _checked.add(path)
    return path


def _failure(
    weights: PublishedWeights, url: str, error: Exception, reason: str
) -> DownloadError:
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        reason = f"the cache cannot be used: {_one_line(error)}"
    return DownloadError(
        f"weights={weights.name!r} are not in the cache and cannot be downloaded "
        f"({reason}). Fetch {url} by other means and pass the file's path as weights."
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _hash(path: Path, algorithm: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise DownloadError(f"cannot read {path}: {error.strerror}.") from error
