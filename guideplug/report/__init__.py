"""HTML pages of a run, several runs, a comparison or a study, without a network or a server."""

from guideplug.report.pages import write_page, write_report_of

__all__ = ["write_page", "write_report_of"]
