"""tixd: packet timing reports in, line usage, quality and Hurst exponents out.

How a report travels, file by file (read `installation.py` first):
  commands/ or dispatch/  who gets a job; one worker process does one job at a time
  installation.py         the steps of a job, top to bottom
  reports/                list, read, decode, choose a window, set bad files aside
  analysis/               observations of a window -> usage, quality, Hurst (numpy only)
  results/                payload, posting, failed-results, journal
  settings.py, config.py  every setting, and where its value came from
  errors.py               everything that can go wrong, and what the operator does
"""

__version__ = "0.1.0"
