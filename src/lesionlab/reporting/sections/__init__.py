"""The report, section by section, each a function of `ReportContent`."""
