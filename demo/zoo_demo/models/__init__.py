"""The models that the server offers: loaded, with a queue each, and with example photos."""
