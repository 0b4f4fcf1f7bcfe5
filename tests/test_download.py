"""Downloads of published weights, against a server on this machine."""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hub_server import COMMIT, HubServer

from keras_resnet.common.errors import DownloadError
from keras_resnet.weights import download, registry

TIMM = "timm/resnet18.a1_in1k/model.safetensors"
CONTENT = os.urandom(300_000)
KERAS_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels.h5"


@pytest.fixture
def weight():
    return registry.find("resnet18", "a1_in1k")


@pytest.fixture
def server():
    with HubServer({TIMM: CONTENT, KERAS_FILE: CONTENT}) as server:
        yield server


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """The hub is the server; its cache is empty. Waits before retries take no time."""
    from huggingface_hub import constants

    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    forget()
    return server


@pytest.fixture
def keras_weight(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    forget()
    record = registry.find("resnet50_v1", "keras")
    return replace(
        record,
        source=f"{server.url}/{KERAS_FILE}",
        md5=hashlib.md5(CONTENT).hexdigest(),
    )


def forget():
    """As a new process: no file of the cache has been checked."""
    download._checked.clear()


def refused(weight, *words):
    with pytest.raises(DownloadError) as caught:
        download.fetch(weight)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def test_a_file_is_downloaded_once(hub, weight):
    path = download.fetch(weight)
    assert path.read_bytes() == CONTENT
    assert path.name == "model.safetensors"
    asked = len(hub.requests)
    forget()
    assert download.fetch(weight) == path
    assert len(hub.requests) == asked


def test_the_cache_needs_no_network(hub, weight):
    path = download.fetch(weight)
    forget()
    hub.__exit__()
    assert download.fetch(weight).read_bytes() == path.read_bytes() == CONTENT


def test_a_download_goes_on_where_the_connection_broke(hub, weight):
    hub.cut = [120_000, 80_000]
    assert download.fetch(weight).read_bytes() == CONTENT
    ranges = [asked for method, _, asked in hub.requests if method == "GET"]
    assert ranges[0] is None
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in ranges[1:]]
    assert len(starts) == 2
    assert 0 < starts[0] <= 120_000  # whole chunks are kept
    assert starts[0] < starts[1] <= starts[0] + 80_000


def test_a_download_that_never_goes_on_leaves_nothing(hub, weight, tmp_path):
    hub.cut = [120_000] + [0] * 20
    refused(weight, "resnet18.a1_in1k", "broke off", f"{hub.url}/timm/resnet18.a1_in1k")
    sizes = [file.stat().st_size for file in (tmp_path / "hub").rglob("*")]
    assert max(sizes) < 50_000
    hub.cut = []
    assert download.fetch(weight).read_bytes() == CONTENT


def test_a_file_with_another_hash_is_refused_and_removed(hub, weight):
    hub.published[TIMM] = "0" * 64
    refused(weight, "damaged", "0" * 64, "removed")
    hub.published.clear()
    assert download.fetch(weight).read_bytes() == CONTENT


def test_a_cached_file_that_was_damaged_since_is_refused_and_removed(hub, weight):
    path = download.fetch(weight)
    blob = path.resolve()
    blob.chmod(0o644)
    blob.write_bytes(CONTENT[:1000] + b"!" + CONTENT[1001:])
    forget()
    refused(weight, "damaged")
    assert not path.exists()
    assert download.fetch(weight).read_bytes() == CONTENT


def test_content_that_repositories_share_is_known_by_its_own_hash(hub, weight):
    path = download.fetch(weight)
    blob = path.resolve()
    shared = blob.parents[2] / "blobs/ab" / f"ab{'0' * 62}"  # as huggingface_hub 2 does
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(shared)
    forget()
    assert download.fetch(weight) == path
    shared.chmod(0o644)
    shared.write_bytes(CONTENT[1:])
    forget()
    refused(weight, "damaged")
    assert not shared.exists() and not blob.is_symlink() and not path.is_symlink()


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusal_names_its_status(hub, weight, status):
    hub.refuse = status
    message = refused(weight, f"status {status}", hub.url, "pass the file's path")
    assert ("HF_TOKEN" in message) == (status in (401, 403))


def test_a_missing_file_is_named(hub, weight):
    del hub.files[TIMM]
    refused(weight, "status 404", f"{weight.source}/resolve/main/model.safetensors")


def test_a_page_in_place_of_a_file_is_refused(hub, weight):
    hub.html = True
    refused(weight, "does not answer as a hub does")


def test_no_server_is_no_network(hub, weight):
    hub.__exit__()
    refused(weight, "no network", "pass the file's path")


def test_offline_mode_is_named(hub, weight, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(weight, "HF_HUB_OFFLINE")
    assert not hub.requests


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="a folder nobody writes")
def test_a_cache_that_cannot_be_used_is_named(hub, weight, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/sys/kernel/cache")
    refused(weight, "cache cannot be used", "/sys/kernel/cache")


def test_torchvision_weights_are_timms_copies(hub):
    hub.files["timm/resnet50.tv2_in1k/model.safetensors"] = CONTENT
    weight = registry.find("resnet50", "torchvision/IMAGENET1K_V2")
    assert download.fetch(weight).read_bytes() == CONTENT


def test_a_preset_of_keras_hub_is_a_folder(hub):
    names = ("config.json", "model.weights.h5", "task.weights.h5")
    hub.files |= {f"keras/resnet_50_imagenet/{name}": CONTENT for name in names}
    folder = download.fetch(registry.find("resnet50", "resnet_50_imagenet"))
    assert folder.name == COMMIT
    assert {path.name for path in folder.iterdir()} == set(names)
    asked = len(hub.requests)
    assert download.fetch(registry.find("resnet50", "resnet_50_imagenet")) == folder
    assert len(hub.requests) == asked


def test_the_hubs_environment_is_honoured(server, tmp_path):
    script = (
        "from keras_resnet.weights import download, registry\n"
        "weight = registry.find('resnet18', 'timm/resnet18.a1_in1k')\n"
        "print(download.fetch(weight))"
    )
    place = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}

    def run(**more):
        return subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | place | more,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    path = Path(run())
    assert path.is_relative_to(tmp_path / "home")
    assert path.read_bytes() == CONTENT
    assert run(HF_HUB_OFFLINE="1") == str(path)


def test_a_file_of_keras_is_downloaded_once(keras_weight, server, tmp_path):
    path = download.fetch(keras_weight)
    assert path == tmp_path / "keras/models" / KERAS_FILE
    assert path.read_bytes() == CONTENT
    forget()
    assert download.fetch(keras_weight) == path
    assert len(server.requests) == 1
    assert [file.name for file in path.parent.iterdir()] == [KERAS_FILE]


def test_a_damaged_file_of_keras_is_downloaded_anew(keras_weight, tmp_path):
    path = tmp_path / "keras/models" / KERAS_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:5000])
    assert download.fetch(keras_weight).read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["cut", "html", "refuse", "gone"])
def test_a_file_of_keras_that_cannot_be_had(keras_weight, server, tmp_path, fault):
    if fault == "cut":
        server.cut = [100_000]
    elif fault == "gone":
        server.__exit__()
    else:
        setattr(server, fault, 404 if fault == "refuse" else True)
    refused(keras_weight, "resnet50_v1.keras", keras_weight.source, "pass the file's")
    assert not list((tmp_path / "keras/models").iterdir())


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="a folder nobody writes")
def test_a_home_of_keras_that_cannot_be_written_is_named(keras_weight, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", "/sys/kernel/keras")
    refused(keras_weight, "cannot write /sys/kernel/keras/models")
