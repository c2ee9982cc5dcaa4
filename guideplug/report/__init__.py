"""One page for a run, for several, for a comparison or a study: HTML that needs neither a network nor a server."""

from guideplug.report.pages import write_page, write_report_of

__all__ = ["write_page", "write_report_of"]
