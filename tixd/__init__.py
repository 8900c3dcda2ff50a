"""tixd: packet timing reports in, line usage, quality and Hurst exponents out.

How a report travels, package by package (read `installation.py` first):
  commands/ or roles/  a command, or a service; diagnostics/ tries its needs, samples/ has its files
  dispatch/, queues/   who gets a job, over amqp/ also on other hosts; a worker of pool/ does it
  installation.py      the steps of a job, top to bottom; jobs.py: what is said of one
  reports/             list, read, decode, choose a window, quarantine bad files
  analysis/            observations of a window -> usage, quality, Hurst (numpy only); asn/: its AS
  results/             payload, posting, failed-results, journal
  collector/, sinks/   another role: records in over HTTP, out to AMQP, Kafka, a file
  page/                what people see of a role in a browser
  config/, runtime/    every setting and its source; the life of a service
  errors.py            everything that can go wrong, and what the operator does
"""

__version__ = "0.1.0"
