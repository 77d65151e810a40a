"""fl.evaluate over what torch, HF datasets and Arrow yield: the bits of one evaluation of plain arrays."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import peer

import fastloss as fl

ROWS, CLASSES = 50, 6
RNG = np.random.default_rng(0)
LOGITS = (3 * RNG.standard_normal((ROWS, CLASSES))).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, ROWS)
MISSING = [3, 17, 44]


def whole(labels=LABELS, **options):
    made = fl.Evaluation(**options)
    made.update(LOGITS, labels)
    return made.to_dict()


@pytest.mark.parametrize("workers", [0, 1])
def test_torch_data_loader(workers):
    data = peer("torch.utils.data")
    torch = peer("torch")
    pairs = data.TensorDataset(torch.from_numpy(LOGITS), torch.from_numpy(LABELS))
    loader = data.DataLoader(pairs, batch_size=8, num_workers=workers)
    assert fl.evaluate(loader).to_dict() == whole()

    class Named(data.Dataset):
        def __len__(self):
            return ROWS

        def __getitem__(self, i):
            return {"logits": torch.from_numpy(LOGITS[i]).bfloat16(), "target": LABELS[i]}

    loader = data.DataLoader(Named(), batch_size=8, num_workers=workers)
    found = fl.evaluate(loader, columns={"labels": "target"})
    rounded = torch.from_numpy(LOGITS).bfloat16().float().numpy()
    wanted = fl.Evaluation()
    wanted.update(rounded, LABELS)
    assert found.to_dict() == wanted.to_dict()


@pytest.mark.parametrize("form", ["numpy", "torch", "arrow", None])
def test_hugging_face_datasets(form):
    datasets = peer("datasets")
    features = datasets.Features(
        {
            "logits": datasets.Sequence(datasets.Value("float32"), length=CLASSES),
            "labels": datasets.Value("int64"),
        }
    )
    rows = datasets.Dataset.from_dict({"logits": LOGITS.tolist(), "labels": LABELS.tolist()}, features=features)
    rows = rows.with_format(form)
    if form is None:  # plain lists are float64
        assert fl.evaluate(rows).compute()["loss"] == pytest.approx(whole_loss(), rel=1e-6)
    else:
        assert fl.evaluate(rows).to_dict() == whole()
        assert fl.evaluate(rows.to_iterable_dataset()).to_dict() == whole()


def whole_loss():
    return fl.Evaluation.from_dict(whole()).compute()["loss"]


class TestArrow:
    pa = property(lambda self: peer("pyarrow"))

    def columns(self, fixed, missing=()):
        pa = self.pa
        kept = np.ones(ROWS, bool)
        kept[list(missing)] = False
        lists = [row.tolist() if keep else None for row, keep in zip(LOGITS, kept, strict=True)]
        type_ = pa.list_(pa.float32(), CLASSES if fixed else -1)
        return {"logits": pa.array(lists, type_), "labels": pa.array(LABELS)}

    @pytest.mark.parametrize("fixed", [True, False])
    def test_record_batches_and_tables(self, fixed):
        table = self.pa.table(self.columns(fixed))
        assert fl.evaluate(table.to_batches(max_chunksize=7)).to_dict() == whole()
        assert fl.evaluate(table.to_reader(max_chunksize=7)).to_dict() == whole()
        assert fl.evaluate([table[:20], table[20:]]).to_dict() == whole()

    @pytest.mark.parametrize("fixed", [True, False])
    def test_missing_rows_are_ignored(self, fixed):
        ignored = LABELS.copy()
        ignored[MISSING] = -100
        table = self.pa.table(self.columns(fixed, MISSING))
        assert fl.evaluate([table]).to_dict() == whole(ignored)
        labels = self.pa.array(LABELS, mask=np.isin(np.arange(ROWS), MISSING))
        table = self.pa.table(self.columns(fixed)).set_column(1, "labels", labels)
        assert fl.evaluate([table]).to_dict() == whole(ignored)

    def test_missing_targets_of_regression_are_not_finite(self):
        values = self.pa.array([0.5, 1.0, None])
        batch = self.pa.record_batch({"logits": self.pa.array([1.0, 2.0, 3.0]), "labels": values})
        found = fl.evaluate([batch], task="regression")
        assert (found.compute()["count"], found.compute()["nonfinite"]) == (3, 1)
        assert found.compute(finite=True)["mae"] == 0.75

    def test_groups_of_texts(self):
        names = np.array(["a", "b"])[LABELS % 2]
        table = self.pa.table({**self.columns(True), "groups": self.pa.array(names)})
        made = fl.Evaluation(groups=True)
        made.update(LOGITS, LABELS, groups=names)
        assert fl.evaluate(table.to_batches(max_chunksize=9), groups=True).to_dict() == made.to_dict()

    def test_ragged_rows_and_other_columns_are_named(self):
        pa = self.pa
        ragged = pa.record_batch({"logits": pa.array([[1.0, 2.0], [1.0]]), "labels": pa.array([0, 0])})
        with pytest.raises(ValueError, match="column 'logits' of batch 0: row 1 is ragged"):
            fl.evaluate([ragged])
        with pytest.raises(ValueError, match="batch 0 has no 'logits', but 'x', 'labels'"):
            fl.evaluate([ragged.rename_columns(["x", "labels"])])
        structs = pa.record_batch({"logits": pa.array([{"a": 1}]), "labels": pa.array([0])})
        with pytest.raises(TypeError, match="column 'logits' of batch 0 is struct"):
            fl.evaluate([structs])
