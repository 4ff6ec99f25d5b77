"""What plays hand on. Frozen, JSON-safe, and identified by the digest of their canonical JSON.

Units are in the names: `_bytes`, `_ms`, `_points` (percentage points), `_nats`. Scores lie in [0, 1].
"""

from quantplay.records.base import Arm, Digest, InputKind, Record, Role, Split, Verdict
from quantplay.records.calibration import CalibrationCheck, CalibrationFinding
from quantplay.records.decisions import (
    Alarm,
    Decision,
    EnvelopeCheck,
    GateChange,
    Login,
    SignOff,
    SliceVerdict,
    TargetCheck,
    Waiver,
)
from quantplay.records.imported import Import
from quantplay.records.inputs import FileEntry, Inputs, Manifest
from quantplay.records.measurements import ArmRun, Divergence, ItemResult, NoiseFloor, Performance, Spread
from quantplay.records.mix import DamageFit, GroupOptions, MeasuredMix, MixChoice, TypeOption
from quantplay.records.package import MadeOf, PackageRef
from quantplay.records.place import Fingerprint, Hardware, Software
from quantplay.records.prediction import Bound, KernelRate, Machine, Prediction
from quantplay.records.recommendation import Recommendation
from quantplay.records.results import Artifact, Baseline, Candidate, EnvelopeChoice, Evaluation, Recipe
from quantplay.records.revalidation import Revalidation, StackChange, StandingStatus, Trigger
from quantplay.records.rollback_rules import RollbackRules, Signal
from quantplay.records.sensitivity import Check, GroupSensitivity, ScanPart, Sensitivity, TypeDamage
from quantplay.records.standards import Departure, StandardsCheck
from quantplay.records.training import CurvePoint, Training, TrainingSettings
from quantplay.records.update import EarlierSlice, Update

__all__ = [
    "Alarm",
    "Arm",
    "ArmRun",
    "Artifact",
    "Baseline",
    "Bound",
    "CalibrationCheck",
    "CalibrationFinding",
    "Candidate",
    "Check",
    "CurvePoint",
    "DamageFit",
    "Decision",
    "Departure",
    "Digest",
    "Divergence",
    "EarlierSlice",
    "EnvelopeCheck",
    "EnvelopeChoice",
    "Evaluation",
    "FileEntry",
    "Fingerprint",
    "GateChange",
    "GroupOptions",
    "GroupSensitivity",
    "Hardware",
    "Import",
    "InputKind",
    "Inputs",
    "ItemResult",
    "KernelRate",
    "Login",
    "Machine",
    "MadeOf",
    "Manifest",
    "MeasuredMix",
    "MixChoice",
    "NoiseFloor",
    "PackageRef",
    "Performance",
    "Prediction",
    "Recipe",
    "Recommendation",
    "Record",
    "Revalidation",
    "Role",
    "RollbackRules",
    "ScanPart",
    "Sensitivity",
    "SignOff",
    "Signal",
    "SliceVerdict",
    "Software",
    "Split",
    "Spread",
    "StackChange",
    "StandardsCheck",
    "StandingStatus",
    "TargetCheck",
    "Training",
    "TrainingSettings",
    "Trigger",
    "TypeDamage",
    "TypeOption",
    "Update",
    "Verdict",
    "Waiver",
]
