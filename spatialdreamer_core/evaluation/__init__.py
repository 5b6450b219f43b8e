"""Judge stereo files: read what was made and what it should be, measure both, write figures and plots."""

from .config import EvaluateConfig
from .evaluate import Evaluation, evaluate
from .pairs import PairFiles, find_pairs
from .report import check_report, format_table, write_report

__all__ = [
    "EvaluateConfig",
    "Evaluation",
    "PairFiles",
    "check_report",
    "evaluate",
    "find_pairs",
    "format_table",
    "write_report",
]
