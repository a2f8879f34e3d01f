"""What Python users see: checkpoint.h5 opened with h5py shows the whole model through its links.

usage: checkpoint_h5py.py CHECKPOINT_FOLDER    (run by checkpoint_h5py_test.cpp; 77 means no h5py)
"""
import json
import pathlib
import shutil
import sys
import tempfile

try:
    import h5py
    import numpy
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


def datasets_below(group, prefix=""):
    """Visits by hand: h5py's visititems does not follow external links."""
    for name in group:
        item = group[name]
        if isinstance(item, h5py.Dataset):
            yield f"{prefix}/{name}", item
        else:
            yield from datasets_below(item, f"{prefix}/{name}")


def check(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    with h5py.File(folder / "checkpoint.h5", "r") as file:
        assert file.attrs["format"].decode() == "sluice-checkpoint-index"
        assert file.attrs["num_stages"] == manifest["num_stages"]
        assert file["progress"].attrs["update"] == manifest["update"] == 7
        assert file["progress"].attrs["seed"] == 2**64 - 2
        assert file["config"][()].decode().startswith("[run]\n")
        assert file["warmup/counter"].dtype == numpy.int64
        assert list(file["warmup/counter"]) == [7] * manifest["num_layers"]
        assert file["warmup/alpha"][2] == 7 / 9
        for name, link in file["parameters/model/layers/0/mlp/up_proj"].items():
            assert file["parameters/model/layers/0/mlp/up_proj"].get(name, getlink=True).filename \
                .startswith("stage-"), "links are relative"
        shown = dict(datasets_below(file))
        listed = {array["path"]: array for array in manifest["arrays"]}
        assert set(listed) < set(shown), set(listed) - set(shown)
        for path, array in listed.items():
            dataset = shown[path]
            assert dataset.dtype == numpy.dtype("<f4") and list(dataset.shape) == array["shape"]
            assert dataset.attrs["checksum"].decode() == array["checksum"]
            stage = folder / f"stage-{array['stage']:04d}-of-{manifest['num_stages']:04d}.h5"
            raw = numpy.fromfile(stage, "<f4", dataset.size, offset=array["offset"])
            assert raw.tobytes() == dataset[()].tobytes(), path
    print(f"{len(listed)} tensors")


def main():
    folder = pathlib.Path(sys.argv[1])
    check(folder)
    with tempfile.TemporaryDirectory() as elsewhere:
        moved = pathlib.Path(elsewhere) / "moved"
        shutil.copytree(folder, moved)
        shutil.rmtree(folder)
        check(moved)


if __name__ == "__main__":
    main()
