"""The seven classic mistakes. To add a way in which one shows: a `yield Sign` in its module."""

from quantplay.audit.mistakes.aggressive import TOO_AGGRESSIVE
from quantplay.audit.mistakes.calibration import GENERIC_CALIBRATION
from quantplay.audit.mistakes.evaluation import NO_TASK_EVALUATION
from quantplay.audit.mistakes.formats import FORMAT_MISMATCH
from quantplay.audit.mistakes.kernels import NO_KERNEL_SUPPORT
from quantplay.audit.mistakes.measured import NOT_MEASURED_ON_TARGET
from quantplay.audit.mistakes.rollback import NO_ROLLBACK_PLAN
from quantplay.audit.mistakes.signs import Classic, Sign, judged

CLASSICS: tuple[Classic, ...] = (
    NO_TASK_EVALUATION, GENERIC_CALIBRATION, TOO_AGGRESSIVE, NO_KERNEL_SUPPORT, NOT_MEASURED_ON_TARGET, FORMAT_MISMATCH,
    NO_ROLLBACK_PLAN,
)  # fmt: skip

__all__ = ["CLASSICS", "Classic", "Sign", "judged"]
