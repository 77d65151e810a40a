"""Files of logits that NumPy alone reads: every row in its order, in blocks, from any row on; and what is refused."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import file_cases
import numpy as np
import pytest
from helpers import not_sanitized
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from fastloss.failure import Failure
from fastloss.files import Dataset, Spec, ahead, expand, formats

ROOT = str(Path(fl.__file__).parents[1])


def npy(folder, logits, labels, groups):
    for name, array in (("x", logits), ("t", labels), ("g", groups)):
        np.save(folder / f"{name}.npy", array)
    return Dataset(Spec(folder / "x.npy"), Spec(folder / "t.npy"), {"groups": Spec(folder / "g.npy")})


def fortran(folder, *arrays):
    return npy(folder, *map(np.asfortranarray, arrays))


def swapped(folder, logits, labels, groups):
    np.save(folder / "x.npy", logits.astype(logits.dtype.newbyteorder(">")))
    np.save(folder / "t.npy", labels.astype(labels.dtype.newbyteorder(">")))
    np.save(folder / "g.npy", groups)
    extras = {"groups": Spec(folder / "g.npy")}
    return Dataset(Spec(folder / "x.npy"), Spec(folder / "t.npy"), extras, dtype=logits.dtype.name)


def npz(folder, logits, labels, groups, save=np.savez):
    save(folder / "a.npz", logits=logits, odd=np.zeros(3, np.int8), labels=labels, groups=groups)
    return Dataset(Spec(folder / "a.npz"), extras={"groups": Spec(None, "groups")})


def compressed(folder, *arrays):
    return npz(folder, *arrays, save=np.savez_compressed)


def raw(folder, logits, labels, groups):
    for name, array in (("x.bin", logits), ("t.raw", labels), ("g.dat", groups.astype(labels.dtype))):
        array.tofile(folder / name)
    shape = (-1, *logits.shape[1:])
    extras = {"groups": Spec(folder / "g.dat")}
    names = logits.dtype.name, labels.dtype.name
    return Dataset(
        Spec(folder / "x.bin"), Spec(folder / "t.raw"), extras, dtype=names[0], shape=shape, targets_dtype=names[1]
    )


def pieces(folder, logits, labels, groups):
    file_cases.shards(np.save, logits, 12, f"{folder}/x-{{}}.npy")
    file_cases.shards(np.save, labels, 12, f"{folder}/t-{{}}.npy")
    file_cases.shards(np.save, groups, 5, f"{folder}/g-{{}}.npy")
    names = (f"{folder}/{each}-*.npy" for each in "xtg")
    logits, labels, groups = map(Spec, names)
    return Dataset(logits, labels, {"groups": groups})


@pytest.mark.parametrize("write", [npy, fortran, swapped, npz, compressed, raw, pieces])
def test_every_row_in_its_order(write, tmp_path_factory):
    @settings(max_examples=40, deadline=None, database=None)
    @given(arrays=file_cases.arrays(), size=st.sampled_from([1, 100, 5000, 1 << 26]), start=st.floats(0, 1))
    def run(arrays, size, start):
        dataset = write(tmp_path_factory.mktemp("files"), *arrays)
        expected = (*arrays[:2], arrays[2].astype(arrays[1].dtype)) if write is raw else arrays
        file_cases.check(dataset, expected, size, start)

    run()


@pytest.mark.parametrize("known", [True, False])
def test_bfloat16(known, tmp_path, monkeypatch):
    """With ml_dtypes, and without: then it is the bits, of which fastloss knows what they are."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    monkeypatch.chdir(tmp_path)
    logits = np.random.default_rng(0).normal(0, 3, (9, 5)).astype(ml_dtypes.bfloat16)
    logits.tofile("x.bin")
    np.save("x.npy", logits.view("V2"))
    np.save("u.npy", logits.view(np.uint16))
    np.save("t.npy", np.arange(9) % 5)
    evaluation = fl.Evaluation()
    evaluation.update(logits, np.arange(9) % 5)
    for arguments in (("x.bin", "t.npy", "--shape", "9,5"), ("x.npy", "t.npy"), ("u.npy", "t.npy")):
        found = file_cases.evaluated(*arguments, "--dtype", "bfloat16", "--block-size", "20", ml_dtypes=known)
        assert found["dtype"] == "bfloat16"
        assert found["loss"] == evaluation.compute()["loss"]


def test_groups_of_first_axes(tmp_path):
    logits, labels = np.zeros((4, 3, 2, 5), np.float32), np.zeros((4, 3, 2), int)
    names = np.array([f"group {i}" for i in range(12)]).reshape(4, 3)
    for groups in (names, names[:, 0]):
        dataset = npy(tmp_path, logits, labels, groups)
        expected = np.broadcast_to(groups.reshape(4, -1, 1), (4, 3, 2)).reshape(-1)
        for size in (1, 100, 1000):
            np.testing.assert_array_equal(file_cases.read(dataset, size)[2], expected)


def test_patterns_are_in_their_natural_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a10.npy", "a9.npy", "a1.npy", "b[1].npy"):
        Path(name).touch()
    assert expand("a*.npy") == ["a1.npy", "a9.npy", "a10.npy"]
    assert expand(["b[1].npy", Path("a[19].npy")]) == ["b[1].npy", "a1.npy", "a9.npy"]
    with pytest.raises(Failure, match=r"c\*\.npy: no file fits"):
        expand("c*.npy")


# --- what is refused


def archive(**arrays):
    np.savez("a.npz", **arrays)
    return Dataset(Spec("a.npz"))


def pair(logits, targets, **options):
    np.save("x.npy", logits)
    np.save("t.npy", targets)
    return Dataset(Spec("x.npy"), Spec("t.npy"), **options)


def two(first, second, targets):
    for name, array in (("x-1.npy", first), ("x-2.npy", second)):
        np.save(name, array)
    for i, array in enumerate(targets):
        np.save(f"t-{i}.npy", array)
    return Dataset(Spec("x-*.npy"), Spec("t-*.npy"))


def cut(name, to, open_it):
    content = Path(name).read_bytes()
    Path(name).write_bytes(content[:to] if to < 0 else bytes(to) + content[to:])
    return open_it()


def packed_then(change):
    np.savez_compressed("a.npz", logits=np.random.default_rng(0).normal(size=(5000, 7)), labels=np.zeros(5000, int))
    content = bytearray(Path("a.npz").read_bytes())
    change(content)
    Path("a.npz").write_bytes(content)
    return Dataset(Spec("a.npz"))


def raw_of(size, shape, dtype="float32"):
    Path("x.bin").write_bytes(bytes(size))
    np.save("t.npy", np.zeros(3, int))
    return Dataset(Spec("x.bin"), Spec("t.npy"), dtype=dtype, shape=shape)


def named(name):
    Path(name).write_bytes(b"1 2 3")
    return Dataset(Spec(name))


F, I = np.zeros((3, 7), np.float32), np.zeros(3, int)  # noqa: E741

REFUSED = {
    "which array": (lambda: archive(a=F, b=F), "a.npz: which of its arrays are the logits? It has 'a', 'b'"),
    "which targets": (lambda: archive(logits=F, b=I, c=I), "which of its arrays are the targets? It has 'b', 'c'"),
    "no such key": (lambda: (archive(logits=F, t=I), Dataset(Spec("a.npz", "q"))), "a.npz: has no array 'q'"),
    "no arrays": (lambda: archive(), "a.npz: has no array that could be the logits"),
    "one number": (lambda: pair(np.float32(1), I), "x.npy: has no array that could be the logits"),
    "zip as npy": (
        lambda: (archive(logits=F, t=I), os.rename("a.npz", "x.npy"), Dataset(Spec("x.npy"))),
        "x.npy: a zip archive",
    ),
    "npy as npz": (lambda: (pair(F, I), os.rename("x.npy", "x.npz"), Dataset(Spec("x.npz"))), "x.npz: not an .npz"),
    "npz cut": (lambda: (archive(logits=F, t=I), cut("a.npz", -9, lambda: Dataset(Spec("a.npz")))), "not an .npz"),
    "npz damaged": (
        lambda: packed_then(lambda all: all.__setitem__(slice(200_000, 200_010), bytes(10))),
        "logits is damaged",
    ),
    "npz in Fortran order": (
        lambda: (np.savez_compressed("a.npz", logits=np.asfortranarray(F), t=I), Dataset(Spec("a.npz"))),
        "logits is compressed and in Fortran order",
    ),
    "text dtype": (lambda: pair(np.zeros((3, 7), "U1"), I), "x.npy: logits of dtype <U1"),
    "other shape": (lambda: pair(F, np.zeros(4, int)), "t.npy: targets of shape (4,); the logits need (3,)"),
    "axes": (
        lambda: pair(np.zeros((3, 2, 7)), np.zeros((3, 4), int)),
        "targets of shape (3, 4); the logits need (3, 2)",
    ),
    "groups": (
        lambda: (pair(F, I), np.save("g.npy", I[:2]), Dataset(Spec("x.npy"), Spec("t.npy"), {"groups": Spec("g.npy")})),
        "g.npy: groups of shape (2,); the logits need (3,)",
    ),
    "dtype": (lambda: pair(F, I, dtype="float64"), "x.npy: dtype float32 is not float64"),
    "shards' classes": (
        lambda: two(F, np.zeros((3, 8), np.float32), [I, I]),
        "x-2.npy: logits of dtype float32 and shape (3, 8); x-1.npy has float32 and (3, 7)",
    ),
    "shards' dtype": (lambda: two(F, F.astype(np.float64), [I, I]), "x-2.npy: logits of dtype float64"),
    "shard by shard": (lambda: two(F, F, [I, I[:2]]), "t-1.npy: targets of shape (2,); the logits need (3,)"),
    "altogether": (lambda: two(F, F, [I, I, I]), "targets of 9 rows in 3 files; the logits have 6 in 2"),
    "raw without shape": (lambda: raw_of(84, None), "x.bin: raw values, as its name says"),
    "raw size": (lambda: raw_of(83, (3, 7)), "x.bin: 83 bytes; (3, 7) of float32 are 84"),
    "raw rest": (lambda: raw_of(85, (-1, 7)), "x.bin: 85 bytes; (3, 7) of float32 are 84"),
    "raw dtype": (lambda: raw_of(84, (3, 7), None), "x.bin: raw values, as its name says"),
    "swapped dtype": (lambda: pair(F.astype(">f4"), I, dtype="float64"), "x.npy: dtype >f4 is not float64"),
    "format": (lambda: named("x.csv"), "x.csv: of no format that is known by its name (.npy, "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    breaks, message = REFUSED[name]

    def opened_and_read():
        found = breaks()
        list((found[-1] if isinstance(found, tuple) else found).blocks(100))

    with pytest.raises(Failure) as failure:
        opened_and_read()
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("name", ["x.npy", "x.csv", "x.npz", "x.bin"])
def test_a_missing_file_is_the_systems_error(name):
    with pytest.raises(FileNotFoundError):
        Dataset(Spec(name), dtype="float32", shape=(3, 7))


def test_a_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = pair(np.zeros((5000, 100), np.float32), np.zeros(5000, int))
    blocks = dataset.blocks(40_000)
    next(blocks)
    os.truncate("x.npy", 100_000)
    with pytest.raises(Failure, match=r"x\.npy: cannot be read any more|x\.npy: truncated"):
        list(blocks)


@pytest.mark.parametrize("library", sorted({each.name for each in formats._LIBRARIES.values()}))
def test_a_missing_library_is_one_line(library, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fastloss.files.")]:
        if name.rpartition(".")[2] in {each.module for each in formats._LIBRARIES.values()} | {"columns"}:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    for suffix in [suffix for suffix, each in formats._LIBRARIES.items() if each.name == library]:
        name = suffix if suffix == "-" else str(tmp_path / f"x{suffix}")
        with pytest.raises(Failure) as failure:
            Dataset(Spec(name))
        assert str(failure.value) == f"{name}: reading it needs {library}: pip install 'fastloss[files]'"


# --- memory and the background


@not_sanitized
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
@pytest.mark.parametrize("order", ["C", "F"])
def test_resident_memory_does_not_grow_with_the_file(order, tmp_path):
    """One gigabyte of it: all of a sparse file's pages are zeros, and count as others do."""
    code = f"""
    import numpy as np, sys
    from fastloss.files import Dataset, Spec, ahead
    rows, classes = {(1 << 14, 32_768) if order == "C" else (1 << 20, 512)}
    np.lib.format.open_memmap("x.npy", "w+", np.float16, (rows, classes), fortran_order={order == "F"})
    np.save("t.npy", np.zeros(rows, np.uint8))
    seen = 0
    for block in ahead(Dataset(Spec("x.npy"), Spec("t.npy")).blocks(64 << 20)):
        seen += block.logits.nbytes + int(block.logits.view(np.uint16).max())
    assert seen == 2 * rows * classes
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert int(done.stdout) * 1024 < 600e6


def test_ahead_is_one_ahead_and_ends_with_its_reader():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    running = ahead(items())
    assert next(running) == 0
    time.sleep(0.3)
    assert made == [0, 1, 2]
    running.close()
    time.sleep(0.3)
    assert made == [0, 1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name == "fastloss-ahead"]


def test_ahead_passes_errors_on_where_they_belong():
    def items():
        yield 1
        raise Failure("no more")

    running = ahead(items())
    assert next(running) == 1
    with contextlib.closing(running), pytest.raises(Failure, match="no more"):
        next(running)
