"""tixd: packet timing reports in, line usage, quality and Hurst exponents out.

How a report travels, file by file (read `installation.py` first):
  commands/ or roles/     a command, or a service; checks/ tries its needs, samples/ has its files
  dispatch/, queues/      who gets a job, over amqp/ also elsewhere; a worker does one at a time
  installation.py         the steps of a job, top to bottom
  reports/                list, read, decode, choose a window, set bad files aside
  analysis/               observations of a window -> usage, quality, Hurst (numpy only)
  results/                payload, posting, failed-results, journal
  collector/, sinks/      another role: records in over HTTP, out to AMQP, Kafka, a file
  settings.py, config.py  every setting, and where its value came from
  privileges.py           who root goes on as
  errors.py               everything that can go wrong, and what the operator does
"""

__version__ = "0.1.0"
