"""Where usage records go: AMQP, Kafka, a file; base.py says what each promises."""
