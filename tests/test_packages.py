"""What is published: for which systems, by which steps, and how an index shows it.

What builds on this machine is proved by `make dist` and `make prove-packages`; of the rest it is checked here that what
says how to build it is whole.
"""

import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# Where ours differs from what maturin proposes, and why.
MORE = {("manylinux", "riscv64gc-unknown-linux-gnu")}  # the newest of the index's platforms
FEWER = {
    ("musllinux", "x86"),  # containers of Alpine are of the other two
    ("musllinux", "armv7"),
    ("windows", "x86"),  # no Windows that is still supported comes as one
}
NAMES = {"x86": "i686"}  # the same to maturin


def workflow(name: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    loaded: dict[str, Any] = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text("utf-8"))
    return loaded


def test_wheels_are_built_for_the_platforms_that_maturin_proposes() -> None:
    yaml = pytest.importorskip("yaml")
    maturin = ROOT / ".venv" / "bin" / "maturin"
    found = str(maturin) if maturin.exists() else shutil.which("maturin")
    if found is None:
        pytest.skip("there is no maturin")
    platforms = [word for name in ("manylinux", "musllinux", "windows", "macos") for word in ("--platform", name)]
    command = [found, "generate-ci", "github", *platforms]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=50).stdout
    proposed = {
        ("manylinux" if job == "linux" else job, platform["target"])
        for job, steps in yaml.safe_load(said)["jobs"].items()
        for platform in steps.get("strategy", {"matrix": {"platform": []}})["matrix"]["platform"]
    }
    assert len(proposed) > 10
    ours = {
        (one["libc"], one["target"]) for one in workflow("release")["jobs"]["wheels"]["strategy"]["matrix"]["include"]
    }
    assert ours - MORE == {(libc, NAMES.get(target, target)) for libc, target in proposed - FEWER}


def test_each_platform_gets_all_three_wheels_and_the_address_before_them() -> None:
    steps = workflow("release")["jobs"]["wheels"]["steps"]
    built = [step["with"]["args"] for step in steps if "args" in step.get("with", {})]
    assert [re.findall(r"--interpreter (\S+)", arguments) for arguments in built] == [
        ["python3.11"],
        ["python3.14t"],
        ["python3.15t"],
    ]
    for job in ("wheels", "source"):
        steps = workflow("release")["jobs"][job]["steps"]
        said = [index for index, step in enumerate(steps) if ".ci/address.py" in step.get("run", "")]
        builds = [
            index
            for index, step in enumerate(steps)
            if "maturin-action" in step.get("uses", "") or "make dist" in step.get("run", "")
        ]
        assert len(said) == 1
        assert said[0] < min(builds)


def test_every_supported_python_is_a_classifier_and_is_tested() -> None:
    versions = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", name)]
    assert versions[0] == PROJECT["requires-python"].removeprefix(">=")
    assert versions == [f"3.{minor}" for minor in range(11, 11 + len(versions))]
    matrix = workflow("ci")["jobs"]["versions"]["strategy"]["matrix"]
    assert {*versions} <= {*matrix["python"], *(one["python"] for one in matrix["include"])}


def of_address(name: str) -> Callable[..., str]:
    function: Callable[..., str] = runpy.run_path(str(ROOT / ".ci" / "address.py"))[name]
    return function


def test_an_index_shows_the_readme_with_whole_links_and_pictures() -> None:
    url = "https://code.example.org/pop3fast"
    readme = (ROOT / "README.md").read_text("utf-8")
    assert re.search(r"\]\((?!https:)", readme), "in a checkout its links are those of files"
    shown = of_address("whole_links")(of_address("with_pictures")(readme, url, "v1"), url, "v1")
    assert re.findall(r"\]\((?!https:)", shown) == []
    assert f"]({url}/blob/v1/docs/poplib.md)" in shown
    picture = of_address("with_pictures")("![a plot](docs/plot.svg) [text](docs/plot.md)", url, "v1")
    assert picture == f"![a plot]({url}/raw/v1/docs/plot.svg) [text](docs/plot.md)"


def test_the_metadata_get_the_urls_of_the_repository_that_publishes() -> None:
    url = "https://code.example.org/pop3fast"
    pyproject = of_address("with_urls")((ROOT / "pyproject.toml").read_text("utf-8"), url, "v1")
    urls = tomllib.loads(pyproject)["project"]["urls"]
    assert set(urls) == {"Repository", "Documentation", "Changelog", "Issues", "Security"}
    assert all(one.startswith(f"{url}") for one in urls.values())
    manifest = of_address("with_repository")((ROOT / "Cargo.toml").read_text("utf-8"), url)
    assert tomllib.loads(manifest)["package"]["repository"] == url


def test_the_extension_is_declared_to_do_without_a_global_lock() -> None:
    assert "#[pymodule(gil_used = false)]" in (ROOT / "src" / "python.rs").read_text("utf-8")
    features = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["dependencies"]["pyo3"]["features"]
    assert {"abi3-py311", "abi3t-py315"} <= {*features}


def test_the_programs_that_are_tried_downstream_stand_in_one_file() -> None:
    programs = tomllib.loads((ROOT / ".ci" / "downstream.toml").read_text("utf-8"))
    assert {"getmail6", "django-mailbox", "frappe", "odoo", "cpython"} <= set(programs)
    for name, program in programs.items():
        assert program["why"], name
        assert program["run"], name
    (job,) = workflow("downstream")["jobs"].values()
    assert any(".ci/downstream.py" in step.get("run", "") for step in job["steps"])


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.stem)
def test_each_workflow_may_do_nothing_unless_a_job_says_what(path: Path) -> None:
    loaded = workflow(path.stem)
    assert loaded["permissions"] == {}
    for name, job in loaded["jobs"].items():
        assert job["permissions"], name
        assert job["timeout-minutes"] <= 120, name


def looked_at_by(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).parent / tool
    found = str(beside) if beside.exists() else shutil.which(tool)
    if found is None:
        pytest.skip(f"there is no {tool}")
    return subprocess.run([found, *arguments], cwd=ROOT, check=False, capture_output=True, text=True, timeout=50)


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("workflows", "workflows/*.yml"),
        ("issue-forms", "ISSUE_TEMPLATE/bug.yml"),
        ("issue-config", "ISSUE_TEMPLATE/config.yml"),
        ("dependabot", "dependabot.yml"),
    ],
)
def test_what_configures_the_forge_is_as_its_schema_says(schema: str, pattern: str) -> None:
    files = sorted((ROOT / ".github").glob(pattern))
    assert files
    name = schema if schema == "dependabot" else f"github-{schema}"
    looked = looked_at_by("check-jsonschema", "--builtin-schema", f"vendor.{name}", *files)
    assert looked.returncode == 0, looked.stdout


def test_zizmor_finds_nothing_in_the_workflows() -> None:
    looked = looked_at_by("zizmor", "--offline", "--no-progress", "--color", "never", ".github")
    assert looked.returncode == 0, looked.stdout
    assert "No findings to report" in looked.stdout + looked.stderr


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.stem)
def test_each_action_is_pinned_by_its_digest_and_says_its_version(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text("utf-8"))
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []


def test_only_a_person_and_a_tag_let_a_release_out_and_it_is_attested() -> None:
    publish = workflow("release")["jobs"]["publish"]
    assert publish["environment"] == "index"
    assert publish["if"] == "github.ref_type == 'tag'"
    assert publish["permissions"] == {"id-token": "write", "attestations": "write"}
    steps = [step["uses"].partition("@")[0] for step in publish["steps"]]
    assert steps.index("actions/attest-build-provenance") < steps.index("PyO3/maturin-action")
    assert "secrets." not in (WORKFLOWS / "release.yml").read_text("utf-8")


def test_a_report_of_a_fault_is_asked_for_its_protocol() -> None:
    yaml = pytest.importorskip("yaml")
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text("utf-8"))
    (transcript,) = [part for part in form["body"] if part["id"] == "transcript"]
    assert "--debug" in transcript["attributes"]["description"]
    assert "vulnerability" in (ROOT / "SECURITY.md").read_text("utf-8")


def test_what_is_updated_by_itself_is_a_week_old() -> None:
    yaml = pytest.importorskip("yaml")
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text("utf-8"))["updates"]
    assert {one["package-ecosystem"] for one in updates} == {"github-actions", "cargo", "pip"}
    assert all(one["cooldown"]["default-days"] >= 7 for one in updates)
