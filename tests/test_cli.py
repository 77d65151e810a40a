"""The command line: its figures, its one-line errors, what goes to which stream, and the exit status."""

import io
import json
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
from fastloss import cli, demo, report
from fastloss.ngram import ByteNGram

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fl.__file__).parents[1])}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write logits.npy and targets.npy, (50, 7), into the working directory; return the arrays."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    logits = (3 * rng.standard_normal((50, 7))).astype(np.float32)
    targets = rng.integers(0, 7, 50)
    targets[::9] = -100
    np.save("logits.npy", logits)
    np.save("targets.npy", targets)
    return logits, targets


@pytest.fixture
def plain(monkeypatch):
    """Make rich look uninstalled."""
    monkeypatch.setitem(sys.modules, "rich", None)


def program(*arguments, stdout=subprocess.PIPE):
    """Start Python with the arguments, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )


def evaluate(*options):
    return cli.main(["evaluate", "logits.npy", "targets.npy", *options])


def figures(capsys, *options):
    assert evaluate("--json", "-", *options) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return json.loads(output.out)


def computed(logits, targets, **settings):
    evaluation = fl.Evaluation(**settings)
    evaluation.update(logits, targets)
    return evaluation.compute()


def failure(capsys, status):
    """Return the one line that a failing command may say."""
    output = capsys.readouterr()
    assert status == 1
    assert output.out == ""
    assert re.fullmatch(r"fastloss: error: [^\n]+\n", output.err)
    return output.err


def test_evaluate_gives_the_figures_of_evaluation(files, capsys):
    found = figures(capsys)
    for name, value in computed(*files).items():
        assert found[name] == value
    assert (found["shape"], found["dtype"]) == ([50, 7], "float32")
    assert found["tokens_per_second"] > 0
    assert found["gigabytes_per_second"] > 0


@pytest.mark.parametrize("options", [["--block-size", "1"], ["--block-size", "100B"], ["--threads", "1"]])
def test_the_same_bits_from_any_blocks_and_threads(files, capsys, options):
    found = figures(capsys, *options)
    assert {name: found[name] for name in computed(*files)} == computed(*files)


def test_options_change_what_is_evaluated(files, capsys):
    logits, targets = files
    np.save("targets.npy", np.where(targets == -100, 3, targets))
    found = figures(capsys, "--ignore-index", "3", "--top-k", "2")
    expected = computed(logits, np.where(targets == -100, 3, targets), ignore_index=3, top_k=2)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_other_dtypes(files, capsys, dtype):
    logits, targets = files
    np.save("logits.npy", logits.astype(dtype))
    found = figures(capsys)
    assert found["loss"] == pytest.approx(computed(logits, targets)["loss"], rel=1e-3)


@pytest.mark.parametrize("stored", ["bfloat16", "uint16"])
def test_bfloat16_has_to_be_named(files, capsys, stored):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    logits, targets = files
    logits = logits.astype(ml_dtypes.bfloat16)
    np.save("logits.npy", logits.view(stored))
    message = failure(capsys, evaluate())
    assert stored == "uint16" or "--dtype bfloat16" in message
    assert figures(capsys, "--dtype", "bfloat16")["loss"] == computed(logits, targets)["loss"]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("size", ["1", "64M"])
def test_more_dimensions(files, capsys, order, size):
    logits, targets = files
    np.save("logits.npy", np.asarray(logits.reshape(5, 2, 5, 7), order=order))
    np.save("targets.npy", np.asarray(targets.reshape(5, 2, 5), order=order))
    assert figures(capsys, "--block-size", size)["loss"] == computed(logits, targets)["loss"]


def test_no_rows(files, capsys):
    np.save("logits.npy", np.zeros((0, 7), np.float32))
    np.save("targets.npy", np.zeros(0, np.int64))
    found = figures(capsys)
    assert (found["loss"], found["count"]) == (None, 0)
    assert evaluate() == 0


def test_json_is_strict_and_may_be_a_file(files, capsys):
    logits, _ = files
    np.save("logits.npy", np.where(np.arange(50)[:, None] == 1, np.nan, logits).astype(np.float32))
    assert evaluate("--json", "figures.json") == 0
    output = capsys.readouterr()
    assert "perplexity" in output.out
    assert "rows whose loss is infinite or NaN" in output.out
    with open("figures.json", encoding="utf-8") as file:
        found = json.load(file, parse_constant=pytest.fail)
    assert (found["loss"], found["nonfinite"]) == (None, 1)
    assert evaluate("--json", "nowhere/figures.json") == 1
    assert "nowhere" in capsys.readouterr().err


def test_table(files, capsys):
    assert evaluate() == 0
    with_rich = capsys.readouterr()
    assert with_rich.err == ""
    loss = computed(*files)["loss"]
    assert re.search(rf"loss +{loss:.4f} +nats per token", with_rich.out)
    assert re.search(r"top-5 accuracy +\d+\.\d\d %", with_rich.out)
    assert "\x1b" not in with_rich.out
    assert not re.search(r" $", with_rich.out, re.MULTILINE)


def test_numbers():
    assert report.fixed(1234.56789) == "1,234.5679"
    assert report.fixed(1.5e20) == "1.5000e+20"
    assert [report.fixed(value) for value in (float("nan"), float("inf"))] == ["nan", "inf"]
    numbers = [report.significant(value) for value in (0.0, 0.012345, 1.0, 123456.7, float("inf"))]
    assert numbers == ["0", "0.0123", "1.00", "123,457", "inf"]


def test_plain_table_has_the_same_rows(files, capsys, plain):
    assert evaluate() == 0
    output = capsys.readouterr().out
    assert re.search(rf"^  loss +{computed(*files)['loss']:.4f}  nats per token$", output, re.MULTILINE)
    assert not re.search(r" $", output, re.MULTILINE)


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)


def truncated(name):
    with open(name, "rb") as file:
        return file.read()[:-1]


BROKEN = {
    "missing": (lambda: os.remove("logits.npy"), "logits.npy: No such file"),
    "folder": (lambda: (os.remove("targets.npy"), os.mkdir("targets.npy")), "targets.npy: "),
    "empty": (lambda: write("logits.npy", b""), "logits.npy: not an array"),
    "text": (lambda: write("logits.npy", b"1.0 2.0 3.0\n" * 9), "logits.npy: not an array"),
    "header cut": (lambda: write("logits.npy", truncated("logits.npy")[:40]), "logits.npy: not an array"),
    "truncated": (lambda: write("logits.npy", truncated("logits.npy")), "logits.npy: truncated: 1,527 bytes"),
    "truncated targets": (lambda: write("targets.npy", truncated("targets.npy")), "targets.npy: truncated"),
    "archive": (lambda: write("logits.npy", b"PK\x03\x04" + bytes(99)), "logits.npy: a zip archive"),
    "objects": (lambda: np.save("logits.npy", np.array([[None]])), "logits.npy: not an array"),
    "integers": (lambda: np.save("logits.npy", np.zeros((50, 7), int)), "logits of dtype int64"),
    "complex": (lambda: np.save("logits.npy", np.zeros((50, 7), complex)), "logits of dtype complex128"),
    "one dimension": (lambda: np.save("logits.npy", np.zeros(7)), "logits of shape (7,)"),
    "no classes": (lambda: np.save("logits.npy", np.zeros((50, 0))), "logits of shape (50, 0)"),
    "float targets": (lambda: np.save("targets.npy", np.zeros(50)), "targets of dtype float64"),
    "shape": (
        lambda: np.save("targets.npy", np.zeros((50, 1), int)),
        "targets of shape (50, 1); ",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line(files, capsys, name):
    breaks, message = BROKEN[name]
    breaks()
    assert message in failure(capsys, evaluate())


@pytest.mark.parametrize("flip", range(0, 100, 3))
def test_a_damaged_header_is_one_line_or_harmless(files, capsys, flip):
    content = bytearray(truncated("logits.npy"))
    content[flip] ^= 0x15
    write("logits.npy", content)
    failure(capsys, evaluate())


def test_bfloat16_refuses_other_dtypes(files, capsys):
    assert "float32 is not bfloat16" in failure(capsys, evaluate("--dtype", "bfloat16"))


@pytest.mark.parametrize("size", ["1", "500", "64M"])
@pytest.mark.parametrize(("row", "label"), [(0, -1), (31, 7), (49, 1 << 40)])
def test_a_label_out_of_range_is_named(files, capsys, row, label, size):
    _, targets = files
    targets[row] = label
    np.save("targets.npy", targets)
    message = f"targets.npy: label {label} at row {row} is out of range for 7 classes"
    assert message in failure(capsys, evaluate("--block-size", size))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("size", ["1", "64M"])
def test_a_label_out_of_range_is_named_in_more_dimensions(files, capsys, order, size):
    logits, targets = files
    targets = targets.reshape(5, 2, 5).astype(np.uint8)
    targets[targets > 6] = 0
    targets[3, 1, 2] = 255
    np.save("logits.npy", np.asarray(logits.reshape(5, 2, 5, 7), order=order))
    np.save("targets.npy", np.asarray(targets, order=order))
    message = "targets.npy: label 255 at row 3, 1, 2 is out of range"
    assert message in failure(capsys, evaluate("--block-size", size))


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate"],
        ["evaluate", "logits.npy", "targets.npy", "--block-size", "0"],
        ["evaluate", "logits.npy", "targets.npy", "--block-size", "many"],
        ["evaluate", "logits.npy", "targets.npy", "--top-k", "0"],
        ["evaluate", "logits.npy", "targets.npy", "--threads", "none"],
        ["evaluate", "logits.npy", "targets.npy", "--dtype", "int8"],
        ["demo", "--bytes", "-5"],
        ["something"],
    ],
)
def test_wrong_usage_is_status_2(files, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"), [("17", 17), ("4k", 4096), ("64M", 1 << 26), ("2GiB", 1 << 31), ("3 MB", 3 << 20)]
)
def test_sizes(text, size):
    assert cli._size(text) == size


def test_help_version_and_info(capsys):
    assert cli.main([]) == 0
    assert "evaluate" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"fastloss {fl.__version__}\n"
    assert cli.main(["info"]) == 0
    info = capsys.readouterr().out
    fl.show_config()
    assert info == capsys.readouterr().out


def test_interrupt_and_memory(files, capsys, monkeypatch):
    def stop(error):
        def update(self, logits, labels):
            raise error

        monkeypatch.setattr(fl.Evaluation, "update", update)

    stop(KeyboardInterrupt())
    assert evaluate() == 130
    assert capsys.readouterr() == ("", "fastloss: interrupted\n")
    stop(MemoryError())
    assert "out of memory" in failure(capsys, evaluate())
    stop(TypeError("score: no"))
    assert "logits.npy: score: no" in failure(capsys, evaluate())


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("quiet", [True, False])
def test_progress_goes_to_a_terminal_unless_quiet(files, monkeypatch, request, rich, quiet):
    if rich:
        pytest.importorskip("rich")
    else:
        request.getfixturevalue("plain")
        clock = iter(range(10_000))
        monkeypatch.setattr(report.time, "monotonic", lambda: next(clock))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert evaluate("--block-size", "1", *["--quiet"] * quiet) == 0
    assert ("evaluating" in terminal.getvalue()) is not quiet


def test_no_color(files, monkeypatch):
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    assert evaluate() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", terminal.getvalue())


def test_the_commands_run_as_programs(files):
    command = ["-m", "fastloss", "evaluate", "logits.npy", "targets.npy"]
    with program(*command) as process:
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert "perplexity" in output
    os.remove("logits.npy")
    with program(*command) as process:
        output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert errors == "fastloss: error: logits.npy: No such file or directory\n"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
@pytest.mark.parametrize("arguments", [["info"], ["evaluate", "logits.npy", "targets.npy"]])
def test_a_closed_standard_output_is_no_traceback(files, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with program("-m", "fastloss", *arguments, stdout=writing) as process:
        os.close(writing)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (141, "")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_interrupting_the_program():
    code = (
        "import sys, time; from fastloss import cli, demo\n"
        "demo.run = lambda *args, **kwargs: print('started', flush=True) or time.sleep(60)\n"
        "sys.exit(cli.main(['demo']))"
    )
    with program("-c", code) as process:
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "fastloss: interrupted\n")


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Make a folder of small sources look like the standard library."""
    for i in range(40):
        lines = [f"def function_{i}_{j}(value):\n    return value + {i * j % 17}\n" for j in range(250)]
        (tmp_path / f"module_{i:02}.py").write_text("".join(lines))
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "left_out.py").write_text("LEFT OUT\n" * 1000)
    monkeypatch.setattr(demo.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(demo, "PART", 500)
    return tmp_path


def test_demo(library, capsys):
    assert cli.main(["demo", "--bytes", "70000", "--quiet"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    for name in ("bits per byte", "zlib -9", "lzma -9", "NumPy float64", "GB/s of logits", "peak memory"):
        assert name in output.out


def test_demo_figures(library, capsys):
    assert cli.main(["demo", "--bytes", "66000", "--json", "-"]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert output.err == ""
    assert found["count"] == found["held_out_bytes"] == 66_000
    assert 0.1 < found["bits_per_token"] < 4
    assert 0.1 < found["lzma_bits_per_byte"] < found["zlib_bits_per_byte"] < 4
    assert all(entry["difference"] < 1e-6 for entry in found["part"].values())


def test_demo_takes_what_text_there_is(library, capsys):
    assert cli.main(["demo", "--bytes", "1000000000", "--json", "-"]) == 0
    training, held_out = demo.corpus(library)
    assert json.loads(capsys.readouterr().out)["held_out_bytes"] == len(held_out)
    assert b"LEFT OUT" not in training + held_out


def test_demo_without_sources(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo.sysconfig, "get_path", lambda name: str(tmp_path / "python.zip"))
    assert "too few Python sources" in failure(capsys, cli.main(["demo"]))


def test_demo_notices_a_wrong_loss(library, monkeypatch, capsys):
    monkeypatch.setattr(demo, "_numpy_cross_entropy", lambda logits, labels: 1.0)
    assert "NumPy float32 gives 1.0" in failure(capsys, cli.main(["demo", "--bytes", "1000"]))


def test_the_language_model_is_the_formula():
    text, order = b"abracadabra, abracadabra; abba", 2
    model = ByteNGram(text, order)
    held_out = b"abrab?"
    logits = model.log_probs(model.contexts(held_out), np.empty((len(held_out), 256), np.float32))
    np.testing.assert_allclose(np.exp(logits.astype(np.float64)).sum(axis=1), 1.0, rtol=1e-6)

    def prob(context, byte):
        lower = prob(context[1:], byte) if context else 1 / 256
        padded = bytes(order) + text
        followers = [padded[i] for i in range(order, len(padded)) if padded[i - len(context) : i] == context]
        distinct = len(set(followers))
        if not followers:
            return lower
        return (followers.count(byte) + distinct * lower) / (len(followers) + distinct)

    padded = bytes(order) + held_out
    for i in range(len(held_out)):
        for byte in b"abr,?":
            expected = np.log(prob(padded[i : i + order], byte))
            assert logits[i, byte] == pytest.approx(expected, rel=1e-5)
