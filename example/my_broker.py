"""A Broker of the example: one on each machine that shall work."""

import logging
from multiprocessing import cpu_count

from file_store import SimpleFileStore

from pypelinin import Broker


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s"
    )
    broker = Broker(
        api="tcp://127.0.0.1:5555",
        broadcast="tcp://127.0.0.1:5556",
        store_class=SimpleFileStore,
        workers="workers",
        logger=logging.getLogger("My Broker"),
        number_of_workers=cpu_count(),
    )
    broker.start()


if __name__ == "__main__":
    main()
