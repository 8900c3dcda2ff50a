"""RabbitMQ: connections that are supervised and come back; the only users of pika."""
