"""One page for a run, for several, for a comparison or a study: HTML that needs neither a network nor a server."""

from guideplug.report.pages import write_page, write_report_of
from guideplug.report.stored_text import keep_words

__all__ = ["keep_words", "write_page", "write_report_of"]
