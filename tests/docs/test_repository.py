"""The repository's own files: workflows, templates, citation, changelog, code of conduct."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.documented import ROOT, text_of

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@v\d+\.\d+\.\d+")
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
FIELDS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}


def load(path: Path) -> Any:
    """Read a YAML file; the key `on`, which YAML 1.1 takes for true, keeps its name."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in found.items()}


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = load(path)["jobs"]
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


def script(path: Path) -> str:
    return "\n".join(step["run"] for step in steps(path) if "run" in step)


# Workflows


def test_there_are_three_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "site", "submission"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_can_do_little(path: Path) -> None:
    """Reading by default, a time limit, actions of one version, no run of foreign code with rights of its own."""
    found = load(path)
    assert found["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in found["on"]
    assert "workflow_run" not in found["on"]
    assert "secrets." not in path.read_text(encoding="utf-8")
    for job in found["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 60
        assert job["runs-on"] != "ubuntu-latest"
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                assert PINNED.fullmatch(step["uses"]), step["uses"]
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_text_of_others_becomes_a_script(path: Path) -> None:
    """An expression in a script is put in before a shell reads it: titles and branches would be code."""
    assert EXPRESSION.findall(script(path)) == []


def test_only_the_site_may_write() -> None:
    writing = {
        (path.stem, right)
        for path in WORKFLOWS
        for job in jobs(path).values()
        for right, level in job.get("permissions", {}).items()
        if level == "write"
    }
    assert writing == {("site", "pages"), ("site", "id-token")}
    assert load(GITHUB / "workflows" / "site.yml")["on"]["push"]["branches"] == ["main"]
    (upload,) = [s for s in steps(GITHUB / "workflows" / "site.yml") if "upload-pages" in s.get("uses", "")]
    assert upload["with"]["path"] == "leaderboard/site"


def test_the_integration_is_one_command() -> None:
    path = GITHUB / "workflows" / "ci.yml"
    assert set(load(path)["on"]) == {"push", "pull_request"}
    assert script(path) == "bash .ci/run"
    (python,) = [step for step in steps(path) if "setup-python" in step.get("uses", "")]
    assert python["with"]["cache"] == "pip"
    least = tomllib.loads(text_of("pyproject.toml"))["project"]["requires-python"].removeprefix(">=")
    assert python["with"]["python-version"] == least


def test_the_workflow_of_a_submission_runs_its_check() -> None:
    path = GITHUB / "workflows" / "submission.yml"
    assert set(load(path)["on"]) == {"pull_request"}
    (checkout,) = [step for step in steps(path) if "checkout" in step.get("uses", "")]
    assert checkout["with"]["fetch-depth"] == 0
    text = script(path)
    assert "regunlearn check --against origin/main" in text
    assert "set -o pipefail" in text, "without it the exit code of the check is lost"
    (summary,) = [step for step in steps(path) if "GITHUB_STEP_SUMMARY" in step.get("run", "")]
    assert summary["if"] == "always()"


def test_the_checks_of_a_change_are_one_command() -> None:
    """`make check` is lint, types and tests; the integration runs them all."""
    rules = dict(re.findall(r"^(\w+):(.*)$", text_of("Makefile"), re.MULTILINE))
    assert rules["check"].split() == ["lint", "types", "test"]
    done = " ".join(line for line in text_of(".ci/run").splitlines() if line.startswith("make"))
    assert {"lint", "types", "test"} <= set(done.split())


# Templates


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_has_the_shape_of_one(path: Path) -> None:
    form = load(path)
    assert set(form) <= {"name", "description", "title", "labels", "body"}
    assert all(form[key] for key in ("name", "description", "body"))
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in fields]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in names)
    assert any(field.get("validations", {}).get("required") for field in fields)
    for field in form["body"]:
        assert field["type"] in FIELDS
        if field["type"] == "markdown":
            assert field["attributes"]["value"]
            continue
        assert field["attributes"]["label"]
        if field["type"] in ("dropdown", "checkboxes"):
            options = [o["label"] if isinstance(o, dict) else o for o in field["attributes"]["options"]]
            assert len(set(options)) == len(options) >= 2
            assert all(isinstance(option, str) for option in options)


def test_there_is_a_form_for_each_kind() -> None:
    assert [path.stem for path in FORMS] == ["disputed-result", "new-method", "new-task"]
    config = load(GITHUB / "ISSUE_TEMPLATE" / "config.yml")
    assert config == {"blank_issues_enabled": True, "contact_links": []}


def test_a_disproof_needs_a_command_and_what_it_prints() -> None:
    form = load(GITHUB / "ISSUE_TEMPLATE" / "disputed-result.yml")
    fields = {field["id"]: field for field in form["body"] if "id" in field}
    for name in ("entry", "command", "found"):
        assert fields[name]["validations"]["required"] is True


def test_the_pull_request_template_asks_for_the_commands() -> None:
    text = (GITHUB / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
    for command in (
        "regunlearn submit --method NAME",
        "regunlearn check --against origin/main",
        "make check",
    ):
        assert f"`{command}`" in text


# Citation, changelog, conduct


def test_the_citation_is_that_of_the_package() -> None:
    """The keys that CFF 1.2.0 requires, none that it does not know, and the version of pyproject."""
    found = load(ROOT / "CITATION.cff")
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    assert found["cff-version"] == "1.2.0"
    assert set(found) == {
        *("cff-version", "message", "type", "title", "abstract", "authors", "version", "license", "keywords")
    }
    assert found["type"] == "software"
    assert found["authors"] == [{"name": "The regunlearn developers"}]
    assert (found["version"], found["license"]) == (project["version"], project["license"])
    assert found["title"].startswith(f"{project['name']}: ")
    assert len(set(found["keywords"])) == len(found["keywords"])


def test_the_changelog_begins_with_the_version_that_is_here() -> None:
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    heads = re.findall(r"^## (.*)$", text_of("CHANGELOG.md"), re.MULTILINE)
    assert heads[0] in (f"Unreleased: {version}", "Unreleased", version)
    assert len(heads) == len(set(heads))


def test_the_code_of_conduct_says_what_happens() -> None:
    text = text_of("CODE_OF_CONDUCT.md")
    for word in ("harassment", "confidential", "maintainer"):
        assert word in text
