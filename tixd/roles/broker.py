"""What the roles that speak RabbitMQ have in common."""

from __future__ import annotations

from tixd.amqp.messages import Endpoint, Tls
from tixd.config.processing import Settings


def endpoint(settings: Settings) -> Endpoint:
    """Where RabbitMQ is, and who we are there."""
    files = (settings.rabbitmq_ca_file, settings.rabbitmq_cert_file, settings.rabbitmq_key_file)
    return Endpoint(
        host=settings.rabbitmq_host,
        port=settings.rabbitmq_port,
        user=settings.rabbitmq_user,
        password=settings.rabbitmq_password,
        vhost=settings.rabbitmq_vhost,
        tls=Tls(*files) if settings.rabbitmq_tls else None,
    )
