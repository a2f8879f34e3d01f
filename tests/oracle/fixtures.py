"""Fixture files: HDF5, float64, Hugging Face names as paths ("." becomes "/")."""

import h5py
import numpy

# Large arrays are rounded to multiples of 2^-ROUNDING_BITS of their power of two above the largest
# element, which gzip then packs to two thirds: an error of at most 2^-40 (9.1e-13) of the largest
# element, far below the 1e-10 that is asked of the float64 path.
ROUNDING_BITS = 40


def round_for_storage(values, bits=ROUNDING_BITS):
    values = numpy.asarray(values, dtype=numpy.float64)
    largest = numpy.max(numpy.abs(values), initial=0.0)
    if largest == 0.0:
        return values
    _, exponent = numpy.frexp(largest)
    step = numpy.ldexp(1.0, int(exponent) - bits)
    return numpy.round(values / step) * step


def path_of(name):
    return name.replace(".", "/")


class FixtureWriter:
    """One file; groups appear by themselves."""

    def __init__(self, path, rounding_bits=ROUNDING_BITS):
        self._bits = rounding_bits
        # The newer file format spends far less on each group and dataset; HDF5 1.10 reads it.
        self._file = h5py.File(path, "w", libver=("v110", "v110"))
        if rounding_bits != ROUNDING_BITS:
            self.attributes(rounding_bits=rounding_bits)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def attributes(self, **values):
        """Hyper-parameters, on the root group."""
        for name, value in values.items():
            self._file.attrs[name] = numpy.bytes_(value) if isinstance(value, str) else value

    def exact(self, path, values):
        """Stored as it is: scalars, curves, tokens."""
        values = numpy.asarray(values)
        packing = {"compression": "gzip", "shuffle": True} if values.ndim > 1 else {}
        self._file.create_dataset(path, data=values, **packing)

    def rounded(self, path, values):
        """A large float64 array, rounded as above."""
        values = round_for_storage(values, self._bits)
        packing = {} if values.size < 256 else {
            "chunks": values.shape, "compression": "gzip", "compression_opts": 9, "shuffle": True,
        }
        self._file.create_dataset(path, data=values, **packing)

    def tensors(self, group, named):
        """One dataset per parameter: group/model/layers/0/..."""
        for name, values in named.items():
            self.rounded(f"{group}/{path_of(name)}", values.numpy())


def read_tree(path):
    """({dataset path: array}, {attribute: value}) of a file."""
    datasets = {}
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda name, item: datasets.update({name: item[()]})
            if isinstance(item, h5py.Dataset) else None
        )
        return datasets, dict(file.attrs)


def differences(committed, regenerated):
    """Lines that say where two fixture files differ by more than one step of the rounding above,
    relative to a dataset's largest element (on the machine they were made on, to the bit)."""
    (old, old_attributes), (new, new_attributes) = read_tree(committed), read_tree(regenerated)
    tolerance = 1.1 * 2.0 ** (1 - int(old_attributes.get("rounding_bits", ROUNDING_BITS)))
    lines = [f"{name}: only in one file" for name in sorted(old.keys() ^ new.keys())]
    if old_attributes != new_attributes:
        lines.append(f"attributes: {old_attributes} != {new_attributes}")
    for name in sorted(old.keys() & new.keys()):
        a, b = numpy.asarray(old[name]), numpy.asarray(new[name])
        if a.dtype != b.dtype or a.shape != b.shape:
            lines.append(f"{name}: {a.dtype}{a.shape} != {b.dtype}{b.shape}")
            continue
        if a.dtype.kind not in "fiu":
            if not numpy.array_equal(a, b):
                lines.append(f"{name}: {a} != {b}")
            continue
        largest = max(float(numpy.max(numpy.abs(a), initial=0.0)), 1e-300)
        error = float(numpy.max(numpy.abs(a - b), initial=0.0)) / largest
        if not error <= tolerance:
            lines.append(f"{name}: relative difference {error:.1e}")
    return lines
