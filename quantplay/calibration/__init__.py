"""Is a calibration set fit to steer a quantizer? Pure: samples in, a CalibrationCheck out; seconds, no model. docs/calibration.md."""

from quantplay.calibration.check import RULES, Against, check_calibration, waivers_of

__all__ = ["RULES", "Against", "check_calibration", "waivers_of"]
