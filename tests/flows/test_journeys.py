"""What people do in the browser: start a run from its form, sign where the run waits for it, and see what became of it.

One run of the pilot goes through all three journeys, in the order of this file. Screenshots: see tests/browser.py.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from browser import needs_browser, opened_browser, screenshot
from signers import Team, made_team

from benchmarks.deployed_platform import DeployedPlatform
from benchmarks.playground import PILOT, first_lines
from quantplay.records import Role
from quantplay.signoff import REQUIRED

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
    from prefect.client.schemas.objects import FlowRun

pytestmark = [pytest.mark.slow, needs_browser]
SKILLS = {
    "instructions": "Follows every detail of an instruction",
    "output_format": "Files a ticket as JSON in a strict format",
}
ITEMS = 40  # a skill


@dataclass(kw_only=True)
class Journey:
    """The browser, what it looks at, and the run that all three go through."""

    page: Page
    platform: DeployedPlatform
    team: Team
    data: Path
    shots: Path
    flow_run: UUID | None = None

    def open(self, path: str) -> None:
        self.page.goto(f"{self.platform.page}{path}")

    def shot(self, name: str, *, whole: bool = True) -> None:
        self.page.wait_for_timeout(700)  # until what fades in has done so
        screenshot(self.page, name, self.shots, whole=whole)

    def wait_for_question(self, question: str) -> None:
        """Until the run is suspended with this question, or has ended."""
        assert self.flow_run is not None

        def asks(run: FlowRun) -> bool:
            return is_waiting(run) and (
                run.state is None or run.state.is_final() or question in self.shown("sign-offs")
            )

        run = self.platform.wait(self.flow_run, until=asks, seconds=600)
        assert run.state is not None
        assert run.state.is_paused(), run.state.message

    def shown(self, key: str) -> str:
        """The newest artifact of the run under this key."""
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
        from prefect.client.schemas.sorting import ArtifactSort

        assert self.flow_run is not None
        mine = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[self.flow_run]), key=ArtifactFilterKey(any_=[key])
        )
        with self.platform.client() as client:
            found = client.read_artifacts(artifact_filter=mine, sort=ArtifactSort.CREATED_DESC)
        return str(found[0].data) if found else ""

    def newest(self, key: str) -> None:
        """From the list of the run's artifacts to the page of the latest under this key."""
        self.page.get_by_role("heading", name=key, exact=True).first.click()
        self.page.locator("a[href*='/artifacts/artifact/']").first.click()

    @property
    def run_page(self) -> str:
        assert self.flow_run is not None, "the first journey did not start a run"
        return f"/v2/runs/flow-run/{self.flow_run}"


@pytest.fixture(scope="module")
def journey(platform: DeployedPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    team = made_team(tmp_path_factory.mktemp("team"))
    shutil.copy(team.owners, platform.home / "owners.yaml")
    data = platform.playground.folder / "from the form"
    made_data(data)
    with opened_browser() as page:
        yield Journey(page=page, platform=platform, team=team, data=data, shots=tmp_path_factory.mktemp("screenshots"))


def made_data(folder: Path) -> None:
    """Two of the pilot's skills, under the names the form proposes."""
    folder.mkdir()
    for split, count in (("gate", ITEMS), ("dev", 4)):
        everything = folder / f"{split}.all"
        first_lines(PILOT / "evaluation" / f"{split}.jsonl", everything, count, by="slice")
        kept = [
            line for line in everything.read_text().splitlines(keepends=True) if json.loads(line)["slice"] in SKILLS
        ]
        (folder / f"{split}.jsonl").write_text("".join(kept))
        everything.unlink()
    first_lines(PILOT / "calibration" / "traffic.jsonl", folder / "calibration.jsonl", 128)
    first_lines(PILOT / "heldout" / "text.jsonl", folder / "heldout.jsonl", 16)
    shutil.copytree(PILOT / "model", folder / "model")


def fill(page: Page, title: str, value: object, entry: int = 0) -> None:
    """Fill in a field by its title; `entry`: of which entry of a list."""
    named = page.get_by_label(title, exact=True).or_(page.get_by_label(f"{title} (Optional)", exact=True))
    named.nth(entry).fill(str(value))


def choose(page: Page, title: str, value: str) -> None:
    page.get_by_label(f"Select {title}").click()
    page.get_by_role("option", name=value).click()


def submit(page: Page) -> None:
    page.wait_for_timeout(3000)  # the form hands on what was typed a moment later; a person is never that fast
    page.get_by_role("button", name="Submit").click()


def submit_until(page: Page, there: Locator, tries: int = 4) -> None:
    """Press again where a slow browser has not handed on what was typed; a form that was taken is gone."""
    from playwright.sync_api import TimeoutError as NotThere

    for _ in range(tries):
        submit(page)
        try:
            there.wait_for(timeout=15_000)
        except NotThere:
            continue
        return


def fill_in_the_form(page: Page, data: Path, team: Team) -> None:
    """What a product owner fills in for a first run; the tolerances are wide, because forty questions tell little."""
    fill(page, "Name", "support-4bit")
    fill(page, "What the model does", "A support desk answers questions about orders and files tickets.")
    choose(page, "How much is at stake", "production")
    fill(page, "Folder", data)
    for entry, (name, title) in enumerate(SKILLS.items()):
        page.get_by_role("button", name="Add item").first.click()
        fill(page, "Kind of question", name, entry)
        fill(page, "What it shows", title, entry)
        fill(page, "Passes up to a loss of, percentage points", 30, entry)
        fill(page, "Broken above a loss of, percentage points", 60, entry)
    fill(page, "ML engineer", team.ada.name)
    fill(page, "Product owner", team.grace.name)
    fill(page, "Chip it will be served on", "this machine")
    fill(page, "Context, tokens", 256)
    fill(page, "The trade-off in words", "A sixth of the memory; in exchange each skill may lose up to thirty points.")
    fill(page, "Calibration texts to use", 128)
    fill(page, "Hardest questions: pass up to a loss of, percentage points", 90)
    fill(page, "Hardest questions: broken above a loss of, percentage points", 95)
    fill(page, "Hardest questions: pass up to a rise of the loss of, nats a token", 8)
    fill(page, "Hardest questions: broken above a rise of the loss of, nats a token", 9)


def as_shown(dialog: Locator, *lines: str) -> str:
    """The command for the terminal that the page shows for the text with these lines."""
    block = dialog.locator("pre")
    for line in lines:
        block = block.filter(has_text=line)
    return block.first.inner_text()


def typed(command: str, key: Path) -> str:
    """What a person's terminal prints for a command of the page, with the person's own key."""
    assert "~/.ssh/id_ed25519" in command
    done = subprocess.run(
        ["bash", "-c", command.replace("~/.ssh/id_ed25519", str(key))], capture_output=True, text=True, check=True
    )
    return done.stdout


def is_waiting(run: FlowRun) -> bool:
    return run.state is not None and (run.state.is_paused() or run.state.is_final())


def test_a_run_starts_from_the_form_and_comes_to_its_verdict(journey: Journey) -> None:
    page, platform = journey.page, journey.platform
    with platform.client() as client:
        form = client.read_deployment_by_name("quantize-form/form")
    journey.open(f"/v2/deployments/deployment/{form.id}/run")
    fill_in_the_form(page, journey.data, journey.team)
    journey.shot("form")
    fill(page, "Name", "Support 4 bit")
    submit(page)
    page.get_by_text("'Support 4 bit' does not match").wait_for()  # the server refuses, and the form says where
    fill(page, "Name", "support-4bit")
    link = page.locator("a[href*='/runs/flow-run/']").first  # on the deployment's page, where the form leads
    submit_until(page, link)
    journey.flow_run = UUID(str(link.get_attribute("href")).rpartition("/")[2])
    journey.wait_for_question("Is the quantized model good enough for its purpose?")
    assert platform.wait(journey.flow_run, until=is_waiting).name == "support-4bit"


def asked(journey: Journey) -> Locator:
    """The dialog behind Resume of the run that waits."""
    page = journey.page
    journey.open(journey.run_page)
    page.get_by_text("Suspended", exact=True).first.wait_for()
    page.get_by_role("button", name="Open menu").click()
    page.get_by_role("menuitem", name="Resume").click()
    return page.get_by_role("dialog")


def signs(journey: Journey, dialog: Locator, role: Role) -> None:
    """Somebody with quantplay types the command that the page shows."""
    commands = as_shown(dialog, "quantplay show").splitlines()
    command = shlex.split(next(line for line in commands if f"--role {role}" in line))
    done = journey.platform.quantplay(*command[1:], "--key", str(journey.team.signer(role).key))
    assert done.returncode in (0, 10), done.stderr


def resume_until_gone(journey: Journey, dialog: Locator, signature: str, tries: int = 4) -> None:
    """Paste and press again where a slow browser has not handed on what was pasted, as in submit_until."""
    from playwright.sync_api import TimeoutError as NotThere

    assert journey.flow_run is not None
    for _ in range(tries):
        journey.page.wait_for_timeout(3000)
        dialog.get_by_role("button", name="Resume").click()
        try:
            dialog.wait_for(state="hidden", timeout=20_000)
        except NotThere:
            with journey.platform.client() as client:
                if not is_waiting(client.read_flow_run(journey.flow_run)):
                    return  # taken, though the page is slow to say so
            fill(journey.page, "Signature", "")
            fill(journey.page, "Signature", signature)
            continue
        return
    raise AssertionError("the form did not take the signature")


def test_the_product_owner_signs_in_the_form(journey: Journey) -> None:
    page, grace = journey.page, journey.team.grace
    dialog = asked(journey)
    dialog.get_by_text("Is the quantized model good enough for its purpose?").wait_for()
    journey.shot("sign-question", whole=False)
    command = as_shown(dialog, "verdict: approve", "role: product_owner")
    signs(journey, dialog, "ml_engineer")
    choose(page, "What was signed", f"approve as product_owner by {grace.name}")
    fill(page, "Signature", "I approve")
    dialog.get_by_role("button", name="Resume").click()
    page.get_by_text("does not match").wait_for()  # nothing but a signature fits in there
    signature = typed(command, grace.key)
    fill(page, "Signature", signature)
    journey.shot("sign-form", whole=False)
    resume_until_gone(journey, dialog, signature)
    journey.wait_for_question("Is this package what the team hands on?")
    dialog = asked(journey)
    for role in REQUIRED["lock"]:
        signs(journey, dialog, role)
    assert journey.flow_run is not None
    ended = journey.platform.wait(journey.flow_run, seconds=600)
    assert ended.state is not None
    assert ended.state.name == "Locked", ended.state.message


def test_the_page_of_the_run_shows_the_way_it_took(journey: Journey) -> None:
    page = journey.page
    journey.open(journey.run_page)
    page.get_by_text("Locked", exact=True).first.wait_for()  # the outcome is the name of the state
    page.get_by_text("support-4bit").first.wait_for()
    journey.shot("run")
    page.get_by_role("tab", name="Subflow Runs").click()
    for job in ("baseline-job", "envelope-job", "ptq-job", "evaluate-job"):
        page.get_by_role("tabpanel").get_by_text(job).first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    for name in ("calibration", "gate", "sign-offs", "package"):
        page.get_by_role("heading", name=name, exact=True).first.wait_for()
    journey.shot("artifacts")
    journey.newest("summary")
    page.get_by_text("passes: quality stays within what was agreed").first.wait_for()
    journey.shot("summary")
    journey.open(journey.run_page)
    page.get_by_role("tab", name="Artifacts").click()
    journey.newest("gate")
    for title in SKILLS.values():
        page.get_by_role("cell", name=title).wait_for()
    journey.shot("gate")
