"""Where jobs wait: in memory or in RabbitMQ, with the same promises."""
