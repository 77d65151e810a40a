"""The commands that keep something: states to merge and go on with, losses of every row, comparisons, files written."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastloss as fl
from fastloss import cli
from fastloss.commands import evaluate, output

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fl.__file__).parents[1])}
SPEED = {"seconds", "tokens_per_second", "gigabytes_per_second"}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write logits.npy, (40, 6, 7), and what belongs to it into the working directory; return the arrays."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {
        "logits": (3 * rng.standard_normal((40, 6, 7))).astype(np.float32),
        "targets": rng.integers(0, 7, (40, 6)),
        "groups": np.array(["code", "prose", "a | $b$ <c>"])[rng.integers(0, 3, 40)],
        "sequences": np.repeat(np.arange(20), 2),
        "bytes": rng.integers(1, 9, (40, 6)),
    }
    arrays["targets"][::9, 1] = -100
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    return arrays


def run(*arguments):
    return cli.main([str(each) for each in arguments])


def figures(capsys, *arguments):
    assert run(*arguments, "--json", "-") == 0
    read = capsys.readouterr()
    assert read.err == ""
    return json.loads(read.out)


def refused(capsys, *arguments):
    assert run(*arguments) == 1
    read = capsys.readouterr()
    assert re.fullmatch(r"fastloss: error: [^\n]+\n", read.err)
    return read.err


def lasting(found):
    return {name: value for name, value in found.items() if name not in SPEED}


EVALUATE = ("evaluate", "logits.npy", "targets.npy")
EVERYTHING = (
    *("--groups", "groups.npy", "--sequences", "sequences.npy", "--bytes", "bytes.npy"),
    *("--top-k", "1,3", "--ranks", "--worst", "4", "--calibration", "5", "--brier"),
)


@pytest.mark.parametrize("size", ["1", "1000", "64M"])
def test_every_option_is_that_of_evaluation(files, capsys, size):
    found = figures(capsys, *EVALUATE, *EVERYTHING, "--block-size", size)
    evaluation = fl.Evaluation(
        top_k=(1, 3), standard_error=True, ranks=True, bytes=True, sequences=True, calibration=5, brier=True,
        worst=4, groups=True,
    )  # fmt: skip
    logits, targets = files["logits"], files["targets"]
    given = {name: files[name] for name in ("groups", "sequences", "bytes")}
    evaluation.update(logits, targets, **given)
    expected = evaluation.compute()
    for row in expected["worst"]:
        row["file"], row["row"] = "logits.npy", "{}, {}".format(*divmod(row["position"], 6))
    assert {name: found[name] for name in expected} == json.loads(json.dumps(expected))


def test_binary_and_regression(files, capsys):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 3)).astype(np.float32), rng.integers(0, 2, (50, 3))
    np.save("x.npy", x)
    np.save("y.npy", y)
    np.save("z.npy", rng.normal(size=(50, 3)))
    for task, labels, options, settings in (
        ("binary", "y.npy", ("--calibration", "4", "--brier"), {"calibration": 4, "brier": True}),
        ("regression", "y.npy", (), {}),
        ("regression", "z.npy", ("--quantiles", "0.5,0.9"), {"quantiles": (0.5, 0.9)}),
    ):
        found = figures(capsys, "evaluate", "x.npy", labels, "--task", task, *options, "--block-size", "100")
        evaluation = fl.Evaluation(task=task, standard_error=True, **settings)
        evaluation.update(x, np.load(labels))
        expected = evaluation.compute()
        assert {name: found[name] for name in expected} == expected
        assert run("evaluate", "x.npy", labels, "--task", task, *options) == 0
        assert "standard error" in capsys.readouterr().out
    assert "ranks is no option of task 'binary'" in refused(
        capsys, "evaluate", "x.npy", "y.npy", "--task", "binary", "--ranks"
    )
    y[7, 2] = 5
    np.save("y.npy", y)
    message = "y.npy: label 5 at row 7, 2 is out of range for 2 classes"
    assert message in refused(capsys, "evaluate", "x.npy", "y.npy", "--task", "binary", "--block-size", "100")


def test_a_label_out_of_range_in_a_shard(files, capsys):
    targets = files["targets"]
    targets[33, 5] = 9
    for i in range(4):
        np.save(f"x-{i}.npy", files["logits"][10 * i : 10 * i + 10])
        np.save(f"t-{i}.npy", targets[10 * i : 10 * i + 10])
    message = "t-3.npy: label 9 at row 3, 5 is out of range for 7 classes"
    assert message in refused(capsys, "evaluate", "x-*.npy", "t-*.npy", "--block-size", "100")


# --- states


def test_states_of_shards_merge_to_the_same_bits(files, capsys):
    whole = figures(capsys, *EVALUATE, *EVERYTHING)
    extras = ("groups", "sequences", "bytes")
    for i, rows in enumerate((slice(0, 7), slice(7, 8), slice(8, 40))):
        for name in ("logits", "targets", *extras):
            np.save(f"{name}-{i}.npy", files[name][rows])
        beside = [part for name in extras for part in (f"--{name}", f"{name}-{i}.npy")]
        options = [*EVERYTHING[6:], "--first-row", 6 * rows.start, "--state", f"{i}.json", "--quiet"]
        assert run("evaluate", f"logits-{i}.npy", f"targets-{i}.npy", *beside, *options) == 0
    capsys.readouterr()
    merged = figures(capsys, "merge", "2.json", "0.json", "1.json", "--state", "all.json")
    for row in whole["worst"]:
        del row["file"], row["row"]
    assert "perplexity" in merged
    for name in set(merged) & set(whole):
        assert merged[name] == whole[name]
    again = figures(capsys, "merge", "all.json")
    assert {**again, "states": None} == {**merged, "states": None}
    assert "0.json: has logits-0.npy in it, which all.json has too" in refused(capsys, "merge", "all.json", "0.json")
    assert run(*EVALUATE, "--state", "other.json", "--quiet") == 0
    capsys.readouterr()
    assert "other.json: Evaluation: cannot merge top_k" in refused(capsys, "merge", "all.json", "other.json")


class Stop(Exception):
    """An end in the middle, as of a process that is killed."""


def stopped(monkeypatch, after, number=signal.SIGINT):
    """Have a signal arrive in the middle of the update after so many."""
    update, seen = fl.Evaluation.update, []

    def stop(self, *arguments, **options):
        if len(seen) == after:
            os.kill(os.getpid(), number)
        seen.append(1)
        update(self, *arguments, **options)

    monkeypatch.setattr(fl.Evaluation, "update", stop)
    return lambda: monkeypatch.setattr(fl.Evaluation, "update", update)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_interrupted_goes_on_to_the_same_bits(files, capsys, monkeypatch, number, status):
    options = (*EVERYTHING, "--per-token", "losses.npy", "--quiet")
    whole = figures(capsys, *EVALUATE, *options)
    losses = Path("losses.npy").read_bytes()
    os.remove("losses.npy")
    for after in (0, 3, 11):
        go_on = stopped(monkeypatch, after, number)
        state = "--resume" if os.path.exists("state.json") else "--state"
        assert run(*EVALUATE, *options, "--block-size", "336", state, "state.json") == status
        go_on()
        rows = {0: 12, 3: 60, 11: 204}[after]
        message = f"fastloss: interrupted after {rows} of 240 rows; --resume state.json goes on\n"
        assert capsys.readouterr() == ("", message)
        assert json.loads(Path("state.json").read_text())["rows"] == rows
        assert not os.path.exists("losses.npy")
        assert "interrupted after" in refused(capsys, "merge", "state.json")
    found = figures(capsys, *EVALUATE, *options, "--resume", "state.json", "--block-size", "1000")
    assert lasting(found) == lasting(whole)
    assert Path("losses.npy").read_bytes() == losses
    assert not os.path.exists("losses.npy.partial")
    assert "the run is complete" in refused(capsys, *EVALUATE, *options, "--resume", "state.json")
    merged = figures(capsys, "merge", "state.json")
    assert merged["loss"] == whole["loss"]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_an_interruption_without_a_state_leaves_nothing(files, capsys, monkeypatch):
    stopped(monkeypatch, 1)
    before = set(os.listdir())
    assert run(*EVALUATE, "--block-size", "100", "--per-token", "losses.npy") == 130
    assert capsys.readouterr() == ("", "fastloss: interrupted\n")
    assert set(os.listdir()) == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_states_are_written_on_the_way(files, capsys, monkeypatch):
    """A process that is killed leaves the last of them; its losses go on there."""
    monkeypatch.setattr(evaluate, "CHECKPOINT", 0.0)
    update, seen = fl.Evaluation.update, []

    def end(self, *arguments, **options):
        seen.append(1)
        if len(seen) == 6:
            raise Stop
        update(self, *arguments, **options)

    options = ("--per-token", "losses.npy", "--quiet", "--block-size", "336")
    whole = figures(capsys, *EVALUATE, "--per-token", "losses.npy")
    losses = np.load("losses.npy")
    monkeypatch.setattr(fl.Evaluation, "update", end)
    with pytest.raises(Stop):
        run(*EVALUATE, *options, "--state", "state.json")
    monkeypatch.setattr(fl.Evaluation, "update", update)
    assert json.loads(Path("state.json").read_text())["rows"] == 60
    with open("losses.npy.partial", "ab") as file:
        file.write(b"what was written after the state")
    found = figures(capsys, *EVALUATE, *options, "--resume", "state.json")
    assert lasting(found) == lasting(whole)
    np.testing.assert_array_equal(np.load("losses.npy"), losses)


def interrupted(monkeypatch, capsys, *options):
    go_on = stopped(monkeypatch, 3)
    assert run(*EVALUATE, *options, "--block-size", "336", "--state", "state.json") == 130
    go_on()
    capsys.readouterr()


def damaged(change):
    def write():
        entries = json.loads(Path("state.json").read_text())
        change(entries)
        Path("state.json").write_text(json.dumps(entries))

    return write


NOT_GONE_ON_WITH = {
    "logits changed": (lambda: os.utime("logits.npy", (1, 1)), (), "logits.npy: has changed since state.json"),
    "targets longer": (lambda: os.truncate("targets.npy", 3000), (), "targets.npy: has changed since"),
    "other file": (lambda: os.rename("targets.npy", "t.npy"), ("t.npy",), "did not read t.npy, but logits.npy, tar"),
    "other option": (None, ("--top-k", "2"), "state.json: Evaluation: cannot merge top_k=5 into top_k=2"),
    "other reading": (None, ("--first-row", "7"), "state.json: the run had another first_row"),
    "no losses": (None, ("--per-token", "l.npy"), "l.npy.partial: not written: No such file"),
    "nothing": (lambda: os.remove("state.json"), (), "state.json: No such file or directory"),
    "not JSON": (lambda: Path("state.json").write_text("{"), (), "state.json: not JSON: "),
    "other JSON": (lambda: Path("state.json").write_text("[1]"), (), "state.json: not a state"),
    "version": (damaged(lambda all: all.update(version=99)), (), "state.json: a state of version 99"),
    "rows": (damaged(lambda all: all.update(rows="9")), (), "state.json: a damaged state: its 'rows' is '9'"),
    "evaluation": (
        damaged(lambda all: all["evaluation"].pop("parts")),
        (),
        "state.json: Evaluation state: the state has",
    ),
}


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("name", NOT_GONE_ON_WITH)
def test_what_is_not_gone_on_with(files, capsys, monkeypatch, name):
    change, options, message = NOT_GONE_ON_WITH[name]
    interrupted(monkeypatch, capsys)
    if change:
        change()
    before = Path("state.json").read_bytes() if name != "nothing" else None
    command = ("evaluate", "logits.npy", options[0]) if name == "other file" else (*EVALUATE, *options)
    assert message in refused(capsys, *command, "--resume", "state.json")
    assert before is None or Path("state.json").read_bytes() == before


def test_interrupting_a_process(files):
    """A signal while it waits for standard input, of which there is none: it ends at once."""
    pytest.importorskip("pyarrow")
    command = [sys.executable, "-m", "fastloss", "evaluate", "-", "--state", "state.json"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().startswith("fastloss: interrupted")
    assert process.returncode == 130


# --- files written


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_losses_of_every_row(files, capsys, dtype):
    logits, targets = files["logits"].astype(dtype), files["targets"]
    np.save("logits.npy", logits)
    assert run(*EVALUATE, "--per-token", "losses.npy", "--block-size", "500", "--json", "figures.json", "--quiet") == 0
    losses = np.load("losses.npy")
    expected = fl.cross_entropy(logits, np.where(targets < 0, 0, targets), reduction="none")
    assert losses.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_array_equal(np.isnan(losses), targets == -100)
    np.testing.assert_allclose(losses[targets >= 0], expected[targets >= 0], rtol=1e-6, atol=1e-6)
    assert json.loads(Path("figures.json").read_text())["per_token"] == os.path.abspath("losses.npy")


def test_markdown(files, capsys):
    assert run(*EVALUATE, "--groups", "groups.npy", "--markdown", "-", "--quiet") == 0
    text = capsys.readouterr().out
    assert text.startswith("### logits.npy: 40 x 6 x 7 float32\n\n| | | |\n|---|--:|---|\n| loss | ")
    assert "group a \\| $b$ \\<c\\>" in text
    assert all(re.fullmatch(r"(\|([^|\\]|\\.)*){3}\|", line) for line in text.splitlines() if line.startswith("|"))


def full(*options, size=None):
    """Run in a process whose files may not be larger."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n" if size else ""
    code = f"{limit}import sys; from fastloss import cli; sys.exit(cli.main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *EVALUATE, *options], capture_output=True, text=True, env=ENVIRONMENT, timeout=60
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["--json", "--markdown", "--state"])
def test_a_full_device_is_one_line(files, option):
    done = full(option, "/dev/full")
    assert (done.returncode, done.stderr) == (1, "fastloss: error: /dev/full: not written: No space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource")
@pytest.mark.parametrize("option", ["--state", "--json", "--per-token"])
def test_a_full_disk_keeps_the_old_file(files, option):
    Path("kept").write_text("what was there")
    before = set(os.listdir())
    done = full(option, "kept", size=300)
    assert done.returncode == 1
    assert re.fullmatch(r"fastloss: error: kept(\.partial)?: not written: File too large\n", done.stderr)
    assert Path("kept").read_text() == "what was there"
    assert set(os.listdir()) == before


def test_a_file_is_replaced_in_one_step(tmp_path, monkeypatch):
    """Also behind a link, with the permissions that files have; and a write that breaks off leaves the old one."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("old")
    os.symlink("file", "link")
    output.write("link", "new")
    assert (Path("file").read_text(), os.path.islink("link")) == ("new", True)
    output.write("other", b"new")
    assert os.stat("other").st_mode == os.stat("file").st_mode

    def breaks(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", breaks)
    with pytest.raises(KeyboardInterrupt):
        output.write("link", "newer")
    assert Path("file").read_text() == "new"
    assert sorted(os.listdir()) == ["file", "link", "other"]


@pytest.mark.parametrize("option", ["--json", "--markdown", "--state", "--per-token", "--html"])
def test_where_nothing_can_be_written_is_said_first(files, capsys, monkeypatch, option):
    monkeypatch.setattr(fl.Evaluation, "update", lambda *_, **__: pytest.fail("too late"))
    assert "nowhere/x: there is no folder " in refused(capsys, *EVALUATE, option, "nowhere/x")
    assert ".: is a folder" in refused(capsys, *EVALUATE, option, ".")


def test_one_thing_goes_to_standard_output(files, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*EVALUATE, "--json", "-", "--markdown", "-")
    assert stop.value.code == 2
    capsys.readouterr()
    for option in ("--state", "--per-token", "--html"):
        assert "only --json and --markdown can go to standard output" in refused(capsys, *EVALUATE, option, "-")


def test_pictures_need_matplotlib(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(fl.Evaluation, "update", lambda *_, **__: pytest.fail("too late"))
    for option in (("--plot", "x.png"), ("--html", "x.html")):
        assert "pictures need matplotlib: pip install 'fastloss[plot]'" in refused(capsys, *EVALUATE, *option)


# --- comparisons


@pytest.fixture
def two(files, capsys):
    """Evaluate two models of the same rows: a and b, their losses, figures and states."""
    rng = np.random.default_rng(5)
    np.save("better.npy", files["logits"] + 2 * np.eye(7)[np.maximum(files["targets"], 0)] * rng.random((40, 6, 1)))
    np.save("a.npy", files["logits"].astype(np.float64))
    for name, logits in (("a", "a.npy"), ("b", "better.npy")):
        options = ("--per-token", f"{name}.losses.npy", "--json", f"{name}.json", "--state", f"{name}.state", "--quiet")
        assert run("evaluate", logits, "targets.npy", *options) == 0
    capsys.readouterr()
    return [np.load(f"{name}.losses.npy") for name in "ab"]


def test_compare_row_by_row(two, capsys):
    a, b = two
    differences = (b - a)[~np.isnan(a)]
    found = figures(capsys, "compare", "a.losses.npy", "b.losses.npy")
    assert found["difference"] == pytest.approx(differences.mean(), rel=1e-13)
    independent = differences.std(ddof=1) / math.sqrt(differences.size)
    assert found["rows_standard_error"] == pytest.approx(independent, rel=1e-12)
    residual = np.where(np.isnan(a), 0, b - a - differences.mean()).sum(axis=1)
    robust = math.sqrt(40 / 39 * (residual**2).sum()) / differences.size
    assert found["standard_error"] == pytest.approx(robust, rel=1e-12)
    assert (found["better_b"], found["better_a"]) == ((differences < 0).sum(), (differences > 0).sum())
    assert (found["count"], found["left_out"], found["not_finite"]) == (differences.size, np.isnan(a).sum(), 0)
    assert found["low"] < found["difference"] < found["high"] < 0
    assert found["perplexity_ratio"] == pytest.approx(math.exp(differences.mean()))
    by_figures = figures(capsys, "compare", "a.json", "b.json")
    assert {**by_figures, "a": 0, "b": 0} == {**found, "a": 0, "b": 0}
    flat = [np.save(f"{name}.npy", losses.reshape(-1)) or f"{name}.npy" for name, losses in zip("cd", two, strict=True)]
    flat = figures(capsys, "compare", *flat)
    assert flat["standard_error"] == found["rows_standard_error"]
    assert run("compare", "a.json", "b.json") == 0
    assert "of sequences paired with each other" in capsys.readouterr().out


def test_compare_means(two, capsys):
    a, b = (each[~np.isnan(each)] for each in two)
    expected = math.hypot(*(each.std(ddof=1) / math.sqrt(each.size) for each in (a, b)))
    for sides in (("a.state", "b.state"), ("a.json", "b.json", "--unpaired"), ("a.losses.npy", "b.state")):
        found = figures(capsys, "compare", *sides)
        assert not found["paired"]
        assert found["difference"] == pytest.approx(b.mean() - a.mean(), rel=1e-9)
        assert found["standard_error"] == pytest.approx(expected, rel=1e-9)
    assert run("compare", "a.state", "b.state") == 0
    assert "of two unrelated samples" in capsys.readouterr().out


def test_the_same_is_no_difference(two, capsys):
    found = figures(capsys, "compare", "a.json", "a.json")
    assert (found["difference"], found["standard_error"], found["p_value"]) == (0, 0, 1)


def test_rows_that_one_lacks_are_counted(two, capsys):
    _, b = two
    b[3, 0], b[4, 0] = np.inf, np.nan
    np.save("b.losses.npy", b)
    found = figures(capsys, "compare", "a.losses.npy", "b.losses.npy")
    assert found["not_finite"] == 2
    assert found["count"] == b.size - 2 - found["left_out"]
    assert math.isfinite(found["difference"])


def test_what_cannot_be_compared(two, capsys):
    a, _ = two
    np.save("short.npy", a[:-1])
    np.save("whole.npy", np.zeros(a.shape, int))
    Path("none.json").write_text('{"loss": null}')
    Path("list.json").write_text("[]")
    Path("text").write_text("loss 3")
    for sides, message in {
        ("a.losses.npy", "short.npy"): "short.npy: losses of shape (39, 6); a.losses.npy has (40, 6)",
        ("whole.npy", "short.npy"): "whole.npy: not losses",
        ("none.json", "a.json"): "none.json: has no finite 'loss' with its 'standard_error' and 'count'",
        ("list.json", "a.json"): "list.json: neither figures nor a state",
        ("a.json", "text"): "text: neither .npy nor JSON",
        ("a.json", "nothing"): "nothing: No such file",
    }.items():
        assert message in refused(capsys, "compare", *sides)
    os.remove("a.losses.npy")
    assert "a.json: the losses it was written with, " in refused(capsys, "compare", "a.json", "b.json")
