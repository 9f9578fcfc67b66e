"""Keras metrics of predictions and their uncertainty; one file each.

Classification: `NegativeLogLikelihood`, `BrierScore`, `ExpectedCalibrationError`, `AdaptiveCalibrationError`. Selective
prediction and out-of-distribution detection: `AreaUnderRiskCoverage`, `SelectiveAccuracy`, `OutOfDistribution...`.
All members (for `member_metrics`): `GibbsLoss`, `Disagreement`, `KLDiversity`. Gaussians:
`GaussianNegativeLogLikelihood`, `ContinuousRankedProbabilityScore`, `IntervalCoverage`.
"""

from keras_hyperens.metrics.adaptive_calibration_error import AdaptiveCalibrationError as AdaptiveCalibrationError
from keras_hyperens.metrics.area_under_risk_coverage import AreaUnderRiskCoverage as AreaUnderRiskCoverage
from keras_hyperens.metrics.brier_score import BrierScore as BrierScore
from keras_hyperens.metrics.continuous_ranked_probability_score import (
    ContinuousRankedProbabilityScore as ContinuousRankedProbabilityScore,
)
from keras_hyperens.metrics.disagreement import Disagreement as Disagreement
from keras_hyperens.metrics.expected_calibration_error import ExpectedCalibrationError as ExpectedCalibrationError
from keras_hyperens.metrics.gaussian_negative_log_likelihood import (
    GaussianNegativeLogLikelihood as GaussianNegativeLogLikelihood,
)
from keras_hyperens.metrics.gibbs_loss import GibbsLoss as GibbsLoss
from keras_hyperens.metrics.interval_coverage import IntervalCoverage as IntervalCoverage
from keras_hyperens.metrics.kl_diversity import KLDiversity as KLDiversity
from keras_hyperens.metrics.negative_log_likelihood import NegativeLogLikelihood as NegativeLogLikelihood
from keras_hyperens.metrics.out_of_distribution_aupr import OutOfDistributionAUPR as OutOfDistributionAUPR
from keras_hyperens.metrics.out_of_distribution_auroc import OutOfDistributionAUROC as OutOfDistributionAUROC
from keras_hyperens.metrics.out_of_distribution_fpr95 import OutOfDistributionFPR95 as OutOfDistributionFPR95
from keras_hyperens.metrics.selective_accuracy import SelectiveAccuracy as SelectiveAccuracy

__all__ = [
    "AdaptiveCalibrationError",
    "AreaUnderRiskCoverage",
    "BrierScore",
    "ContinuousRankedProbabilityScore",
    "Disagreement",
    "ExpectedCalibrationError",
    "GaussianNegativeLogLikelihood",
    "GibbsLoss",
    "IntervalCoverage",
    "KLDiversity",
    "NegativeLogLikelihood",
    "OutOfDistributionAUPR",
    "OutOfDistributionAUROC",
    "OutOfDistributionFPR95",
    "SelectiveAccuracy",
]
