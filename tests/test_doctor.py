"""Laws of `tinygrad-nn doctor`: what it sees, what it misses, and what it may advise."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from tinygrad_nn.cli import main
from tinygrad_nn.cli.doctor import advice, examination, machine, programs, rates
from tinygrad_nn.cli.doctor.findings import Deadline, Finding, Section, answer, look
from tinygrad_nn.cli.doctor.forced import MEANINGS, findings, forced
from tinygrad_nn.cli.doctor.page import as_json, as_text
from tinygrad_nn.cli.doctor.trials import (
    AS_IT_IS,
    MALLOC,
    TOUCHED,
    Machine,
    Process,
    Race,
    Trial,
    race,
    trials,
)

HERE = Machine(blas="openblas", threads=4, cores=4, quota=None, glibc=False)
ALONE = Machine(blas="openblas", threads=1, cores=1, quota=None, glibc=False)
ONE = "export OPENBLAS_NUM_THREADS=1"
TRIAL = Trial({"OPENBLAS_CORETYPE": None}, ("products",))
PLENTY = 60.0


def texts(items):
    return {item.name: item.text for item in items}


def values(items):
    return {item.name: item.value for item in items}


def ran(as_it_is, changed, trial=TRIAL, task="product"):
    """Return a race with one task and these seconds in each round."""
    seconds = {AS_IT_IS: {task: as_it_is}, trial.name: {task: changed}}
    return Race(rounds=len(as_it_is), seconds=seconds)


@pytest.fixture
def desert(monkeypatch, tmp_path):
    """A machine with nothing but Python and NumPy: no program, no optional package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(programs.util, "find_spec", lambda name: None)
    return tmp_path


@pytest.fixture
def unmeasured(monkeypatch):
    """Races take no time: their seconds are set by the test."""
    given = Race()
    monkeypatch.setattr(examination, "race", lambda *_: given)
    return given


def program(folder, name, text):
    """Write a program in the shell's language."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# --- forced settings -----------------------------------------------------------------


@pytest.mark.parametrize("name", MEANINGS)
def test_a_forced_setting_is_reported(name):
    """What the environment forces is shown with its value and what it does."""
    (found,) = findings(forced({name: "17", "HOME": "/"}), None)
    assert found.name == name
    assert found.text.startswith("17: ")
    assert MEANINGS[name][1] in found.text
    assert found.value == {"value": "17", "meaning": MEANINGS[name][1]}


@pytest.mark.parametrize("name", ["OPENBLAS_NEW", "MKL_NEW", "OMP_NEW", "MALLOC_NEW"])
def test_an_unknown_setting_of_a_known_library_is_reported(name):
    """A setting that no table lists is known by the library it belongs to."""
    (found,) = forced({name: "1"})
    assert found.kind in TOUCHED


def test_an_environment_without_settings_is_free():
    """Variables of other programs are none of our business."""
    assert forced({"HOME": "/", "PATH": "/bin", "MY_OPENBLAS_THREADS": "1"}) == []


@pytest.mark.parametrize(
    "name", [name for name, (kind, _) in MEANINGS.items() if kind in TOUCHED]
)
def test_what_is_forced_is_tried_without(name):
    """Each setting that may slow NumPy down has a trial that unsets it, and no more."""
    unknown = HERE._replace(blas=None)
    assert {name: None} in [
        trial.change for trial in trials(forced({name: "1"}), unknown)
    ]


def test_a_setting_of_another_blas_is_not_tried():
    """MKL's settings say nothing to OpenBLAS, and the report says so."""
    items = forced({"MKL_CBWR": "AVX"})
    assert trials(items, ALONE) == []
    assert trials(items, ALONE._replace(blas="mkl")) != []
    assert "another BLAS" in texts(findings(items, "openblas"))["MKL_CBWR"]
    assert "another BLAS" not in texts(findings(items, "mkl"))["MKL_CBWR"]


def test_several_settings_are_tried_alone_and_together():
    """Two settings of a kind may hold NumPy back only together."""
    items = forced({"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512"})
    names = [trial.name for trial in trials(items, ALONE)]
    assert names == [
        "unset OPENBLAS_CORETYPE",
        "unset OPENBLAS_L2_SIZE",
        "unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE",
    ]


def test_many_settings_are_tried_together_only():
    """The number of trials is bounded, whatever the environment holds."""
    items = forced({f"OPENBLAS_{i}": "1" for i in range(50)})
    (trial,) = trials(items, ALONE)
    assert len(trial.change) == 50


def test_kernels_are_compared_on_one_thread():
    """A trial of kernels and what it is compared with differ by the kernels alone."""
    items = forced({"OPENBLAS_CORETYPE": "Haswell"})
    kernels, alone = trials(items, HERE)
    assert (kernels.against, alone.name) == (ONE, ONE)
    assert kernels.besides == alone.change
    (kernels,) = trials(items, ALONE)
    assert (kernels.against, kernels.besides) == (AS_IT_IS, {})


@pytest.mark.parametrize(
    ("threads", "quota", "counts"),
    [(1, None, []), (4, None, [1]), (None, None, [1]), (4, 1.5, [1, 2]), (4, 8.0, [1])],
)
def test_fewer_threads_are_tried(threads, quota, counts):
    """One thread, and as many as a container grants, where there are more."""
    here = HERE._replace(threads=threads, quota=quota)
    found = [trial.change for trial in trials([], here)]
    assert found == [{"OPENBLAS_NUM_THREADS": str(count)} for count in counts]


@pytest.mark.skipif(sys.maxsize < 2**32, reason="thresholds of 64 bits")
def test_kept_memory_is_tried_where_the_allocator_listens():
    """Only glibc has these thresholds, and once set they need no trial."""
    glibc = ALONE._replace(glibc=True)
    (trial,) = trials([], glibc)
    assert trial.change == MALLOC
    assert trials([], ALONE) == []
    again = [trial.change for trial in trials(forced(MALLOC), glibc)]
    assert MALLOC not in again


# --- what is advised -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("as_it_is", "changed", "kind"),
    [
        ([3.0] * 6, [2.0] * 6, "advised"),
        ([3.0] * 6, [2.9] * 6, "no gain"),
        ([3.0] * 6, [3.0] * 6, "no gain"),
        ([2.0] * 6, [3.0] * 6, "no gain"),
        # A gain in every other round only is chance, however large.
        ([9.0, 1.0] * 3, [1.0, 1.0] * 3, "no gain"),
        # One slow round of one of them proves nothing either.
        ([9.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0] * 6, "no gain"),
        # A machine that slows down for both is no change of theirs.
        ([3.0, 3.0, 30.0, 30.0], [2.0, 2.0, 20.0, 20.0], "advised"),
    ],
)
def test_advice_needs_a_faster_trial(as_it_is, changed, kind):
    """A change is advised exactly where the trial was faster, by rounds in turn."""
    run = ran(as_it_is, changed)
    judged = advice.verdicts([TRIAL], run)
    assert [verdict.kind for verdict in judged] == [kind]
    found = advice.findings(judged, run)
    assert [item.name for item in found] == [TRIAL.name] * (kind == "advised")
    if found:
        assert "1.50 x faster: product" in found[0].text
        assert found[0].value["ratios"] == {"product": 1.5}


def test_few_rounds_prove_nothing():
    """Without the time for enough rounds there is no advice, and the report says why."""
    n = advice.LEAST_ROUNDS
    assert advice.verdicts([TRIAL], ran([3.0] * n, [1.0] * n))
    run = ran([3.0] * (n - 1), [1.0] * (n - 1))
    assert advice.verdicts([TRIAL], run) == []
    (said,) = advice.outcomes([TRIAL], [], run)
    assert "not compared" in said.text


def test_what_is_good_for_some_work_only_is_left_to_the_user():
    """Faster here and slower there is told as both."""
    run = ran([3.0] * 6, [2.0] * 6)
    run.seconds[AS_IT_IS]["layer"] = [1.0] * 6
    run.seconds[TRIAL.name]["layer"] = [4.0] * 6
    (verdict,) = advice.verdicts([TRIAL], run)
    (said,) = advice.findings([verdict], run)
    assert said.value["kind"] == "mixed"
    assert "1.50 x faster: product" in said.text
    assert "4.00 x slower: layer" in said.text
    assert "depends" in said.text


def test_a_trial_that_dies_is_not_advised():
    """A setting may be what keeps a library from crashing."""
    run = Race(rounds=6, seconds={AS_IT_IS: {"product": [1.0] * 6}})
    run.failed[TRIAL.name] = "signal 11"
    assert advice.verdicts([TRIAL], run) == []
    (said,) = advice.outcomes([TRIAL], [], run)
    assert "signal 11" in said.text


@pytest.mark.parametrize(
    ("seconds", "kind"),
    [
        ([1.0] * 6, "covered"),
        ([0.5] * 6, "advised"),
        # Faster than the part by chance: in every other round only.
        ([0.5, 1.0] * 3, "covered"),
    ],
)
def test_more_changes_than_needed_are_not_advised(seconds, kind):
    """What combines changes is advised where it is faster than each of them."""
    both = Trial({"A": None, "B": None}, ("products",), covers=(TRIAL.name,))
    run = ran([2.0] * 6, [1.0] * 6)
    run.seconds[both.name] = {"product": seconds}
    single, together = advice.verdicts([TRIAL, both], run)
    assert (single.kind, together.kind) == ("advised", kind)


def test_a_trial_is_judged_by_what_it_is_compared_with():
    """Kernels on one thread are no faster for the threads being gone."""
    alone = Trial({"OPENBLAS_NUM_THREADS": "1"}, ("products",))
    kernels = Trial(
        {"X": None}, ("products",), against=alone.name, besides=alone.change
    )
    run = ran([9.0] * 6, [1.0] * 6, alone)
    run.seconds[kernels.name] = {"product": [1.0] * 6}
    run.kernels = {alone.name: "Haswell", kernels.name: "Zen"}
    judged = advice.verdicts([kernels, alone], run)
    assert [verdict.kind for verdict in judged] == ["no gain", "advised"]
    run.seconds[kernels.name] = {"product": [0.5] * 6}
    found = texts(advice.findings(advice.verdicts([kernels, alone], run), run))
    assert "2.00 x faster" in found[kernels.name]
    assert "on one thread" in found[kernels.name]
    assert "kernels: Zen instead of Haswell" in found[kernels.name]


# --- the race ------------------------------------------------------------------------


class Fake:
    """A contender that logs what it is asked and takes the time that it is told."""

    log: list
    clock: list

    def __init__(self, environment, group, deadline):
        self.environment, self.group, self.rounds = environment, group, 0
        self.log.append(("start", environment.get("X"), group))

    def ready(self):
        self.log.append(("ready", self.environment.get("X"), self.group))
        return f"kernel {self.environment.get('X')}"

    def measure(self):
        self.log.append(("measure", self.environment.get("X"), self.group))
        self.clock[0] += 1.0
        self.rounds += 1
        if self.rounds == int(self.environment.get("DIES", 0)):
            raise EOFError("signal 11")
        return {f"task of {self.group}": 2.0 if self.environment.get("X") else 1.0}

    def close(self):
        self.log.append(("close", self.environment.get("X"), self.group))


@pytest.fixture
def fake():
    """A kind of contender with a log and a clock of its own."""
    return type("Logged", (Fake,), {"log": [], "clock": [0.0]})


def test_contenders_work_in_turn(fake):
    """Every round asks everyone once, in one order, after all are ready."""
    trial = Trial({"X": None}, ("products",))
    run = race([trial], {"X": "1"}, Deadline(PLENTY), start=fake, rounds=3)
    asked = [(what, x) for what, x, group in fake.log if group == "products"]
    both = [("1",), (None,)]
    assert asked[:4] == [(what, *x) for what in ("start", "ready") for x in both]
    assert asked[4:10] == [("measure", *x) for x in both] * 3
    assert sorted(asked[10:], key=str) == sorted([("close", *x) for x in both], key=str)
    assert run.rounds == 3
    assert run.seconds[AS_IT_IS]["task of products"] == [2.0] * 3
    assert run.seconds[trial.name] == {"task of products": [1.0] * 3}
    assert run.kernels == {AS_IT_IS: "kernel 1", trial.name: "kernel None"}


def test_a_trial_changes_what_it_says_and_nothing_else(fake):
    """Its environment is the given one, but for the change and what holds besides."""
    seen = {}

    def start(environment, group, deadline):
        seen[len(seen)] = environment
        return fake(environment, group, deadline)

    trial = Trial({"X": None, "Y": "2"}, ("products",), besides={"Z": "1"})
    race([trial], {"X": "1", "HOME": "/"}, Deadline(PLENTY), start=start, rounds=1)
    assert seen[0] == {"X": "1", "HOME": "/"}
    assert seen[len(seen) - 1] == {"HOME": "/", "Y": "2", "Z": "1"}


@pytest.mark.parametrize("when", ["1", "2", "3"])
def test_who_dies_is_out_of_the_race(fake, when):
    """A process that ends, early or late, is named with how; the others go on."""
    trial = Trial({"DIES": when}, ("products",))
    other = Trial({"X": "2"}, ("products",))
    run = race([trial, other], {}, Deadline(PLENTY), start=fake, rounds=3)
    assert run.failed == {trial.name: "signal 11"}
    assert trial.name not in run.seconds
    assert run.rounds == 3
    assert run.seconds[other.name] == {"task of products": [2.0] * 3}


def test_without_the_environment_as_it_is_there_is_nothing_to_compare(fake):
    """When that cannot be measured the race ends, without a loop or an error."""
    run = race([TRIAL], {"DIES": "1"}, Deadline(PLENTY), start=fake, rounds=3)
    assert (run.rounds, run.failed[AS_IT_IS]) == (0, "signal 11")
    assert AS_IT_IS not in run.seconds


def test_the_deadline_ends_the_race(fake):
    """A round that was cut short does not count, and lists stay of one length."""
    trial = Trial({"X": "1"}, ("products",))
    a_round = len(rates.GROUPS) + 1
    deadline = Deadline(2.5 * a_round, lambda: fake.clock[0])
    run = race([trial], {}, deadline, start=fake, rounds=99)
    assert run.rounds == 2
    assert {len(s) for tasks in run.seconds.values() for s in tasks.values()} == {2}


def test_every_contender_is_closed_whatever_happens(fake):
    """No process outlives the examination, even when another cannot be started."""
    left = [3]

    def start(environment, group, deadline):
        left[0] -= 1
        if left[0] < 0:
            raise OSError("no more processes")
        return fake(environment, group, deadline)

    with pytest.raises(OSError, match="no more processes"):
        race([TRIAL], {}, Deadline(PLENTY), start=start)
    events = [event for event, *_ in fake.log]
    assert events.count("close") == events.count("start") == 3


@pytest.mark.parametrize("group", ["products", "elementwise"])
def test_a_process_measures_every_task_of_its_group(group):
    """The real process answers with positive seconds, as often as it is asked."""
    process = Process(os.environ, group, Deadline(PLENTY))
    try:
        process.ready()
        for _ in range(2):
            seconds = process.measure()
            assert list(seconds) == [task.name for task in rates.GROUPS[group]]
            assert min(seconds.values()) > 0
    finally:
        process.close()


def test_a_process_has_the_environment_that_is_tried():
    """What is set reaches NumPy, which refuses to be loaded with both of these."""
    both = ("NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")
    broken = {**os.environ, **dict.fromkeys(both, "AVX2")}
    process = Process(broken, "products", Deadline(PLENTY))
    with pytest.raises(EOFError, match="exit code"):
        process.ready()
    process.close()


def test_a_process_ends_with_the_deadline():
    """Reading never waits for longer than there is time."""
    process = Process(os.environ, "products", Deadline(0.0))
    with pytest.raises(EOFError, match=r"signal|exit code"):
        process.ready()
    process.close()


def test_tasks_have_names_of_their_own():
    """A rate is found by the name of its task."""
    names = [task.name for tasks in rates.GROUPS.values() for task in tasks]
    assert len(names) == len(set(names))


def test_rates_are_work_per_time(unmeasured):
    """Half the seconds are twice the GFLOP/s, and half the time a number."""
    product, number = rates.GROUPS["products"][0], rates.GROUPS["elementwise"][0]
    new, again = rates.GROUPS["pages"]
    tried = trials([], HERE)
    unmeasured.seconds |= {
        AS_IT_IS: {
            product.name: [2 * 512**3 * 1e-9] * 3,
            number.name: [2e-5] * 3,
            new.name: [4.0],
            again.name: [1.0],
        },
        ONE: {product.name: [2 * 512**3 * 2e-9] * 3},
    }
    found = examination.speeds(unmeasured, tried)
    assert texts(found)[product.name] == "1 GFLOP/s; 0.5 on one thread"
    assert texts(found)[number.name] == "2 ns a number"
    assert texts(found)["page faults"].startswith("75%")
    assert values(found)[number.name]["as it is"] == pytest.approx(2.0)


# --- probes --------------------------------------------------------------------------


def test_a_probe_that_fails_has_found_nothing():
    """Whatever a probe raises, the report goes on and says what it was."""
    found = look("thing", lambda: {}["x"])
    assert found == Finding("thing", "not found (KeyError: 'x')")


def test_without_compilers_the_report_says_what_to_install(desert):
    """Nothing on the path: none is found, and backend c says what it needs."""
    found = programs.compilers(Deadline(PLENTY), {})
    assert values(found) == {"cc": None, "gcc": None, "clang": None}
    assert {item.text for item in found} == {"not found"}
    by_name = texts(programs.backends(found, Deadline(PLENTY)))
    assert "install gcc" in by_name["c"]
    assert "tinygrad_nn[jax]" in by_name["jax"]
    assert by_name["numpy"].startswith("yes")
    assert "graphviz.org" in texts(programs.drawing(Deadline(PLENTY)))["dot"]


@pytest.mark.skipif(os.name != "posix", reason="programs of the shell")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[ $1 = --version ] && echo mine 1.0 && exit; echo no headers >&2; exit 1", "no headers"),
        ("echo mine 1.0", "does not work"),
    ],
    ids=["refuses", "writes nothing"],
)  # fmt: skip
def test_a_compiler_that_compiles_nothing_does_not_work(desert, text, said):
    """A compiler is what makes a library that answers, not what has the name."""
    program(desert, "gcc", text)
    found = programs.compilers(Deadline(PLENTY), {})
    assert texts(found)["gcc"].startswith("mine 1.0, does not work")
    assert said in texts(found)["gcc"]
    assert values(found)["gcc"]["works"] is False
    assert values(programs.backends(found, Deadline(PLENTY)))["c"] is None


@pytest.mark.skipif(os.name != "posix", reason="programs of the shell")
def test_a_compiler_whose_programs_are_wrong_does_not_work(tmp_path, monkeypatch):
    """The library is called: it has to give the right number."""
    real = shutil.which("cc")
    if real is None:
        pytest.skip("no C compiler")
    other = "answer(x)=answer(double *y) { return 41.0; } double other(x)"
    program(tmp_path, "gcc", f"exec {real} '-D{other}' \"$@\"")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "says 41.0" in texts(programs.compilers(Deadline(PLENTY), {}))["gcc"]


@pytest.mark.skipif(os.name != "posix", reason="programs of the shell")
def test_a_program_that_hangs_is_not_waited_for(desert):
    """Without time left every program is cut short."""
    program(desert, "cc", f"exec {sys.executable} -c 'import time; time.sleep(9)'")
    found = programs.compilers(Deadline(0.2), {})
    assert "TimeoutExpired" in texts(found)["cc"]


def test_a_working_compiler_is_found_by_its_variable(monkeypatch):
    """What CC names, with its options, comes before the usual names."""
    usual = programs.compilers(Deadline(PLENTY), {})
    works = [item for item in usual if item.value and item.value["works"]]
    if not works:
        pytest.skip("no C compiler")
    path = works[0].value["path"]
    monkeypatch.setenv("PATH", "")
    first, *_ = found = programs.compilers(Deadline(PLENTY), {"CC": f"{path} -O1"})
    assert (first.name, first.value["path"]) == ("$CC", path)
    # Without PATH some compilers do not find their own linker: it has to be tried.
    c = values(programs.backends(found, Deadline(PLENTY)))["c"]
    assert c == (path if first.value["works"] else None)


def test_without_threadpoolctl_the_extra_is_named(monkeypatch):
    """NumPy's own configuration names the BLAS; kernel and threads need the package."""
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    found = texts(machine.blas())
    assert "as NumPy was built" in found["name"]
    for name in ("kernel", "threads"):
        assert found[name].startswith("not found")
        assert "tinygrad_nn[train]" in found[name]


def test_what_threadpoolctl_says_is_reported():
    """Name, kernel, threads: as they are in use, not as NumPy was built."""
    pool = {
        "internal_api": "mkl", "version": "2025", "num_threads": 3,
        "threading_layer": "tbb", "filepath": "/mkl.so", "architecture": "Zen",
    }  # fmt: skip
    assert texts(machine.blas(pool)) == {
        "name": "mkl 2025", "kernel": "Zen", "threads": "3 (tbb)", "file": "/mkl.so",
    }  # fmt: skip
    assert values(machine.blas(pool))["name"] == "mkl"
    assert texts(machine.blas({"internal_api": "x"}))["kernel"] == "not found"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        (
            {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            2.0,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_share_of_a_container_is_read(tmp_path, files, cores):
    """Both versions of control groups, limited or not, or none at all."""
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert machine.quota(tmp_path) == cores


def test_an_answer_is_what_the_program_says():
    """A failing program is quoted by its last line."""
    assert answer([sys.executable, "-c", "print('fine')"], PLENTY) == "fine"
    code = "import sys; print('one\\ntwo', file=sys.stderr); sys.exit(1)"
    with pytest.raises(RuntimeError, match=r"^two$"):
        answer([sys.executable, "-c", code], PLENTY)


# --- the report ----------------------------------------------------------------------


def test_the_page_is_aligned_and_of_one_width():
    """Texts begin in one column; long ones go on below, and none is lost."""
    long = "word " * 40
    page = as_text([Section("One", [Finding("a", "x"), Finding("bcd", long)]),
                    Section("Two", [Finding("n" * 60, "below")]),
                    Section("Three", [], "nothing here")])  # fmt: skip
    lines = page.splitlines()
    assert lines[:2] == ["One", "  a    x"]
    assert page.count("word") == 40
    assert all(line.startswith("       word") for line in lines[3:5])
    assert max(map(len, lines)) <= 88
    assert "      below" in lines
    assert lines[-2:] == ["Three", "  nothing here"]


def test_json_has_every_finding():
    """Section, finding, value; what was not found is null."""
    page = as_json(
        [Section("One", [Finding("a", "x", [1]), Finding("b", "not found")])]
    )
    assert json.loads(page) == {"one": {"a": [1], "b": None}}


def test_a_desert_is_described_in_words(desert, unmeasured, capsys):
    """Without compilers, dot or optional packages every line is there, exit code 0."""
    unmeasured.failed[AS_IT_IS] = "exit code 1"
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("not found") >= 10
    assert "none: exit code 1" in out
    assert out.splitlines()[-2:] == ["Advice", "  none: nothing was compared"]


def test_quick_measures_nothing(desert, monkeypatch, capsys):
    """No race, no rates, no advice."""
    monkeypatch.setattr(examination, "race", None)
    assert main(["doctor", "--quick"]) == 0
    out, _ = capsys.readouterr()
    assert "NumPy" in out
    assert "Rates" not in out
    assert "Advice" not in out


def test_the_report_of_a_program_parses(desert, unmeasured, monkeypatch, capsys):
    """--json is one object with the same sections, and the advice with its ratios."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setattr(machine, "cores", lambda: 1)
    task = rates.GROUPS["products"][0].name
    run = ran([2.0] * 6, [1.0] * 6, task=task)
    unmeasured.rounds, unmeasured.seconds = run.rounds, run.seconds
    assert main(["doctor", "--json"]) == 0
    out, _ = capsys.readouterr()
    report = json.loads(out)
    assert report["forced settings"]["OPENBLAS_CORETYPE"]["value"] == "Prescott"
    assert report["c compilers"]["gcc"] is None
    assert report["backends of tg.compile"]["numpy"] is True
    if report["blas"]["name"] == "openblas":
        assert report["advice"][TRIAL.name]["ratios"] == {task: 2.0}
        assert report["rates"][task]["unit"] == "GFLOP/s"
