"""The command line as a user meets it: real processes, exit statuses and messages."""

import json
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

COMMAND = str(Path(sysconfig.get_path("scripts")) / "twolayer")


def twolayer(*arguments, timeout=120):
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )


def test_help_and_version_answer_without_jax():
    """``--help``, ``--version``, ``list`` and ``certify`` never import JAX or NumPy."""
    for arguments in (["--help"], ["--version"], ["list"], ["certify", "z1"]):
        program = (
            "import sys; sys.argv = ['twolayer', *sys.argv[1:]]\n"
            "from twolayer.cli import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "assert 'jax' not in sys.modules"
        )
        run = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, check=False
        )
        assert run.returncode == 0, run.stderr


def test_the_module_is_the_command():
    """``python -m twolayer`` answers as ``twolayer`` does."""
    run = subprocess.run(
        [sys.executable, "-m", "twolayer", "list", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, twolayer("list", "--json").stdout)


def test_certify_prints_one_json_object():
    """``certify --json`` prints the staircase's certificate with every promised key."""
    run = twolayer("certify", "z1 + z1*z2 + z1*z2*z3", "--activation", "cos_sin", "--json")
    assert run.returncode == 0
    certificate = json.loads(run.stdout)
    assert certificate["verdict"] == "learnable"
    assert certificate["chain_dims"] == [0, 1, 2, 3]
    assert certificate["reflective_dim"] == 0
    assert certificate["initial_loss"] == {"exact": "3/2", "value": 1.5}
    assert certificate["assumption_4_1"] == {"holds": True, "order": 4, "orders": [1, 2, 4]}
    assert certificate["leap"] == certificate["isotropic_leap"] == 1
    assert certificate["activation"] == "cos_sin"
    for name in ("loss_floor", "activation_loss_floor", "expressivity_floor"):
        assert certificate[name]["value"] == 0
    assert {"name", "holds", "reference"} <= set(certificate["statements"][0])


def test_certify_prints_a_table_for_people():
    """Without ``--json`` the verdict and its reason can be read."""
    run = twolayer("certify", "z1 + z1*z2", "--activation", "tanh")
    assert run.returncode == 0
    assert "not learnable" in run.stdout
    assert "Theorem 3.4" in run.stdout


def test_certify_takes_a_leading_minus_and_huge_coefficients():
    """``-z1`` is a polynomial, not an option; a loss beyond the floats is null in JSON."""
    run = twolayer("certify", "-z1*z2", "-a", "tanh")
    assert run.returncode == 0
    assert "not learnable" in run.stdout
    run = twolayer("certify", "-1e300*z1^30", "--json")
    certificate = json.loads(run.stdout, parse_constant=pytest.fail)
    assert certificate["initial_loss"]["value"] is None
    run = twolayer("certify", "-1e300*z1^30")
    assert run.returncode == 0
    assert "above 1e308" in run.stdout


BAD_POLYNOMIALS = [
    "", " ", "__import__('os')", "(z1", "z1)", "z0", "z1/z2", "1/0", "z1^z2", "z1^999999999",
    "9^9^9^9^9", "(z1+z2+z3+z4)^500", "y1", "z1 z2", "2z1", "z999999999999", "He3", "He(z1)", "+",
    "z1 + \u00b2", "z1;z2", "(" * 5000, "z1" + "+z1" * 34000, "1e999999999",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_POLYNOMIALS, ids=lambda text: repr(text[:24]))
def test_bad_polynomials_are_one_sentence_with_the_place(text):
    """A text that is no polynomial ends within a second with status 2 and no traceback."""
    start = time.perf_counter()
    run = twolayer("certify", "--", text)
    assert time.perf_counter() - start < 3  # a second, with room for a busy machine
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    assert run.stderr.startswith("Error: ")
    assert "^" in run.stderr or len(text) > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["certify", "z1", "--activation", "thanh"], "tanh"),
        (["certify", "z1", "--activation", "__import__('os')"], "activation"),
        (["certify", "z1", "--activation", ""], "activation"),
        (["certify", "z1", "--activation", "1e300*1e300"], "1e308"),
        (["run", "mean-field-flo"], "mean-field-flow"),
        (["run", "mean-field-flow", "--dims", "many"], "many"),
        (["run", "mean-field-flow", "--target", "z1 +"], "^"),
        (["run", "mean-field-flow", "--activation", "reluu"], "relu"),
        (["run", "mean-field-flow", "--seeds", "0"], "seeds"),
        (["run", "mean-field-flow", "--horizon", "-1"], "horizon"),
        (["run", "mean-field-flow", "--horizon", "nan"], "horizon"),
        (["run", "mean-field-flow", "--step", "1e6"], "steps"),
        (["run", "mean-field-flow", "--target", "z1*z2*z3", "--dims", "2,4"], "dimensions"),
        (["reproduce", "subspace-sparse"], "subspace_sparse"),
        (["reproduce", "teacher-student"], "teacher_student"),
        (["run", "decision-table", "--out", __file__], "--out"),
        (["reproduce", "--out", __file__], "--out"),
        (["reproduce", "--quick", "--full"], "--full"),
        (["run", "loss-floors", "--seed", "-1"], "seed"),
        (["run", "loss-floors", "--cases", "z1*z2*z3 | tanh", "--dim", "2"], "dim"),
        (["run", "escape-times", "--share", "2"], "share"),
        (["run", "decision-table", "--targets", "1e200*z1"], "scale"),
        (["cite", "nothing"], "nothing"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, message):
    """Wrong names and values end with status 2, a hint, and no traceback."""
    run = twolayer(*arguments)
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_interrupt_ends_a_run_with_status_130(tmp_path):
    """Ctrl-C ends the whole experiment, not one of its simulations, and leaves no traceback."""
    arguments = ["run", "mean-field-flow", "--dims", "32,512", "--out", str(tmp_path)]
    # The tests may themselves run in the background, where shells have interrupts ignored.
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from twolayer.cli import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        time.sleep(6)
        run.send_signal(signal.SIGINT)
        message = run.communicate(timeout=30)[1]
    assert run.returncode == 130
    assert "Traceback" not in message
    assert "Interrupted" in message


@pytest.mark.slow
def test_the_last_step_may_lie_beyond_the_horizon(tmp_path):
    """Steps that do not divide the horizon are compared at the time they end at; JSON is clean."""
    sizes = ["--dims", "2,4", "--seeds", "2", "--horizon", "1", "--step", "1.2"]
    run = twolayer("run", "mean-field-flow", *sizes, "--out", str(tmp_path), "--json")
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout, parse_constant=pytest.fail)
    assert result["trajectories"][0]["time"][-1] > 1.1
    assert json.loads((tmp_path / "mean-field-flow.json").read_text())["findings"]


def test_a_reader_may_stop_early():
    """A closed pipe ends the command without a message."""
    with subprocess.Popen(
        [COMMAND, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        run.stdout.close()
        assert run.stderr.read() == ""
    assert run.returncode == -signal.SIGPIPE


def test_cite_prints_bibtex():
    """``cite`` prints the entries of what an experiment rests on, and only those."""
    run = twolayer("cite", "mean-field-flow")
    assert run.returncode == 0
    assert "chen2024subspace" in run.stdout
    assert "abbe2022merged" not in run.stdout
