"""Where usage records go: AMQP, Kafka, a file, and a memory for tests; contract.py says how."""
