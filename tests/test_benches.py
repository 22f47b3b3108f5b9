"""Two checkouts that are measured in one run take turns, and each is measured with its own client."""

import importlib
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from benches import against, disk, fetch, fleet, fleet_plan, processor, report, runs, several, unmodified
from benches.__main__ import main
from benches.cores import Cores, on_core
from benches.line import LINES
from benches.turns import Partner

import pop3fast

MACHINES = Path(__file__).parent.parent / "docs" / "machines.md"
PACKAGE = Path(pop3fast.__file__).parent
OPTION = re.compile(r'add_argument\(("--\w+")')


class Run:
    """A run of some columns, each of which has enough after a number of cycles of its own."""

    def __init__(self, name: str, seed: int, log: list[str]) -> None:
        self._name = name
        self._rng = random.Random(seed)  # noqa: S311 - what is drawn is no secret
        self._log = log

    def columns(self, partner: Callable[[], Partner]) -> list[int]:
        """Return how many cycles each had."""
        turns = partner()
        counted = []
        for _ in range(5):
            enough, cycles, ended = self._rng.randint(1, 9), 0, False
            while not ended:
                cycles += 1
                self._log.append(self._name)
                ended = turns.end_cycle(enough=cycles >= enough)
            counted.append(cycles)
        return counted


@pytest.mark.parametrize("seed", range(20))
def test_two_runs_take_turns_and_have_as_many_cycles_of_each_column(seed: int) -> None:
    to_first, to_second = os.pipe(), os.pipe()
    log: list[str] = []
    one, other = Run("first", seed, log), Run("second", -1 - seed, log)

    def first() -> list[int]:
        try:
            return one.columns(lambda: Partner(to_first[0], to_second[1], first=True))
        finally:
            os.close(to_second[1])  # as when its process ends

    with ThreadPoolExecutor(2) as pool:
        counts = pool.submit(first)
        others = pool.submit(other.columns, lambda: Partner(to_second[0], to_first[1], first=False))
        assert counts.result() == others.result()
    for end in (to_first[0], to_first[1], to_second[0]):
        os.close(end)
    assert log == ["first", "second"] * (len(log) // 2)


def test_the_first_run_says_that_the_other_has_ended_before_it() -> None:
    to_first, to_second = os.pipe(), os.pipe()
    turns = Partner(to_first[0], to_second[1], first=True)
    os.close(to_first[1])
    with pytest.raises(EOFError, match="other checkout"):
        turns.end_cycle(enough=True)
    for end in (to_first[0], *to_second):
        os.close(end)


def other_checkout(folder: Path, line: str) -> Path:
    """Make a checkout whose package runs *line* when it is imported."""
    package = folder / "python" / "pop3fast"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "__init__.py").open("a", encoding="utf-8") as init:
        init.write(f"\n{line}\n")
    return folder


two_runs = pytest.mark.timeout(300)  # each in a process of its own; beside a dozen others they took 18 seconds
ONE_COLUMN = ["--quick", "-k", "test_messages and 4 and not TLS", "-p", "no:cacheprovider"]


@two_runs
def test_the_other_checkout_is_measured_with_its_own_client_as_far_as_it_has_what_is_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PACKAGE.parent.parent)
    sign = tmp_path / "sign"
    other = other_checkout(tmp_path / "other", f"open({str(sign)!r}, 'w').close()")
    shutil.rmtree(other / "python" / "pop3fast" / "aio")
    assert against.run(other, ONE_COLUMN) == 0
    assert sign.exists()
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("not compared, because the other checkout cannot run it: test_aio: ImportError(")
    rows = [line for line in lines if line.startswith("Messages, 4 KB: ")]
    assert [row.endswith(("as fast", "SLOWER")) for row in rows] == [False, True, True, False, False, False]


@two_runs
def test_a_run_that_fails_says_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PACKAGE.parent.parent)
    other = other_checkout(tmp_path, "POP3.retr_bytes = lambda pop, number: b'the wrong message'")
    assert against.run(other, ONE_COLUMN) != 0
    assert "`retr_bytes()` retrieved something else" in "".join(capfd.readouterr())


@two_runs
def test_a_checkout_that_does_not_work_is_no_comparison(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PACKAGE.parent.parent)
    other = other_checkout(tmp_path, "raise ImportError('a fault of its own')")
    assert against.run(other, ONE_COLUMN) != 0
    assert "a fault of its own" in capfd.readouterr().out
    shutil.rmtree(other / "python")
    with pytest.raises(SystemExit, match="no compiled core"):
        against.run(other, ONE_COLUMN)


@pytest.mark.parametrize(("seconds", "verdict"), [(0.5, "as fast"), (1.029, "as fast"), (1.031, "SLOWER")])
def test_a_row_of_ours_is_slower_when_its_best_round_takes_three_per_cent_more(seconds: float, verdict: str) -> None:
    def tables(best: float) -> report.Tables:
        rounds = report.Result([2 * best, best], None)
        return {"Messages": {"4 KB": {"poplib": rounds, "pop3fast": rounds}}}

    _, theirs, ours = report.compared(tables(1.0), tables(seconds)).splitlines()
    times = [f"{seconds:.3f}", "x"] * 2
    assert theirs.split() == ["Messages,", "4", "KB:", "poplib", *times]
    assert ours.split() == ["Messages,", "4", "KB:", "pop3fast", *times, *verdict.split()]


@pytest.mark.parametrize(("seconds", "verdict"), [(0.99, ["reached"]), (1.01, ["NOT", "REACHED"])])
def test_the_slowest_row_of_ours_beside_poplib_is_named_and_may_not_be_slower(
    seconds: float, verdict: list[str]
) -> None:
    def column(**best: float) -> report.Column:
        return {row: report.Result([2 * time, time], None) for row, time in best.items()}

    tables = {
        "Messages": {"4 KB": column(poplib=1.0, pop3fast=0.5), "5 MB": column(poplib=1.0, pop3fast=seconds)},
        # A client that is not ours may be slower; and where poplib was not measured, nothing is compared with it.
        "Bulk": {"4 KB": column(poplib=1.0, bare=3.0, pop3fast=0.1), "far": column(pop3fast=9.0)},
    }
    (line,) = [line for line in report.goals(tables).splitlines() if line.startswith("the slowest of all")]
    assert line.startswith("the slowest of all beside poplib: Messages, 5 MB: pop3fast ")
    assert line.split()[-len(verdict) :] == verdict


def test_a_selection_without_another_checkout_is_no_run_of_everything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benches", "-k", "Courier"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "-k is for --against" in capsys.readouterr().err


BENCHES = Path(against.__file__).parent
WRITING = [
    path.stem
    for path in BENCHES.glob("*.py")
    if {'"--quick"', '"--write"'} <= {*OPTION.findall(path.read_text(encoding="utf-8"))}
]
"""The programs that can write down what they measure, and be quick."""


@pytest.mark.parametrize("name", sorted(WRITING))
def test_what_a_quick_run_measures_is_never_written_down(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = importlib.import_module(f"benches.{name}")
    # One that does write is not to put it into our own documentation.
    monkeypatch.setattr(program, "DOCS", tmp_path / "page", raising=False)
    takes_file = '"--write", type=Path' in Path(str(program.__file__)).read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", [name, "--quick", "--write", *([str(tmp_path / "page")] if takes_file else [])])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    assert "is never written down" in capsys.readouterr().err


def test_the_tables_of_the_documentation_are_of_whole_runs() -> None:
    page = several.DOCS.read_text(encoding="utf-8")
    titles = [f"{program.MESSAGES} x {program.OCTETS // 1000} KB, " for program in (several, unmodified)]
    titles += [f"{row.title} |" for row in LINES] + [f"{mailbox.title} |" for mailbox in fetch.MAILBOXES]
    assert [title for title in titles if f"\n| {title}" not in page] == []


def test_one_of_several_tables_is_not_written_over_all_of_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["fetch", "--only", "1", "--write", str(tmp_path / "page")])
    with pytest.raises(SystemExit) as ended:
        fetch.main()
    assert ended.value.code == 2
    assert "--write takes all tables" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot choose its core here")
def test_what_is_started_for_a_core_runs_on_it_and_the_choice_is_taken_back() -> None:
    before = os.sched_getaffinity(0)
    core = len(before) - 1
    with on_core(core):
        show = "import os; print(os.sched_getaffinity(0))"
        said = subprocess.run([sys.executable, "-c", show], stdout=subprocess.PIPE, check=True, text=True).stdout
    assert said.strip() == str({sorted(before)[core]})
    assert os.sched_getaffinity(0) == before
    assert Cores(client=0, server=len(before)).missing() is not None
    assert Cores(client=0, server=core).missing() is None


def test_what_many_mailboxes_need_follows_from_what_was_measured() -> None:
    text = MACHINES.read_text(encoding="utf-8")
    measured, plan = (text.partition(begin)[2].partition(end)[0].strip() for begin, end in fleet.MARKS.values())
    assert fleet_plan.table(fleet_plan.read_back(measured)) == measured
    assert fleet_plan.plan(fleet_plan.read_back(measured)) == plan


def test_a_plan_counts_processors_for_what_each_turn_takes() -> None:
    way = fleet_plan.Way("x", 1.0, 3.0, 0.3, 900.0)
    measured = fleet_plan.Measured(
        way, way._replace(worker=6.0), way._replace(worker=9.0), way, 0.2, 1000.0, 400.0, 0.1
    )
    cells = [line.strip("|").split("|") for line in fleet_plan.plan(measured).splitlines()[2:]]
    numbers = {
        name.strip().partition(",")[0].partition(" (")[0]: (one.strip(), two.strip()) for name, one, two in cells
    }
    # 10,000 turns in three seconds, of which one in twenty takes a look and a fetch.
    assert numbers["processors for looks"] == ("9.5", "19.0")
    assert numbers["processors for a look and a fetch"] == ("2.0", "3.0")
    assert numbers["workers of one processor"] == ("18", "33")
    assert numbers["sessions at once"] == ("1,000", "1,333")
    assert numbers["mailboxes that one host can have"] == ("8,000", "6,000")
    assert numbers["the database: 50 messages each"] == ("20 GB", "20 GB")
    assert numbers["the database: rows of accounts"] == ("1.0 GB", "1.0 GB")


def test_what_a_command_costs_is_compared_with_the_loop_round_by_round() -> None:
    measured = {"loop": [(0.0, 0.001), (0.0, 0.003)], "ours": [(0.0, 0.002), (0.0, 0.004)]}
    said = processor.commands_in_words(measured, "loop", 100)
    assert "ours: 10.0 a command (best rounds 10.0)" in said


def test_the_clock_and_the_processor_each_have_a_ratio() -> None:
    said = processor.ratios_in_words({"poplib": [(8.0, 6.0), (8.0, 6.0)], "ours": [(2.0, 1.0), (4.0, 2.0)]})
    assert "ours: clock 3.0 x (best 4.0 x), processor 4.5 x (best 6.0 x), at work 50% of the time" in said


def test_of_a_race_the_second_program_is_what_the_others_are_measured_by() -> None:
    race = disk.RACES[1]
    ours, theirs = (program.name for program in race.programs)
    said = disk.result(
        race, {ours: [runs.Run(1, 0.5, 0), runs.Run(4, 0.5, 0)], theirs: [runs.Run(3, 0.4, 0), runs.Run(4, 0.4, 0)]}
    )
    assert f"{ours}: 2.00 x (3.00 x the best runs), 0.50 s of processor" in said
    assert f"{theirs}: 1.00 x (1.00 x the best runs), 0.40 s of processor" in said
