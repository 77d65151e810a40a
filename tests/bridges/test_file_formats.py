"""Files that other libraries write: Arrow and its streams, Parquet, safetensors, zarr; and the same, damaged."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import file_cases
import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from fastloss.failure import Failure
from fastloss.files import Dataset, Spec

pa = peer("pyarrow")
feather, parquet = peer("pyarrow.feather"), peer("pyarrow.parquet")
safetensors, zarr = peer("safetensors.numpy"), peer("zarr")
ml_dtypes = peer("ml_dtypes")

ROOT = str(Path(fl.__file__).parents[1])
GROUPS = {"groups": Spec(None, "groups")}


# --- arrays as Arrow's columns


def fixed_size_lists(array):
    column = pa.array(array.reshape(-1))
    for length in array.shape[:0:-1]:
        column = pa.FixedSizeListArray.from_arrays(column, length)
    return column


def lists(array, kind=None, width=np.int32):
    column = pa.array(array.reshape(-1))
    for axis in range(array.ndim - 1, 0, -1):
        offsets = np.arange(np.prod(array.shape[:axis]) + 1, dtype=width) * array.shape[axis]
        column = (kind or pa.ListArray).from_arrays(offsets, column)
    return column


def large_lists(array):
    return lists(array, pa.LargeListArray, np.int64)


def tensors(array):
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array)) if array.ndim > 1 else lists(array)


COLUMNS = [fixed_size_lists, lists, large_lists, tensors]


def table(column, logits, labels, groups):
    names = np.array(["a", "b", "c"])[groups]
    columns = {"labels": lists(labels), "groups": lists(names).cast(lists(names).type), "logits": column(logits)}
    return pa.table({**columns, "text": ["not an array of numbers"] * len(logits), "none": pa.nulls(len(logits))})


def as_parquet(folder, found):
    parquet.write_table(found, folder / "a.parquet", row_group_size=7, data_page_size=200)
    return Dataset(Spec(folder / "a.parquet"), extras=GROUPS)


def as_feather(folder, found, compression="uncompressed"):
    feather.write_feather(found, folder / "a.feather", compression=compression, chunksize=7)
    return Dataset(Spec(folder / "a.feather"), extras=GROUPS)


def as_compressed_feather(folder, found):
    return as_feather(folder, found, "lz4")


def as_stream(folder, found):
    with pa.ipc.new_stream(folder / "a.arrow", found.schema) as stream:
        stream.write_table(found, max_chunksize=7)
    return Dataset(Spec(folder / "a.arrow"), extras=GROUPS)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("write", [as_parquet, as_feather, as_compressed_feather, as_stream])
def test_arrow(write, column, tmp_path_factory):
    @settings(max_examples=15, deadline=None, database=None)
    @given(arrays=file_cases.arrays(), size=st.sampled_from([1, 100, 5000, 1 << 26]), start=st.floats(0, 1))
    def run(arrays, size, start):
        logits, labels, groups = arrays
        dataset = write(tmp_path_factory.mktemp("files"), table(column, logits, labels, groups))
        file_cases.check(dataset, (logits, labels, np.array(["a", "b", "c"])[groups]), size, start)

    run()


def as_safetensors(folder, logits, labels, groups):
    arrays = {"one": np.float32([1]), "logits": logits, "labels": labels, "groups": groups}
    safetensors.save_file(arrays, folder / "a.safetensors", metadata={"who": "a test"})
    return Dataset(Spec(folder / "a.safetensors"), extras=GROUPS)


def as_zarr(folder, logits, labels, groups, version=3):
    group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=version)
    arrays = {"logits": (logits, 3), "labels": (labels, 5), "groups": (groups, 2)}
    for name, (array, chunk) in arrays.items():
        chunks = (min(chunk, len(array)), *(max(1, length // 2) for length in array.shape[1:]))
        group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=chunks)[...] = array
    return Dataset(Spec(folder / "a.zarr"), extras=GROUPS)


def as_zarr_2(folder, *arrays):
    return as_zarr(folder, *arrays, version=2)


def as_arrays_of_zarr(folder, *arrays):
    for name, array in zip("xtg", arrays, strict=True):
        zarr.save_array(str(folder / name), array)
    return Dataset(Spec(folder / "x"), Spec(folder / "t"), {"groups": Spec(folder / "g")})


@pytest.mark.parametrize("write", [as_safetensors, as_zarr, as_zarr_2, as_arrays_of_zarr])
def test_named_arrays(write, tmp_path_factory):
    @settings(max_examples=15, deadline=None, database=None)
    @given(arrays=file_cases.arrays(), size=st.sampled_from([1, 100, 5000, 1 << 26]), start=st.floats(0, 1))
    def run(arrays, size, start):
        file_cases.check(write(tmp_path_factory.mktemp("files"), *arrays), arrays, size, start)

    run()


@pytest.mark.parametrize("known", [True, False])
def test_bfloat16(known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logits, labels = np.random.default_rng(0).normal(0, 3, (9, 5)).astype(ml_dtypes.bfloat16), np.arange(9) % 5
    safetensors.save_file({"logits": logits, "labels": labels}, "a.safetensors")
    bits = logits.view(np.uint16)
    parquet.write_table(pa.table({"logits": lists(bits), "labels": labels}), "a.parquet")
    zarr.save_group("a.zarr", logits=bits, labels=labels)
    evaluation = fl.Evaluation()
    evaluation.update(logits, labels)
    for arguments in (("a.safetensors",), ("a.parquet", "--dtype", "bfloat16"), ("a.zarr", "--dtype", "bfloat16")):
        found = file_cases.evaluated(*arguments, "--block-size", "20", ml_dtypes=known)
        assert found["dtype"] == "bfloat16"
        assert found["loss"] == evaluation.compute()["loss"]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("write", [as_parquet, as_feather, as_stream])
def test_what_is_missing_is_ignored(write, column, tmp_path):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, 5)).astype(np.float32), rng.integers(0, 5, 40)
    no_logits, no_label = rng.random((2, 40)) < 0.3
    whole = column(logits)
    found = {
        "logits": pa.array([None if no_logits[i] else whole[i].as_py() for i in range(40)], whole.type)
        if column is not tensors
        else pa.ExtensionArray.from_storage(
            whole.type, pa.array([None if no_logits[i] else logits[i].tolist() for i in range(40)], whole.storage.type)
        ),
        "labels": pa.array(labels.astype(np.uint8), mask=no_label),
        "groups": np.zeros(40, int),
    }
    expected = np.where(no_logits | no_label, -100, labels)
    for size in (1, 100, 1 << 20):
        got = file_cases.read(write(tmp_path, pa.table(found)), size)
        np.testing.assert_array_equal(got[1], expected)
        np.testing.assert_array_equal(got[0][~no_logits], logits[~no_logits])


def test_standard_input(tmp_path):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 5)).astype(np.float32), rng.integers(0, 5, 500)
    found = pa.table({"labels": labels, "q": lists(logits)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, found.schema) as stream:
        stream.write_table(found, max_chunksize=33)
    bits = sink.getvalue().to_pybytes()

    def run(sent):
        command = [
            sys.executable,
            "-m",
            "fastloss",
            "evaluate",
            "-",
            "--logits-key",
            "q",
            "--json",
            "-",
            "--block-size",
            "99",
        ]
        return subprocess.run(
            command, input=sent, capture_output=True, env={**os.environ, "PYTHONPATH": ROOT}, timeout=60
        )

    evaluation = fl.Evaluation()
    evaluation.update(logits, labels)
    done = run(bits)
    assert f'"loss": {evaluation.compute()["loss"]!r}' in done.stdout.decode()
    assert b'"shape": [\n    500,\n    5\n  ]' in done.stdout
    for sent, message in ((bits[:-2000], b"-: the stream broke off: "), (b"1 2 3", b"standard input is not an Arrow")):
        done = run(sent)
        assert (done.returncode, done.stdout) == (1, b"")
        assert message in done.stderr
        assert done.stderr.count(b"\n") == 1


# --- what is refused


def ragged(kind):
    rows = [[1.0, 2.0, 3.0]] * 20
    rows[13] = [1.0, 2.0]
    return pa.table({"logits": pa.array(rows, kind), "labels": [0] * 20, "groups": [0] * 20})


def with_null():
    rows = [[1.0, 2.0, 3.0]] * 20
    rows[0], rows[13] = None, [1.0, None, 3.0]
    return pa.table({"logits": pa.array(rows, pa.list_(pa.float32(), 3)), "labels": [0] * 20, "groups": [0] * 20})


def without_group():
    return pa.table({"logits": [[1.0, 2.0]] * 20, "labels": [0] * 20, "groups": [0] * 9 + [None] * 11})


@pytest.mark.parametrize("write", [as_parquet, as_feather, as_stream])
@pytest.mark.parametrize(
    ("found", "message"),
    [
        (ragged(pa.list_(pa.float32())), r": logits: row 13 is ragged: a list of 2 values where others have 3$"),
        (ragged(pa.large_list(pa.float64())), r": logits: row 13 is ragged"),
        (with_null(), r": logits: row 13 has a null in it$"),
        (without_group(), r": groups has nothing for row 9$"),
        (pa.table({"logits": [["a"]], "labels": [0], "groups": [0]}), r"logits of dtype <U0"),
        (pa.table({"logits": [[0]], "labels": [0], "groups": [0]}), r"logits of dtype int64"),
        (pa.table({"a": [0.0], "b": [0]}), r"which of its arrays are the logits\? It has 'a', 'b'"),
    ],
)
def test_a_table_that_is_refused(write, found, message, tmp_path):
    for size in (1, 100, 1 << 20):
        with pytest.raises(Failure, match=message):
            file_cases.read(write(tmp_path, found), size)


@pytest.mark.parametrize("name", ["x.parquet", "x.feather", "x.arrow", "x.safetensors", "x.zarr"])
def test_a_file_that_is_something_else(name, tmp_path):
    with pytest.raises(OSError, match="No such file"):
        Dataset(Spec(tmp_path / name))
    (tmp_path / name).write_bytes(b"1 2 3 4 5 6 7 8 9\n" * 9)
    with pytest.raises(Failure, match=rf"{name}: not an? \w+") as failure:
        Dataset(Spec(tmp_path / name))
    assert "\n" not in str(failure.value)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(Failure, match=rf"{name}: not an? \w+"):
        Dataset(Spec(tmp_path / name))


@pytest.mark.parametrize(
    "write",
    [
        *(lambda folder, *arrays, w=w, c=c: w(folder, table(c, *arrays)) for w in (as_parquet, as_feather, as_stream)
          for c in (lists, fixed_size_lists)),
        lambda folder, *arrays: as_compressed_feather(folder, table(lists, *arrays)),
        as_safetensors,
        as_zarr,
    ],
)  # fmt: skip
def test_damage_is_one_line_or_harmless(write, tmp_path):
    """Bytes that are changed or missing: an error in one line, or other numbers, and never anything else."""
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(20, 7)).astype(np.float32), rng.integers(0, 7, 20), rng.integers(0, 3, 20)
    write(tmp_path, *arrays)
    [whole] = [path for path in tmp_path.iterdir() if path.name.startswith("a.")]
    parts = [path for path in whole.rglob("*") if path.is_file()] or [whole]
    refused = []
    for i in range(60):
        path = parts[i % len(parts)]
        content = path.read_bytes()
        damaged = bytearray(content[: rng.integers(len(content))] if i % 2 else content)
        for at in rng.integers(0, max(1, len(damaged)), 2 * (len(damaged) > 0)):
            damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            file_cases.read(Dataset(Spec(whole), extras=GROUPS), 100)
        except Failure as failure:
            refused.append(str(failure))
        path.write_bytes(content)
    assert len(refused) > 20
    assert not [message for message in refused if "\n" in message]
    np.testing.assert_array_equal(file_cases.read(Dataset(Spec(whole)))[0], arrays[0])


# --- memory


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
@pytest.mark.parametrize("name", ["x.parquet", "x.feather", "x.safetensors", "x.zarr"])
def test_resident_memory_does_not_grow_with_the_file(name, tmp_path):
    """700 MB, of which a Parquet file has one row group and a Feather file one record batch."""
    write = f"""
    import numpy as np, pyarrow as pa, pyarrow.feather as feather, pyarrow.parquet as parquet, safetensors.numpy, zarr
    rows, classes = 5_400, 32_768
    logits = np.zeros((rows, classes), np.float32)
    labels = np.zeros(rows, np.int64)
    column = pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), classes)
    found = pa.table({{"logits": column, "labels": labels}})
    if "{name}" == "x.parquet":
        parquet.write_table(found, "{name}", row_group_size=rows, use_dictionary=False, compression="none")
    elif "{name}" == "x.feather":
        feather.write_feather(found, "{name}", compression="uncompressed", chunksize=rows)
    elif "{name}" == "x.safetensors":
        safetensors.numpy.save_file({{"logits": logits, "labels": labels}}, "{name}")
    else:
        group = zarr.open_group("{name}", mode="w")
        group.create_array("labels", shape=labels.shape, dtype=labels.dtype, chunks=labels.shape)
        group.create_array("logits", shape=logits.shape, dtype=logits.dtype, chunks=(100, classes))[...] = logits
    """
    read = f"""
    import fastloss as fl
    from fastloss.files import Dataset, Spec, ahead
    rows = 0
    for block in ahead(Dataset(Spec("{name}")).blocks(64 << 20)):
        rows += len(block.logits)
        assert not block.logits.view("u4").any()
    assert rows == 5_400
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
    """
    for code in (write, read):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 600e6
