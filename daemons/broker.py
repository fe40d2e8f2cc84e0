"""A Broker of your cluster: copy this file, edit the values; one on each machine that works."""

import logging
from os import cpu_count

from pypelinin import Broker
from pypelinin.stores import FileStore

API = "tcp://127.0.0.1:5555"  # the Router's

# Modules with workers in __all__. The working directory is searched too.
WORKERS = ["workers"]

# Your own class, or one of pypelinin.stores; created with the Router's "store" configuration.
STORE_CLASS = FileStore

SLOTS = cpu_count()  # jobs at once
LABELS: dict[str, str] = {}  # what jobs can ask for: {"disk": "ssd"}


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    )
    broker = Broker(
        api=API,
        store_class=STORE_CLASS,
        workers=WORKERS,
        logger=logging.getLogger("Broker"),
        number_of_workers=SLOTS,
        labels=LABELS,
    )
    broker.start()  # until SIGTERM or Ctrl-C: what runs is finished; a second one stops at once


if __name__ == "__main__":
    main()
