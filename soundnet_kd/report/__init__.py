"""The report: a folder with a page that shows what a run found, and plays the sounds."""

from soundnet_kd.report.report import ReportResult, report

__all__ = ["ReportResult", "report"]
