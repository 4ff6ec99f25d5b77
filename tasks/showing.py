"""What plays 5 and 6 found, on the pages of the Prefect run as soon as it is known."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact

from quantplay.handoff.further_markdown import mix_markdown, sensitivity_markdown, training_markdown
from quantplay.records import MixChoice, Sensitivity, Training


def show_sensitivity(found: Sensitivity) -> None:
    create_markdown_artifact(
        sensitivity_markdown(found), key="sensitivity", description="Play 5: what each group of tensors suffers"
    )


def show_mix(choice: MixChoice) -> None:
    create_markdown_artifact(
        mix_markdown(choice), key="mix", description="Play 5: the mixes that were made and measured"
    )


def show_training(found: Training) -> None:
    create_markdown_artifact(
        training_markdown(found), key="training", description="Play 6: how the training went on the dev split"
    )
